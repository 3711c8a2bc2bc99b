/**
 * A chaos run with two connections: a server, a client, and a network for each
 * connection. If faults hit one network at a time, the client must miss nothing. If
 * they hit both at once, each gap must have its mark.
 */
import * as ChaosProxy from "@makima-stream/test-kit/ChaosProxy"
import * as MergeAudit from "@makima-stream/test-kit/MergeAudit"
import * as Clock from "effect/Clock"
import * as Console from "effect/Console"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as FileSystem from "effect/FileSystem"
import * as Queue from "effect/Queue"
import * as Random from "effect/Random"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import { openSync, writeSync } from "node:fs"
import * as Child from "../child.ts"
import * as History from "./history.ts"
import * as Lines from "./lines.ts"
import * as Reports from "./reports.ts"
import { latency } from "./settings.ts"

const ClientLine = Schema.fromJsonString(
  Schema.TaggedUnion({
    States: { states: Schema.Array(Schema.Struct({ state: Schema.String, epoch: Schema.Int })), events: Schema.Int },
    Figures: { events: Schema.Int, faults: Schema.Array(Schema.String), maxRssMiB: Schema.Finite }
  })
)
type Figures = Extract<typeof ClientLine.Type, { _tag: "Figures" }>
const decodeLine = Schema.decodeUnknownSync(ClientLine)

/** How long a fault of the network lasts, in milliseconds. */
const spell = 300

const calm: ChaosProxy.Shape = { latencyMillis: latency }

/** How long a connection may take to get lost or aligned, in milliseconds. */
const patience = 60_000

/** The fewest cuts of a run. */
const enough = 50

export interface Options {
  readonly minutes: number
  /** Whether each fault hits both networks. */
  readonly both: boolean
  /** Where the logs of the run are written and kept; in a temporary directory by default. */
  readonly keep?: string | undefined
}

export const run = Effect.fnUntraced(function* ({ both, keep, minutes }: Options) {
  const fileSystem = yield* FileSystem.FileSystem
  const directory = keep ?? (yield* fileSystem.makeTempDirectoryScoped({ prefix: "makima-chaos-" }))
  yield* fileSystem.makeDirectory(directory, { recursive: true })
  const traceFile = openSync(`${directory}/trace.jsonl`, "w")
  const begin = yield* Clock.currentTimeMillis
  const logFile = `${directory}/server.jsonl`
  const eventsFile = `${directory}/client.jsonl`

  const serverScope = yield* Scope.fork(yield* Effect.scope)
  const server = yield* Child.start("chaos/server", ["0", logFile, "1"]).pipe(Scope.provide(serverScope))
  const port = Number(yield* Queue.take(server.lines))
  const proxies = yield* Effect.forEach([1, 2], () => ChaosProxy.make({ target: port }))
  for (const proxy of proxies) yield* proxy.shape(calm)
  const client = yield* Child.start("chaos/pairClient", [...proxies.map(({ url }) => url), eventsFile])

  // -------------------------------------------------------------------------
  // reports of the client
  // -------------------------------------------------------------------------

  const reports = Reports.make(patience)
  const figures = yield* Deferred.make<Figures>()
  /** The network with a fault, and the states of a connection on a network without one. */
  let injured: number | undefined
  const uninjured: Array<string> = []
  const trace = (what: object): Effect.Effect<void> =>
    Effect.map(Clock.currentTimeMillis, (at) => writeSync(traceFile, `${JSON.stringify({ at, ...what })}\n`))

  yield* Queue.take(client.lines).pipe(
    Effect.map(decodeLine),
    Effect.flatMap((line) => {
      if (line._tag === "Figures") return Deferred.succeed(figures, line)
      if (!both && injured !== undefined) {
        uninjured.push(...line.states.flatMap(({ state }, i) => (i !== injured && state !== "aligned" ? [state] : [])))
      }
      reports.report(line.states)
      return trace(line)
    }),
    Effect.forever,
    Effect.forkScoped
  )

  // -------------------------------------------------------------------------
  // the faults
  // -------------------------------------------------------------------------

  const made = { cuts: 0 }
  const pathsOf = (path: number) => (both ? [0, 1] : [path])
  const on = (path: number, act: (proxy: ChaosProxy.ChaosProxy) => Effect.Effect<unknown>) =>
    Effect.forEach(
      proxies.filter((_, i) => pathsOf(path).includes(i)),
      act,
      { discard: true }
    )
  const losing = (path: number, act: Effect.Effect<unknown>) =>
    Effect.suspend(() => {
      made.cuts++
      const before = reports.latest()
      return Effect.andThen(
        act,
        reports.until("lost", (states) => Reports.areLost(pathsOf(path), before, states))
      )
    })
  const cut = (path: number) =>
    losing(
      path,
      on(path, (proxy) => proxy.kill())
    )
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
        const frozen = yield* Effect.forEach(proxies, (proxy) => Effect.map(proxy.connections, ({ length }) => length))
        yield* losing(
          path,
          on(path, (proxy) => proxy.freeze())
        )
        yield* Effect.sleep(spell)
        // Only what was frozen: a new connection has no fault.
        yield* Effect.forEach(pathsOf(path), (i) => proxies[i]?.kill(frozen[i]) ?? Effect.void, { discard: true })
      })
  }
  const names = Object.keys(faults) as ReadonlyArray<keyof typeof faults>
  const counts: Record<string, number> = {}

  yield* reports.until("aligned", Reports.areAligned)
  do {
    for (const name of yield* Random.shuffle([...names, "cut", "cut", "cut", "cut"] as const)) {
      const path = yield* Random.nextIntBetween(0, 1)
      const before = reports.latest()
      injured = path
      yield* trace({ fault: name, path })
      yield* faults[name](path)
      counts[name] = (counts[name] ?? 0) + 1
      yield* reports.until("back", (states) => Reports.areBack(pathsOf(path), before, states))
      yield* Effect.sleep(yield* Random.nextIntBetween(50, 250))
      yield* reports.until("aligned", Reports.areAligned)
    }
  } while (made.cuts < enough || (yield* Clock.currentTimeMillis) - begin < minutes * 60_000)

  // -------------------------------------------------------------------------
  // the end, and the audit
  // -------------------------------------------------------------------------

  injured = undefined
  server.process.stdin?.write("stop\n")
  yield* reports.until("offline", (states) =>
    states.every(({ state }) => state.startsWith("offline") || state === "connecting")
  )
  yield* client.signal("SIGTERM")
  const { faults: uncaught, maxRssMiB } = yield* Deferred.await(figures)
  const exitCode = yield* client.exited
  yield* Scope.close(serverScope, Exit.void)

  const log = History.join([{ log: Lines.readLog(logFile), dials: [], killedAt: undefined }], [])
  const events = Lines.readEvents(eventsFile)
  const report = MergeAudit.compare(log, events)
  const clean =
    MergeAudit.isClean(report) &&
    (both || report.missedWhileAway + report.repeated === 0) &&
    uncaught.length === 0 &&
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
    uncaughtInClient: uncaught,
    clientExitCode: exitCode,
    clientMaxRssMiB: Math.round(maxRssMiB)
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
