/**
 * A board that is repaired over real sockets: the feed through a proxy that delays it,
 * snapshots over HTTP without a delay. So a snapshot is newer than what has arrived of
 * the feed. Delays and timers run on the test's clock: no verdict depends on how fast the
 * machine is.
 */
import * as Interest from "@makima-stream/core/Interest"
import type * as MeshEvent from "@makima-stream/core/MeshEvent"
import * as MeshStream from "@makima-stream/core/MeshStream"
import * as Repair from "@makima-stream/core/Repair"
import * as RepairHttp from "@makima-stream/core/RepairHttp"
import * as TaskBoard from "@makima-stream/core/TaskBoard"
import * as TaskId from "@makima-stream/core/TaskId"
import * as ChaosProxy from "@makima-stream/test-kit/ChaosProxy"
import * as MockMeshServer from "@makima-stream/test-kit/MockMeshServer"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as FetchHttpClient from "effect/http/FetchHttpClient"
import * as HttpClientRequest from "effect/http/HttpClientRequest"
import * as Option from "effect/Option"
import * as Random from "effect/Random"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import * as NodeMeshSocket from "../src/NodeMeshSocket.ts"

const latencyMillis = 50

const Row = Schema.Struct({ taskId: TaskId.TaskId, version: Schema.Int, status: Schema.String })
type Row = typeof Row.Type

/** The truth, which the feed and the endpoint serve. */
const makeTasks = () => {
  const rows = new Map<TaskId.TaskId, Row>()
  for (let n = 0; n < 400; n++) {
    const taskId = TaskId.make(`task ${n}`)
    rows.set(taskId, { taskId, version: 1, status: "running" })
  }
  return rows
}

/** A REST endpoint for all tasks. */
const endpoint = (rows: ReadonlyMap<TaskId.TaskId, Row>) =>
  Effect.acquireRelease(
    Effect.callback<{ readonly url: string; readonly close: () => void }>((resume) => {
      const server = createServer((_, response) => {
        response.setHeader("content-type", "application/json")
        response.end(JSON.stringify([...rows.values()]))
      })
      server.listen(0, "127.0.0.1", () => {
        const { port } = server.address() as AddressInfo
        const close = () => {
          server.closeAllConnections()
          server.close()
        }
        resume(Effect.succeed({ url: `http://127.0.0.1:${port}/tasks`, close }))
      })
    }),
    ({ close }) => Effect.sync(close)
  )

const turn = Effect.promise(() => new Promise<void>((resolve) => setImmediate(resolve)))

/** Whether a `Repaired` follows the last mark. */
const isRepaired = (events: ReadonlyArray<MeshEvent.MeshEvent>): boolean =>
  events.findLastIndex(({ _tag }) => _tag === "Repaired") > events.findLastIndex(({ _tag }) => _tag === "Resync")

/**
 * Tasks that change all the time, two kills, and what a board shows in the end. Each kill
 * waits until the gap before it is closed, as `isClosed` judges.
 */
const run = (
  repair: (
    url: string
  ) => <E, R>(feed: Stream.Stream<MeshEvent.MeshEvent, E, R>) => Stream.Stream<MeshEvent.MeshEvent, E, R>,
  isClosed: (events: ReadonlyArray<MeshEvent.MeshEvent>) => boolean
) =>
  Effect.gen(function* () {
    const rows = makeTasks()
    const { url } = yield* endpoint(rows)
    const server = yield* MockMeshServer.make()
    const proxy = yield* ChaosProxy.make({ target: server.port })
    yield* proxy.shape({ latencyMillis })
    const events: Array<MeshEvent.MeshEvent> = []
    yield* MeshStream.connect({
      interest: Interest.all,
      policy: { schedule: Schedule.spaced("100 millis") }
    }).pipe(
      repair(url),
      Stream.runForEach((event) => Effect.sync(() => events.push(event))),
      Effect.provide(NodeMeshSocket.layer({ url: proxy.url })),
      Effect.forkScoped
    )

    const send = (row: Row) => {
      rows.set(row.taskId, row)
      return server.emit({ _tag: "TaskUpdated", ...row })
    }
    /** Changes some of the tasks. One that is done does not change any more. */
    const change = Effect.gen(function* () {
      for (let n = 0; n < 3; n++) {
        const row = rows.get(TaskId.make(`task ${yield* Random.nextIntBetween(0, 399)}`))
        if (row === undefined || row.status === "done") continue
        const status = (yield* Random.next) < 0.2 ? "done" : "running"
        yield* send({ ...row, version: row.version + 1, status })
      }
    })
    const step = TestClock.adjust(5).pipe(Effect.andThen(turn), Effect.andThen(change))
    const quiet = Effect.andThen(TestClock.adjust(5), turn)
    const until = (what: Effect.Effect<void>, condition: () => boolean) =>
      Effect.repeat(Effect.map(what, condition), { until: (holds) => holds })
    const marks = () => events.filter((event) => event._tag === "Resync").length

    yield* until(step, () => marks() === 1)
    for (let kill = 1; kill <= 2; kill++) {
      yield* Effect.repeat(step, { times: 100 })
      yield* until(step, () => isClosed(events))
      yield* proxy.kill()
      yield* until(step, () => marks() === kill + 1)
    }
    yield* until(step, () => isClosed(events))

    // Everything that was sent before the last update has arrived when that has.
    const last = TaskId.make("last")
    yield* send({ taskId: last, version: 1, status: "done" })
    yield* until(quiet, () => events.some((event) => event._tag === "TaskUpdated" && event.taskId === last))
    const board = TaskBoard.fold(TaskBoard.make(), events, 0)
    const wrong = [...rows.values()].filter(({ status, taskId, version }) => {
      const shown = Option.getOrUndefined(TaskBoard.get(board, taskId))
      return shown?.status !== status || shown.version !== version
    })
    return { events, wrong: wrong.length }
  }).pipe(Effect.scoped, Random.withSeed("repair"))

describe("a repair over real sockets", () => {
  it.effect("shows every one of 400 tasks right after two kills, where the feed is 50 ms slower than HTTP", () =>
    Effect.gen(function* () {
      const { events, wrong } = yield* run(
        (url) =>
          Repair.repair({
            fetch: (ask) =>
              RepairHttp.make({
                request: () => HttpClientRequest.get(url),
                schema: Schema.Array(Row),
                tasks: (rows) => rows
              })(ask).pipe(Effect.provide(FetchHttpClient.layer)),
            spread: "20 millis",
            minInterval: "20 millis",
            timeout: "Infinity"
          }),
        isRepaired
      )
      assert.strictEqual(wrong, 0)
      const marks = events.flatMap((event, index) => (event._tag === "Resync" ? [{ event, index }] : []))
      assert.deepStrictEqual(
        marks.map(({ event }) => event.reason._tag),
        ["Started", "Reconnected", "Reconnected"]
      )
      for (const { event, index } of marks) {
        const repaired = events.slice(index).find(({ _tag }) => _tag === "Repaired")
        assert.deepInclude(repaired, { epoch: event.epoch, reasons: [event.reason._tag], open: 0 })
      }
      assert.isFalse(events.some(({ _tag }) => _tag === "RepairFailed"))
    })
  )

  it.effect("leaves some of the tasks wrong without it", () =>
    Effect.gen(function* () {
      const { wrong } = yield* run(
        () => (feed) => feed,
        () => true
      )
      assert.isAbove(wrong, 0)
    })
  )
})
