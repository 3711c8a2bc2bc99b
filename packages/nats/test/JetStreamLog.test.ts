import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as SubscriptionRef from "effect/SubscriptionRef"
import { TaskId } from "@makima-stream/core/TaskId"
import type { LogError } from "@makima-stream/log/LogError"
import * as MeshLog from "@makima-stream/log/MeshLog"
import * as JetStreamLog from "@makima-stream/nats/JetStreamLog"
import * as Server from "./support/server.ts"

type Log = MeshLog.Service

const outputs = (from: number, to: number, id = "o"): ReadonlyArray<MeshLog.NewEvent> =>
  Array.from({ length: to - from }, (_, i) => ({
    id: `${id}:${from + i}`,
    event: {
      _tag: "TaskOutput",
      taskId: TaskId.make(`task ${(from + i) % 3}`),
      messageType: "assistant",
      content: `${from + i}`
    }
  }))

const range = (from: number, to: number) => Array.from({ length: to - from }, (_, i) => `${from + i}`)

const contents = (entries: ReadonlyArray<MeshLog.Entry>): ReadonlyArray<string> =>
  entries.map(({ event }) => (event._tag === "TaskOutput" ? event.content : event._tag))

const readAll = (log: Log, options?: MeshLog.ReadOptions) => Stream.runCollect(log.read(options))

/** A count that a test can wait for. */
const makeCount = Effect.map(SubscriptionRef.make(0), (ref) => ({
  set: (count: number) => SubscriptionRef.set(ref, count),
  reaches: (count: number) =>
    SubscriptionRef.changes(ref).pipe(
      Stream.filter((current) => current >= count),
      Stream.runHead
    )
}))

const reasonOf = (exit: Exit.Exit<unknown, LogError>): string => {
  const error = Exit.findErrorOption(exit)
  return error._tag === "None" ? exit._tag : error.value.reason._tag
}

