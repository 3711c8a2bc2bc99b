/** Processes that are killed with SIGKILL and stopped with SIGSTOP, on logs in SQLite. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import * as TaskId from "@makima-stream/core/TaskId"
import type * as MeshLog from "@makima-stream/log/MeshLog"
import * as SqliteLog from "@makima-stream/log/SqliteLog"
import * as MockMeshServer from "@makima-stream/test-kit/MockMeshServer"
import { steps } from "../src/internal/sqlite/faults.ts"
import { contents, outputs, range } from "./support/events.ts"
import { start, type Running } from "./support/process.ts"
import { temporaryFile } from "./support/sqlite.ts"

const readFile = (filename: string) =>
  Effect.scoped(Effect.flatMap(SqliteLog.make({ filename }), (log) => Stream.runCollect(log.read())))

describe("a process that is killed with SIGKILL", () => {
  it.live(
    "leaves a whole log at every step of an append, and the same append completes it",
    () =>
      Effect.gen(function* () {
        const filename = yield* temporaryFile
        let count = 10
        yield* Effect.scoped(Effect.flatMap(SqliteLog.make({ filename }), (log) => log.append(outputs(0, count))))
        for (const step of steps) {
          const end = count + 20
          const killed = yield* start("killed", ["append", filename, step, `${count}`, `${end}`])
          yield* killed.ended
          assert.strictEqual(killed.child.signalCode, "SIGKILL")
          const before = contents(yield* readFile(filename))
          // Before the commit nothing of the batch is stored, after it everything.
          const isStored = step === "committed" || step === "head"
          assert.deepStrictEqual(before, range(0, isStored ? end : count), step)
          yield* Effect.scoped(Effect.flatMap(SqliteLog.make({ filename }), (log) => log.append(outputs(count, end))))
          assert.deepStrictEqual(contents(yield* readFile(filename)), range(0, end), step)
          count = end
        }
      }),
    60_000
  )

  it.live(
    "is delivered again what it handled and did not acknowledge, and nothing else",
    () =>
      Effect.gen(function* () {
        const filename = yield* temporaryFile
        yield* Effect.scoped(Effect.flatMap(SqliteLog.make({ filename }), (log) => log.append(outputs(0, 30))))
        const first = yield* start("killed", ["reader", filename, "12"])
        yield* first.ended
        assert.strictEqual(first.child.signalCode, "SIGKILL")
        const second = yield* start("killed", ["reader", filename, "19"])
        yield* second.ended
        assert.strictEqual(second.child.signalCode, "SIGKILL")
        assert.deepStrictEqual((yield* first.printed).trim().split("\n"), range(0, 12))
        // The twelfth entry was not acknowledged.
        assert.deepStrictEqual((yield* second.printed).trim().split("\n"), range(11, 30))
      }),
    60_000
  )
})

/** What the log says of the outputs, whose content is their number. */
const judge = (entries: ReadonlyArray<MeshLog.Entry>, emitted: number) => {
  const seen = new Map<string, number>()
  const marks = new Map<string | undefined, number>()
  let doubled = 0
  for (const { event } of entries) {
    if (event._tag === "Resync") marks.set(event.taskId, (marks.get(event.taskId) ?? 0) + 1)
    if (event._tag !== "TaskOutput") continue
    const stretch = (marks.get(undefined) ?? 0) + (marks.get(event.taskId) ?? 0)
    if (seen.get(event.content) === stretch) doubled++
    seen.set(event.content, stretch)
  }
  const lost = Array.from({ length: emitted }, (_, n) => `${n}`).filter((content) => !seen.has(content)).length
  return { lost, doubled }
}

describe("a team of relay processes", () => {
  it.live(
    "loses nothing and doubles nothing without a mark when the holder is killed and the next one is stopped, at 500 events a second",
    () =>
      Effect.gen(function* () {
        const filename = yield* temporaryFile
        const server = yield* MockMeshServer.make({ keepMessages: false })
        const env = { MAKIMA_API_URL: server.url, MAKIMA_API_KEY: "key" }
        const tasks = ["a", "b", "c", "d"].map((id) => TaskId.make(id))
        let emitted = 0
        const announce = Effect.forEach(tasks, (taskId) =>
          server.emit({ _tag: "TaskUpdated", taskId, status: "running" })
        )
        const isHolder = (stdout: string) => stdout.trim().split("\n").at(-1)?.startsWith("holder") === true
        const isAligned = (stdout: string) => stdout.trim().endsWith("connected aligned")
        /** Starts a relay, and waits until it receives the output of every task. */
        let subscribers = 0
        const startRelay = Effect.fnUntraced(function* (name: string) {
          const relay = yield* start("relay", [filename, name], env)
          yield* relay.awaitOut((stdout) => stdout.includes("connected"))
          yield* announce
          subscribers++
          yield* server.awaitReceived(
            ({ connection, message }) =>
              connection === subscribers && message._tag === "SubscribeOutput" && message.taskId === "d"
          )
          return relay
        })
        const one = yield* startRelay("one")
        yield* one.awaitOut(isHolder)
        const load = Effect.gen(function* () {
          for (let n = 0; n < 10; n++) {
            const taskId = tasks[emitted % tasks.length] ?? TaskId.make("a")
            yield* server.emit({ _tag: "TaskOutput", taskId, messageType: "assistant", content: `${emitted++}` })
          }
          yield* Effect.sleep(20)
        })
        yield* Effect.forkChild(Effect.forever(load))
        const two = yield* startRelay("two")
        const three = yield* startRelay("three")
        // On a slow machine, the one may be apart again when the other is aligned.
        const areAligned = Effect.gen(function* () {
          yield* two.awaitOut(isAligned)
          yield* three.awaitOut(isAligned)
          return isAligned(yield* two.printed)
        })
        yield* Effect.repeat(areAligned, { until: (aligned) => aligned })
        one.child.kill("SIGKILL")
        const next = yield* Effect.raceFirst(
          Effect.as(two.awaitOut(isHolder), two),
          Effect.as(three.awaitOut(isHolder), three)
        )
        const last: Running = next === two ? three : two
        yield* last.awaitOut(isAligned)
        next.child.kill("SIGSTOP")
        yield* last.awaitOut(isHolder)
        const before = (yield* next.printed).length
        next.child.kill("SIGCONT")
        // It may be the holder again soon after, if the other one is slow.
        yield* next.awaitOut((stdout) => stdout.slice(before).includes("standby"))
        // What was emitted up to here is in the log once its end is.
        const end = emitted
        const isStored = Effect.map(readFile(filename), (entries) => judge(entries, end).lost === 0)
        yield* Effect.repeat(Effect.andThen(Effect.sleep(200), isStored), { until: (stored) => stored, times: 50 })
        assert.deepStrictEqual(judge(yield* readFile(filename), end), { lost: 0, doubled: 0 })
      }),
    120_000
  )
})
