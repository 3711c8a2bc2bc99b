/**
 * The main job on real WebSocket traffic: follows the updates of all tasks, and
 * the output of each from the moment it is seen, through a connection that is
 * cut three ways, and compares what arrived with what the server sent.
 *
 * `pnpm demo`, `pnpm demo --json`, `pnpm demo --seed 7 --tasks 100`,
 * `MAKIMA_API_KEY=… pnpm demo --url https://…`
 */
import * as Clock from "effect/Clock"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Endpoint from "@makima-stream/core/Endpoint"
import * as MeshClient from "@makima-stream/core/MeshClient"
import type * as MeshEvent from "@makima-stream/core/MeshEvent"
import * as MeshConfig from "@makima-stream/node/MeshConfig"
import * as NodeMeshClient from "@makima-stream/node/NodeMeshClient"
import * as Audit from "@makima-stream/test-kit/Audit"
import * as MockMeshServer from "@makima-stream/test-kit/MockMeshServer"
import * as Workload from "@makima-stream/test-kit/Workload"
import * as Story from "./demo/Story.ts"
import * as Tally from "./demo/Tally.ts"
import * as View from "./demo/View.ts"
import * as Cli from "./support/cli.ts"

/** What the demo ends with. The four counts are known only where there is a server's log to compare with. */
interface Result {
  readonly events: number
  readonly updates: number
  readonly outputs: number
  readonly reconnects: number
  readonly resyncs: number
  readonly lostWhileConnected: number | null
  readonly duplicates: number | null
  readonly outOfOrder: number | null
  readonly unmarkedGaps: number | null
  readonly tasks: number
  readonly costUsd: number
}