describe.skipIf(!Server.isInstalled).concurrent("JetStreamLog", () => {
  const shared = Server.share()

  it.live("appends every batch once, in order, while its server is killed and started again", () =>
    Effect.gen(function* () {
      const server = yield* Server.start
      const log = yield* JetStreamLog.make({ servers: server.url })
      const appended = yield* makeCount
      const writing = yield* Effect.forkChild(
        Effect.gen(function* () {
          for (let n = 0; n < 6000; n += 200) {
            yield* log.append(outputs(n, n + 200))
            yield* appended.set(n + 200)
          }
        })
      )
      for (const stop of [1000, 3000]) {
        yield* appended.reaches(stop)
        yield* server.restart
      }
      yield* Fiber.join(writing)
      assert.deepStrictEqual(contents(yield* readAll(log)), range(0, 6000))
    }).pipe(Effect.scoped)
  )

  it.live("follows through a restart of its server, without a loss and without a duplicate", () =>
    Effect.gen(function* () {
      const server = yield* Server.start
      const options: JetStreamLog.Options = { servers: server.url }
      const [writer, reader] = [yield* JetStreamLog.make(options), yield* JetStreamLog.make(options)]
      const seen: Array<MeshLog.Entry> = []
      const received = yield* makeCount
      const following = yield* reader.read({ follow: true }).pipe(
        Stream.take(300),
        Stream.runForEach((entry) => received.set(seen.push(entry))),
        Effect.forkChild
      )
      yield* writer.append(outputs(0, 100))
      yield* received.reaches(100)
      yield* server.kill
      const appending = yield* Effect.forkChild(writer.append(outputs(100, 200)))
      yield* server.start
      yield* Fiber.join(appending)
      yield* writer.append(outputs(200, 300))
      yield* Fiber.join(following)
      assert.deepStrictEqual(contents(seen), range(0, 300))
    }).pipe(Effect.scoped)
  )

  it.live("fails with Full when the server has no space, and everything before stays readable", () =>
    Effect.gen(function* () {
      const server = yield* Server.startWith(512 * 1024)
      const log = yield* JetStreamLog.make({ servers: server.url })
      let appended = 0
      let exit: Exit.Exit<unknown, LogError> = Exit.void
      while (Exit.isSuccess(exit) && appended < 20_000) {
        exit = yield* Effect.exit(log.append(outputs(appended, appended + 50)))
        if (Exit.isSuccess(exit)) appended += 50
      }
      assert.strictEqual(reasonOf(exit), "Full")
      // A batch that failed may be stored in part. Nothing before it is missing, and it is not stored twice later.
      const stored = contents(yield* readAll(log))
      assert.isAtLeast(stored.length, appended)
      assert.isBelow(stored.length, appended + 50)
      assert.deepStrictEqual(stored, range(0, stored.length))
    }).pipe(Effect.scoped)
  )

  it.live("stores nothing of an append after another process has acquired its lease", () =>
    Effect.gen(function* () {
      const options = yield* shared
      const [one, two] = [yield* JetStreamLog.make(options), yield* JetStreamLog.make(options)]
      const scope = yield* Scope.make()
      const first = yield* Scope.provide(one.lease("relay"), scope)
      const append = yield* Effect.forkChild(Effect.exit(one.append(outputs(0, 20_000), { lease: first })))
      while ((yield* two.bounds).last < 2000) yield* Effect.yieldNow
      // What a process that was paused for longer than its lease does not notice.
      yield* first.release
      const second = yield* two.lease("relay")
      const { last } = yield* two.bounds
      yield* two.append(outputs(0, 10, "second"), { lease: second })
      assert.strictEqual(reasonOf(yield* Fiber.join(append)), "Fenced")
      const entries = yield* readAll(two)
      const ofFirst = entries.slice(0, -10)
      assert.isAbove(ofFirst.length, 1000)
      assert.isBelow(ofFirst.length, 20_000)
      assert.isTrue(ofFirst.every(({ position }) => position <= last))
      assert.deepStrictEqual(contents(ofFirst), range(0, ofFirst.length))
    }).pipe(Effect.scoped)
  )

  it.live("keeps the marks of all tasks in their places for a reader of one task", () =>
    Effect.gen(function* () {
      const options = yield* shared
      const log = yield* JetStreamLog.make(options)
      const resync = (n: number): MeshLog.NewEvent => ({
        id: `mark ${n}`,
        event: { _tag: "Resync", epoch: n, reason: { _tag: "Reconnected", downMillis: n } }
      })
      yield* log.append([
        ...outputs(0, 3),
        resync(1),
        ...outputs(3, 9),
        resync(2),
        resync(3),
        ...outputs(9, 12),
        resync(4)
      ])
      const entries = yield* readAll(log, { filter: { tasks: TaskId.make("task 0"), keep: "resync" } })
      assert.deepStrictEqual(contents(entries), ["0", "Resync", "3", "6", "Resync", "Resync", "9", "Resync"])
    }).pipe(Effect.scoped)
  )

  it.live("has the newest update of a task as the last message of its subject, also after a late older one", () =>
    Effect.gen(function* () {
      const options = yield* shared
      const updates = (...versions: ReadonlyArray<number | undefined>): ReadonlyArray<MeshLog.NewEvent> =>
        versions.map((version, n) => ({
          id: `${version} ${n} ${versions.length}`,
          event: { _tag: "TaskUpdated", taskId: TaskId.make("a"), ...(version === undefined ? {} : { version }) }
        }))
      const versionsOf = (entries: ReadonlyArray<MeshLog.Entry>) =>
        entries.map(({ event }) => (event._tag === "TaskUpdated" ? event.version : undefined))
      const [one, two] = [yield* JetStreamLog.make(options), yield* JetStreamLog.make(options)]
      yield* one.append(updates(1, 3, 2))
      // Another writer, which has to learn the version from the log.
      yield* two.append(updates(2, 1, 2, 3, 1))
      assert.deepStrictEqual(versionsOf(yield* readAll(one, { from: MeshLog.lastPerTask })), [3])
      assert.deepStrictEqual(versionsOf(yield* readAll(one)).length, 8)
      yield* one.append(updates(undefined, 2))
      assert.deepStrictEqual(versionsOf(yield* readAll(one, { from: MeshLog.lastPerTask })), [undefined])
    }).pipe(Effect.scoped)
  )

  it.live("skips an event in parts of which retention has removed some", () =>
    Effect.gen(function* () {
      const options = yield* shared
      const log = yield* JetStreamLog.make({ ...options, retention: { maxEntries: 4 } })
      const large: MeshLog.NewEvent = {
        id: "large",
        event: { _tag: "TaskOutput", taskId: TaskId.make("a"), messageType: "raw", content: "x".repeat(3 << 20) }
      }
      yield* log.append([large])
      assert.strictEqual((yield* readAll(log)).length, 1)
      yield* log.append(outputs(0, 2))
      const entries = yield* readAll(log)
      assert.deepStrictEqual(contents(entries), ["Resync", "0", "1"])
    }).pipe(Effect.scoped)
  )

  it.live("accepts an id that no header can hold", () =>
    Effect.gen(function* () {
      const options = yield* shared
      const log = yield* JetStreamLog.make(options)
      const strange = (n: number): MeshLog.NewEvent => ({
        id: `u:日本\r\nx: ${n}`,
        event: { _tag: "ServerError", code: "ERROR", message: `${n}` }
      })
      yield* log.append([strange(1), strange(2), strange(1)])
      yield* log.append([strange(2), strange(3)])
      assert.strictEqual((yield* readAll(log)).length, 3)
    }).pipe(Effect.scoped)
  )

  it.live("has one update for each task in a snapshot, also while updates are appended", () =>
    Effect.gen(function* () {
      const options = yield* shared
      const log = yield* JetStreamLog.make(options)
      const ids = ["a", "b", "c", "d"]
      const round = (version: number): ReadonlyArray<MeshLog.NewEvent> =>
        ids.map((id) => ({
          id: `${id}:${version}`,
          event: { _tag: "TaskUpdated", taskId: TaskId.make(id), version, status: "running" }
        }))
      yield* log.append(round(0))
      let version = 0
      yield* Effect.forkScoped(Effect.forever(Effect.suspend(() => log.append(round(++version)))))
      for (let n = 0; n < 20; n++) {
        const tasks = (yield* readAll(log, { from: MeshLog.lastPerTask })).map(({ event }) =>
          event._tag === "TaskUpdated" ? event.taskId : event._tag
        )
        assert.sameMembers(tasks, ids)
      }
    }).pipe(Effect.scoped)
  )

  it.live("fails with Unavailable when the server cannot be reached", () =>
    Effect.gen(function* () {
      const server = yield* Server.start
      const log = yield* JetStreamLog.make({ servers: server.url, retryFor: "300 millis" })
      yield* server.kill
      assert.strictEqual(reasonOf(yield* Effect.exit(log.append(outputs(0, 1)))), "Unavailable")
      assert.strictEqual(reasonOf(yield* Effect.exit(readAll(log))), "Unavailable")
      const unreachable = JetStreamLog.make({ servers: server.url, connection: { timeout: 500 } })
      assert.strictEqual(reasonOf(yield* Effect.exit(Effect.scoped(unreachable))), "Unavailable")
    }).pipe(Effect.scoped)
  )
})
