/**
 * A chaos run with two connections: a server, a client, and a network for each
 * connection. If faults hit one network at a time, the client must miss nothing. If
 * they hit both at once, each gap must have its mark.
 */
import * as ChaosProxy from "@makima-stream/test-kit/ChaosProxy"
import * as MergeAudit from "@makima-stream/test-kit/MergeAudit"
import * as Clock from "effect/Clock"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as FileSystem from "effect/FileSystem"
import * as Queue from "effect/Queue"
import * as Random from "effect/Random"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import * as Child from "../child.ts"
import * as History from "./history.ts"
import * as Lines from "./lines.ts"
import { latency } from "./settings.ts"

const ClientLine = Schema.fromJsonString(
  Schema.TaggedUnion({
    States: { states: Schema.Array(Schema.String) },
    Figures: { events: Schema.Int, faults: Schema.Array(Schema.String), maxRssMiB: Schema.Finite }
  })
)
const decodeLine = Schema.decodeUnknownSync(ClientLine)

/** How long a fault of the network lasts, in milliseconds. */
const spell = 300

const calm: ChaosProxy.Shape = { latencyMillis: latency }

/** The fewest cuts of a run. */
const enough = 50

export interface Options {
  readonly minutes: number
  /** Whether each fault hits both networks. */
  readonly both: boolean
}

export const run = Effect.fnUntraced(function* ({ both, minutes }: Options) {
  const fileSystem = yield* FileSystem.FileSystem
  const directory = yield* fileSystem.makeTempDirectoryScoped({ prefix: "makima-chaos-" })
  const begin = yield* Clock.currentTimeMillis
  const logFile = `${directory}/server.jsonl`
  const eventsFile = `${directory}/client.jsonl`

  const serverScope = yield* Scope.fork(yield* Effect.scope)
  const server = yield* Child.start("./chaos/server.ts", ["0", logFile, "1"]).pipe(Scope.provide(serverScope))
  const port = Number(yield* Queue.take(server.lines))
  const proxies = yield* Effect.forEach([1, 2], () => ChaosProxy.make({ target: port }))
  for (const proxy of proxies) yield* proxy.shape(calm)
  const client = yield* Child.start("./chaos/pairClient.ts", [...proxies.map(({ url }) => url), eventsFile])

  // -------------------------------------------------------------------------
  // reports of the client
  // -------------------------------------------------------------------------

  const nextLine = Effect.map(Queue.take(client.lines), decodeLine)

  /** The network with a fault, and the number of losses on a network without one. */
  let injured: number | undefined
  const uninjured: Array<string> = []
  const awaitStates = (isAwaited: (states: ReadonlyArray<string>) => boolean) =>
    Effect.gen(function* () {
      while (true) {
        const line = yield* nextLine
        if (line._tag !== "States" || line.states.length === 0) continue
        if (!both && injured !== undefined) {
          uninjured.push(...line.states.filter((state, i) => i !== injured && state !== "aligned"))
        }
        if (isAwaited(line.states)) return
      }
    })
  const aligned = awaitStates((states) => states.every((state) => state === "aligned"))
  const lost = (path: number) =>
    awaitStates((states) => states.every((state, i) => (i === path || both ? state !== "aligned" : true)))

  // -------------------------------------------------------------------------
  // the faults
  // -------------------------------------------------------------------------

  const made = { cuts: 0 }
  const on = (path: number, act: (proxy: ChaosProxy.ChaosProxy) => Effect.Effect<unknown>) =>
    Effect.forEach(
      proxies.filter((_, i) => both || i === path),
      act,
      { discard: true }
    )
  const cut = (path: number) =>
    Effect.suspend(() => {
      made.cuts++
      return Effect.andThen(
        on(path, (proxy) => proxy.kill()),
        lost(path)
      )
    })
  const slow = (path: number, shape: ChaosProxy.Shape) =>
    on(path, (proxy) => proxy.shape(shape)).pipe(
      Effect.andThen(Effect.sleep(spell)),
      // The next handshake has the same shape.
      Effect.andThen(cut(path)),
      Effect.andThen(Effect.sleep(spell)),
      Effect.andThen(on(path, (proxy) => proxy.shape(calm)))
    )
  const faults = {
    cut,
    delay: (path: number) => slow(path, { latencyMillis: 400, jitterMillis: 100 }),
    throttle: (path: number) => slow(path, { ...calm, bytesPerSecond: 60_000 }),
    split: (path: number) => slow(path, { ...calm, pieceBytes: 1 }),
    halfOpen: (path: number) =>
      Effect.gen(function* () {
        made.cuts++
        const frozen = yield* Effect.forEach(proxies, (proxy) => Effect.map(proxy.connections, ({ length }) => length))
        yield* on(path, (proxy) => proxy.freeze())
        yield* lost(path)
        yield* Effect.sleep(spell)
        // Only what was frozen: a new connection has no fault.
        yield* Effect.forEach(proxies, (proxy, i) => (both || i === path ? proxy.kill(frozen[i]) : Effect.void), {
          discard: true
        })
      })
  }
  const names = Object.keys(faults) as ReadonlyArray<keyof typeof faults>
  const counts: Record<string, number> = {}

  yield* aligned
  do {
    for (const name of yield* Random.shuffle([...names, "cut", "cut", "cut", "cut"] as const)) {
      const path = yield* Random.nextIntBetween(0, 2)
      injured = path
      yield* faults[name](path)
      counts[name] = (counts[name] ?? 0) + 1
      yield* aligned
      yield* Effect.sleep(yield* Random.nextIntBetween(50, 250))
    }
  } while (made.cuts < enough || (yield* Clock.currentTimeMillis) - begin < minutes * 60_000)

  // -------------------------------------------------------------------------
  // the end, and the audit
  // -------------------------------------------------------------------------

  injured = undefined
  server.process.stdin?.write("stop\n")
  yield* awaitStates((states) => states.every((state) => state.startsWith("offline") || state === "connecting"))
  yield* client.signal("SIGTERM")
  let figures = yield* nextLine
  while (figures._tag !== "Figures") figures = yield* nextLine
  const exitCode = yield* client.exited
  yield* Scope.close(serverScope, Exit.void)

  const log = History.join([{ log: Lines.readLog(logFile), dials: [], killedAt: undefined }], [])
  const events = Lines.readEvents(eventsFile)
  const report = MergeAudit.compare(log, events)
  if (process.env["KEEP"]) yield* fileSystem.copy(directory, process.env["KEEP"])
  const clean =
    MergeAudit.isClean(report) &&
    (both || report.missedWhileAway === 0) &&
    figures.faults.length === 0 &&
    exitCode === 130
  return {
    clean,
    seconds: Math.round(((yield* Clock.currentTimeMillis) - begin) / 100) / 10,
    faults: counts,
    cuts: made.cuts,
    unaligned: events.filter(
      ({ _tag, ...event }) => _tag === "Resync" && "reason" in event && event.reason._tag === "Unaligned"
    ).length,
    resyncs: events.filter(({ _tag }) => _tag === "Resync").length,
    ...report,
    uninjuredLosses: uninjured,
    uncaughtInClient: figures.faults,
    clientExitCode: exitCode,
    clientMaxRssMiB: Math.round(figures.maxRssMiB)
  }
}, Effect.scoped)

export const print = (result: Effect.Success<ReturnType<typeof run>>) =>
  Console.log(
    [
      `${result.seconds} s, ${result.cuts} cuts: ${Object.entries(result.faults)
        .map(([name, count]) => `${count} ${name}`)
        .join(", ")}.`,
      MergeAudit.format(result),
      JSON.stringify(result)
    ].join("\n")
  )
