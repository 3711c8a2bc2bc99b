/**
 * The demo without a real server: a mock server, a proxy that adds latency, a
 * workload, three faults, and the audit at the end.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Redacted from "effect/Redacted"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as SubscriptionRef from "effect/SubscriptionRef"
import * as Merge from "@makima-stream/core/Merge"
import * as MeshClient from "@makima-stream/core/MeshClient"
import type * as MeshEvent from "@makima-stream/core/MeshEvent"
import * as NodeMeshClient from "@makima-stream/node/NodeMeshClient"
import * as Audit from "@makima-stream/test-kit/Audit"
import * as MergeAudit from "@makima-stream/test-kit/MergeAudit"
import * as ChaosProxy from "@makima-stream/test-kit/ChaosProxy"
import * as MockMeshServer from "@makima-stream/test-kit/MockMeshServer"
import * as Workload from "@makima-stream/test-kit/Workload"
import * as Story from "./Story.ts"
import * as Tally from "./Tally.ts"
import type * as View from "./View.ts"

/** The latency of the demo's network in each direction, in milliseconds. */
export const latencyMillis = 60

/** The object in the last line. The counts of the audit are `null` if there is no server log to compare with. */
export interface Result {
  readonly events: number
  readonly updates: number
  readonly outputs: number
  readonly reconnects: number
  readonly resyncs: number
  readonly lostWhileConnected: number | null
  readonly duplicates: number | null
  readonly outOfOrder: number | null
  /** Missing messages without a mark, including those that were sent to no connection. */
  readonly unmarkedGaps: number | null
  /** Messages of wanted tasks that the server sent to no connection, because it had not handled the subscription yet. */
  readonly unheard: number | null
  readonly tasks: number
  readonly costUsd: number
}

export const toResult = (tally: Tally.Tally, report: Audit.Report | undefined): Result => ({
  events: tally.events,
  updates: tally.updates,
  outputs: tally.outputs,
  reconnects: Math.max(0, tally.connections - 1),
  resyncs: tally.resyncs,
  lostWhileConnected: report?.lostWhileConnected ?? null,
  duplicates: report?.duplicates ?? null,
  outOfOrder: report?.outOfOrder ?? null,
  unmarkedGaps: report?.unmarkedGaps ?? null,
  unheard: report?.unheard ?? null,
  tasks: Tally.tasks(tally),
  costUsd: Number(tally.ledger.totalUsd.toFixed(6))
})

/** Follows everything until the client is closed. `tally` returns the current tally. */
export const follow = Effect.fnUntraced(function* (options: {
  readonly view: View.View
  /** Called with each batch. */
  readonly keep: (batch: ReadonlyArray<MeshEvent.MeshEvent>) => void
}) {
  const client = yield* MeshClient.MeshClient
  let tally = Tally.empty
  const following = yield* client.everything().pipe(
    Stream.runForEachArray((batch) =>
      Effect.flatMap(Clock.currentTimeMillis, (at) => {
        tally = Tally.add(tally, batch, at)
        options.keep(batch)
        return options.view.show(batch, tally, at)
      })
    ),
    Effect.forkScoped
  )
  return { client, following, tally: Effect.sync(() => tally) }
})

/** Runs the whole demo. Returns the tally, and the comparison with the server's log. */
export const run = Effect.fnUntraced(function* (options: {
  readonly seed: number
  readonly tasks: number
  /** How many connections the client has: 1 or 2. */
  readonly connections: number
  readonly view: Effect.Effect<View.View, never, Scope.Scope>
}) {
  const isPair = options.connections === 2
  const apiKey = Redacted.make("the key of the demo")
  const server = yield* MockMeshServer.make({ apiKey })
  const proxy = yield* ChaosProxy.make({ target: server.port })
  yield* proxy.shape({ latencyMillis })
  // All tasks run at the same time, so that each lasts longer than any of the three outages and is seen.
  const workload = Workload.make({ seed: options.seed, tasks: options.tasks, concurrency: options.tasks })
  const layer = NodeMeshClient.layer({
    // The deadline is long enough that a busy machine ends no connection by itself: the audit would count that as a loss.
    socket: { url: proxy.url, apiKey, heartbeat: { interval: "500 millis", deadline: "2 seconds" } },
    // Shorter than the defaults, which are meant for a shared server and not for a demo of ten seconds.
    client: {
      policy: { schedule: Schedule.exponential("200 millis").pipe(Schedule.jittered), stableAfter: "1 second" },
      ...(isPair ? { connections: Merge.connections() } : {})
    }
  })
  const events: Array<MeshEvent.MeshEvent> = []
  const tally = yield* Effect.gen(function* () {
    const view = yield* options.view
    const { client, following, tally } = yield* follow({ view, keep: (batch) => events.push(...batch) })
    const aligned = SubscriptionRef.changes(client.status).pipe(
      Stream.takeUntil(
        ({ connections = [] }) =>
          connections.length > 0 && connections.every((each) => each._tag === "Online" && each.isAligned)
      ),
      Stream.runDrain,
      // On a busy machine a heartbeat may fail by itself. A fault that comes too early leaves a mark.
      Effect.timeoutOption("2 seconds"),
      Effect.asVoid
    )
    yield* Story.play(server, workload, isPair ? { ready: aligned } : {})
    yield* client.awaitOnline
    // The server acknowledges the unsubscribes after everything that it has sent, so nothing is in flight afterwards.
    yield* client.close
    yield* Fiber.join(following)
    return yield* tally
  }).pipe(Effect.provide(layer), Effect.scoped)
  const log = yield* server.log
  if (isPair) return { tally, report: pairReport(MergeAudit.compare(log, events, { wants: Audit.everything() })) }
  // A fault in the middle of a handshake makes a connection that the client never saw.
  const report = Audit.compare(log, events, {
    connectionOf: Audit.connectionsByTime(log, events),
    wants: Audit.everything()
  })
  return { tally, report }
}, Effect.scoped)

/** The comparison of a client with two connections, in the form of one with one. */
const pairReport = (report: MergeAudit.Report): Audit.Report => ({
  ...Audit.compare([], []),
  duplicates: report.duplicates,
  outOfOrder: report.outOfOrder,
  unexpected: report.unexpected,
  unmarkedGaps: report.unmarkedGaps,
  missedWhileAway: report.missedWhileAway,
  inFlight: report.inFlight,
  received: report.received,
  sent: report.received
})