/** Follows everything until the client is closed, and gives what it saw. */
const follow = Effect.fnUntraced(function* (options: {
  readonly view: View.View
  /** Told of each batch, for whoever wants to keep it. */
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

const summary = (tally: Tally.Tally, report: Audit.Report | undefined) => {
  const statuses = [...View.statuses(tally)].map(([status, count]) => `${count} ${status}`).join(", ")
  const lines = [
    "",
    `${Tally.tasks(tally)} tasks (${statuses}), ${tally.updates} updates, ${tally.outputs} outputs, $${tally.ledger.totalUsd.toFixed(2)} as far as it was heard.`,
    `${tally.connections} connections, ${tally.resyncs} places where something may have been missed, all marked by a Resync.`
  ]
  if (report !== undefined) lines.push(`Against the server's log: ${Audit.format(report)}`)
  return lines.join("\n")
}

const toResult = (tally: Tally.Tally, report: Audit.Report | undefined): Result => ({
  events: tally.events,
  updates: tally.updates,
  outputs: tally.outputs,
  reconnects: Math.max(0, tally.connections - 1),
  resyncs: tally.resyncs,
  lostWhileConnected: report?.lostWhileConnected ?? null,
  duplicates: report?.duplicates ?? null,
  outOfOrder: report?.outOfOrder ?? null,
  unmarkedGaps: report?.unmarkedGaps ?? null,
  tasks: Tally.tasks(tally),
  costUsd: Number(tally.ledger.totalUsd.toFixed(6))
})

/** A mock server, a workload, three cuts, and the comparison at the end. */
const local = Effect.fnUntraced(function* (options: {
  readonly seed: number
  readonly tasks: number
  readonly json: boolean
}) {
  const apiKey = Redacted.make("the key of the demo")
  const server = yield* MockMeshServer.make({ apiKey })
  // All tasks at the same time, so that each lives longer than any of the three outages, and is seen.
  const workload = Workload.make({ seed: options.seed, tasks: options.tasks, concurrency: options.tasks })
  const layer = NodeMeshClient.layer({
    socket: { url: server.url, apiKey, heartbeat: { interval: "500 millis", deadline: "500 millis" } },
    // A demo has no time for two seconds, and only itself to be kind to.
    client: {
      policy: { schedule: Schedule.exponential("200 millis").pipe(Schedule.jittered), stableAfter: "1 second" }
    }
  })
  const events: Array<MeshEvent.MeshEvent> = []
  const tally = yield* Effect.gen(function* () {
    const view = yield* View.auto({ json: options.json, expected: options.tasks })
    const { client, following, tally } = yield* follow({ view, keep: (batch) => events.push(...batch) })
    yield* Story.play(server, workload)
    yield* client.awaitOnline
    // Unsubscribing is answered after everything that was sent before, so nothing is left on the way.
    yield* client.close
    yield* Fiber.join(following)
    return yield* tally
  }).pipe(Effect.provide(layer), Effect.scoped)
  const log = yield* server.log
  // A cut in the middle of a handshake makes a connection that the client never saw.
  const report = Audit.compare(log, events, { connectionOf: Audit.connectionsByTime(log, events) })
  return { tally, report }
}, Effect.scoped)

/** A real server, until the program is interrupted or the server refuses for good. */
const remote = Effect.fnUntraced(function* (options: { readonly url: string; readonly json: boolean }) {
  yield* Effect.fromResult(Endpoint.fromString(options.url))
  const apiKey = yield* MeshConfig.apiKey
  return yield* Effect.gen(function* () {
    const view = yield* View.auto({ json: options.json, expected: undefined })
    const { following, tally } = yield* follow({ view, keep: () => {} })
    yield* Fiber.join(following).pipe(
      Effect.onInterrupt(() => Effect.flatMap(tally, (seen) => print(seen, undefined, options.json)))
    )
  }).pipe(
    // The view is taken down before anything else is said.
    Effect.scoped,
    Effect.provide(NodeMeshClient.layer({ socket: { url: options.url, apiKey } }))
  )
})

const print = (tally: Tally.Tally, report: Audit.Report | undefined, json: boolean) =>
  Effect.andThen(
    json ? Effect.void : Console.log(summary(tally, report)),
    Console.log(JSON.stringify(toResult(tally, report)))
  )

const demo = Command.make(
  "demo",
  {
    seed: Flag.Int("seed").pipe(Flag.withDescription("Which workload is played. Default: 1"), Flag.optional),
    tasks: Flag.Int("tasks").pipe(
      Flag.withDescription("How many tasks it has, from 1 to 1000. Default: 24"),
      Flag.withSchema(Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 1000 }))),
      Flag.optional
    ),
    json: Flag.Boolean("json").pipe(
      Flag.withDescription("Print the final object and nothing else"),
      Flag.withDefault(false)
    ),
    url: Flag.String("url").pipe(
      Flag.withDescription("Follow the server at this URL instead, with the key from MAKIMA_API_KEY"),
      Flag.optional
    )
  },
  Effect.fnUntraced(function* ({ json, seed, tasks, url }) {
    if (Option.isSome(url)) {
      if (Option.isSome(seed) || Option.isSome(tasks)) {
        return yield* new Cli.Failure({
          message: "--seed and --tasks are for the mock server, not for --url",
          exitCode: 2
        })
      }
      return yield* remote({ url: url.value, json }).pipe(
        Effect.mapError(
          (error) => new Cli.Failure({ message: error.message, exitCode: error._tag === "MeshError" ? 1 : 2 })
        )
      )
    }
    const { report, tally } = yield* local({
      seed: Option.getOrElse(seed, () => 1),
      tasks: Option.getOrElse(tasks, () => 24),
      json
    }).pipe(Effect.mapError(({ message }) => new Cli.Failure({ message, exitCode: 1 })))
    yield* print(tally, report, json)
    if (!Audit.isClean(report)) {
      return yield* new Cli.Failure({ message: "The audit found what must not be: see the counts", exitCode: 1 })
    }
  })
).pipe(Command.withDescription("Follows a task feed through three cuts of its connection, and audits what arrived"))

Cli.main(demo)
