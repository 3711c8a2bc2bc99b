/**
 * Runs a server and a client in two processes, and a network with latency in each
 * direction between them, and injects every kind of fault: connections are cut, frozen,
 * throttled and split at every byte, the server is killed and started again, the client
 * is stopped for longer than the heartbeat's deadline. At the end, audits the consumer's
 * events against the server's log.
 *
 * `pnpm chaos`, `pnpm chaos --minutes 10`, `pnpm chaos --seed 7`,
 * `pnpm chaos --connections 2`, `pnpm chaos --connections 2 --both`
 */
import * as Audit from "@makima-stream/test-kit/Audit"
import * as ChaosProxy from "@makima-stream/test-kit/ChaosProxy"
import * as Clock from "effect/Clock"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Option from "effect/Option"
import * as Queue from "effect/Queue"
import * as Random from "effect/Random"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Exit from "effect/Exit"
import * as Program from "@makima-stream/cli/Program"
import * as History from "./chaos/history.ts"
import * as Lines from "./chaos/lines.ts"
import * as Pair from "./chaos/pair.ts"
import { deadline, interval, latency } from "./chaos/settings.ts"
import * as Child from "./child.ts"

const ClientLine = Schema.fromJsonString(
  Schema.TaggedUnion({
    Connected: { epoch: Schema.Int },
    Disconnected: { epoch: Schema.Int, reason: Schema.String },
    Heard: {},
    Figures: { events: Schema.Int, faults: Schema.Array(Schema.String), maxRssMiB: Schema.Finite }
  })
)
const decodeLine = Schema.decodeUnknownSync(ClientLine)

/** How long a fault of the network lasts, in milliseconds. */
const spell = 400

/** The network between faults. */
const calm: ChaosProxy.Shape = { latencyMillis: latency }

/** The fewest events of a run. On a slow machine, fewer events occur during the faults. */
const enough = 1200

const run = Effect.fnUntraced(function* (options: { readonly seed: number; readonly minutes: number }) {
  const fileSystem = yield* FileSystem.FileSystem
  const directory = yield* fileSystem.makeTempDirectoryScoped({ prefix: "makima-chaos-" })
  const begin = yield* Clock.currentTimeMillis

  // -------------------------------------------------------------------------
  // the processes
  // -------------------------------------------------------------------------

  const lives: Array<{ readonly file: string; killedAt: number | undefined }> = []

  const startServer = Effect.fnUntraced(function* (port: number) {
    const file = `${directory}/server-${lives.length}.jsonl`
    const scope = yield* Scope.fork(yield* Effect.scope)
    // Each life of the server has its own range of numbers.
    const first = 1 + lives.length * 10_000_000
    lives.push({ file, killedAt: undefined })
    const child = yield* Child.start("chaos/server", [String(port), file, String(first)]).pipe(Scope.provide(scope))
    return { child, port: Number(yield* Queue.take(child.lines)), stop: Scope.close(scope, Exit.void) }
  })

  let server = yield* startServer(0)
  const { port } = server
  const proxy = yield* ChaosProxy.make({ target: port })
  yield* proxy.shape(calm)
  const client = yield* Child.start("chaos/client", [proxy.url, `${directory}/client.jsonl`])

  /** Waits for a line of the client. */
  const await_ = (tag: (typeof ClientLine.Type)["_tag"]) =>
    Effect.gen(function* () {
      while (true) {
        const line = decodeLine(yield* Queue.take(client.lines))
        if (line._tag === tag) return line
      }
    })

  // -------------------------------------------------------------------------
  // the faults
  // -------------------------------------------------------------------------

  const noticed: Array<number> = []

  const cut = Effect.andThen(proxy.kill(), await_("Disconnected"))

  const slow = (shape: ChaosProxy.Shape) =>
    proxy.shape(shape).pipe(
      Effect.andThen(Effect.sleep(spell)),
      // The next handshake has the same shape.
      Effect.andThen(cut),
      Effect.andThen(await_("Heard")),
      Effect.andThen(Effect.sleep(spell)),
      Effect.andThen(proxy.shape(calm))
    )

  const pause = (meanwhile: Effect.Effect<void>) =>
    client
      .signal("SIGSTOP")
      .pipe(
        Effect.andThen(meanwhile),
        Effect.andThen(Effect.sleep(interval + deadline + spell)),
        Effect.andThen(client.signal("SIGCONT")),
        Effect.andThen(Effect.sleep(spell))
      )

  const faults = {
    cut: Effect.andThen(cut, await_("Heard")),
    delay: slow({ latencyMillis: 150, jitterMillis: 50 }),
    throttle: slow({ ...calm, bytesPerSecond: 60_000 }),
    split: slow({ ...calm, pieceBytes: 1 }),
    halfOpen: Effect.gen(function* () {
      const frozen = (yield* proxy.connections).length
      const start = yield* Clock.currentTimeMillis
      yield* proxy.freeze()
      yield* await_("Disconnected")
      noticed.push((yield* Clock.currentTimeMillis) - start)
      yield* await_("Heard")
      yield* proxy.kill(frozen)
    }),
    serverKilled: Effect.gen(function* () {
      const life = lives.at(-1)
      if (life !== undefined) life.killedAt = yield* Clock.currentTimeMillis
      yield* server.stop
      yield* await_("Disconnected")
      server = yield* startServer(port)
      yield* await_("Heard")
    }),
    clientPaused: pause(Effect.void),
    cutWhilePaused: Effect.andThen(pause(proxy.kill()), await_("Heard"))
  }
  const names = Object.keys(faults) as ReadonlyArray<keyof typeof faults>
  const counts: Record<string, number> = {}

  yield* await_("Heard")
  do {
    for (const name of yield* Random.shuffle(names)) {
      yield* faults[name]
      counts[name] = (counts[name] ?? 0) + 1
      yield* Effect.sleep(yield* Random.nextIntBetween(50, 250))
    }
  } while ((yield* Clock.currentTimeMillis) - begin < options.minutes * 60_000)
  while (Lines.countEvents(`${directory}/client.jsonl`) < enough) yield* Effect.sleep(spell)

  // -------------------------------------------------------------------------
  // the end, and the audit
  // -------------------------------------------------------------------------

  server.child.process.stdin?.write("stop\n")
  yield* await_("Disconnected")
  yield* client.signal("SIGTERM")
  const figures = yield* await_("Figures")
  const exitCode = yield* client.exited
  yield* server.stop

  const links = yield* proxy.connections
  const histories = lives.map(({ file, killedAt }) => ({
    log: Lines.readLog(file),
    dials: Lines.readDials(file),
    killedAt
  }))
  const epochs = Lines.readDials(`${directory}/client.jsonl`)
  const log = History.join(histories, links)
  const events = Lines.readEvents(`${directory}/client.jsonl`)
  const report = Audit.compare(log, events, { connectionOf: History.connections(histories, epochs) })
  const unexplained = History.unexplained(events, epochs, histories, links)
  const faultsOfClient = figures._tag === "Figures" ? figures.faults : []
  const clean = Audit.isClean(report) && unexplained.length === 0 && faultsOfClient.length === 0 && exitCode === 130
  return {
    clean,
    seed: options.seed,
    seconds: Math.round(((yield* Clock.currentTimeMillis) - begin) / 100) / 10,
    faults: counts,
    connections: report.epochs,
    resyncs: events.filter(({ _tag }) => _tag === "Resync").length,
    ...report,
    halfOpenNoticedWithinMillis: Math.max(...noticed),
    unexplainedDisconnects: unexplained,
    uncaughtInClient: faultsOfClient,
    clientExitCode: exitCode,
    clientMaxRssMiB: figures._tag === "Figures" ? Math.round(figures.maxRssMiB) : 0
  }
}, Effect.scoped)

const print = (result: Effect.Success<ReturnType<typeof run>>) =>
  Console.log(
    [
      `${result.seconds} s, ${Object.entries(result.faults)
        .map(([name, count]) => `${count} ${name}`)
        .join(", ")}.`,
      `${result.connections} connections, ${result.resyncs} marks; a half-open connection was detected within ${result.halfOpenNoticedWithinMillis} ms ` +
        `(interval ${interval}, deadline ${deadline}).`,
      Audit.format(result),
      JSON.stringify(result)
    ].join("\n")
  )

/** The command line of this program. */
export const command = Command.make(
  "chaos",
  {
    minutes: Flag.Finite("minutes").pipe(
      Flag.withDescription("The duration; every fault occurs at least once"),
      Flag.withSchema(Schema.Finite.check(Schema.isBetween({ minimum: 0, maximum: 1440 }))),
      Flag.withDefault(0)
    ),
    connections: Flag.Int("connections").pipe(
      Flag.withDescription("How many connections the client has: 1, or 2 with a network each"),
      Flag.withSchema(Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 2 }))),
      Flag.withDefault(1)
    ),
    both: Flag.Boolean("both").pipe(
      Flag.withDescription("With 2 connections: each fault hits both networks"),
      Flag.withDefault(false)
    ),
    keep: Flag.String("keep").pipe(
      Flag.withDescription("With 2 connections: a directory for the logs of the run"),
      Flag.optional
    ),
    seed: Flag.Int("seed").pipe(Flag.withDescription("The seed of the order of faults"), Flag.optional)
  },
  Effect.fnUntraced(function* (flags) {
    const seed = Option.getOrElse(flags.seed, () => 1)
    if (flags.connections === 2) {
      const result = yield* Pair.run({ ...flags, keep: Option.getOrUndefined(flags.keep) }).pipe(
        Random.withSeed(seed),
        Effect.timeout(`${flags.minutes + 10} minutes`),
        Effect.mapError(({ message }) => new Program.Failure({ message, exitCode: 1 }))
      )
      yield* Pair.print(result)
      if (!result.clean)
        return yield* new Program.Failure({ message: "The audit found violations: see the figures", exitCode: 1 })
      return
    }
    const result = yield* run({ seed, minutes: flags.minutes }).pipe(
      Random.withSeed(seed),
      Effect.timeout(`${flags.minutes + 15} minutes`),
      Effect.mapError(({ message }) => new Program.Failure({ message, exitCode: 1 }))
    )
    yield* print(result)
    if (!result.clean)
      return yield* new Program.Failure({ message: "The audit found violations: see the figures", exitCode: 1 })
  })
).pipe(
  Command.withDescription("Injects faults into a server, a client and the network between them, and audits the events")
)

if (Program.isMain(import.meta)) Program.main(command)
