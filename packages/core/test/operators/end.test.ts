import { assert, describe, it } from "@effect/vitest"
import * as MeshStream from "@makima-stream/core/MeshStream"
import * as TaskStatus from "@makima-stream/core/TaskStatus"
import type * as MeshEvent from "@makima-stream/core/MeshEvent"
import * as Effect from "effect/Effect"
import * as Ref from "effect/Ref"
import * as Stream from "effect/Stream"
import {
  a,
  at,
  b,
  c,
  connected,
  disconnected,
  events,
  inArrays,
  output,
  place,
  resync,
  serverError,
  sizes,
  through,
  updated
} from "../support/events.ts"

const s = (taskId: typeof a, status: string) => updated(taskId, { status })

describe("untilTerminal", () => {
  it.effect("ends with the update that ends the task, in the middle of an array", () =>
    Effect.gen(function* () {
      const input = [connected(), s(a, "running"), output(a, "x"), s(b, "done"), s(a, "done"), s(a, "merged")]
      assert.deepStrictEqual(yield* through(input, MeshStream.untilTerminal(a)), input.slice(0, 5))
    })
  )

  it.effect("each default terminal status ends a task, and no other does", () =>
    Effect.gen(function* () {
      for (const status of TaskStatus.defaultTerminal) {
        assert.deepStrictEqual(yield* through([s(a, status), s(a, status)], MeshStream.untilTerminal(a)), [
          s(a, status)
        ])
      }
      const others = ["pending", "starting", "running", "paused", "blocked", "Done", "novel"].map((x) => s(a, x))
      assert.deepStrictEqual(yield* through(others, MeshStream.untilTerminal(a)), others)
    })
  )

  it.effect("waits for all of several tasks, in any order", () =>
    Effect.gen(function* () {
      const input = [s(c, "done"), s(a, "failed"), s(b, "running"), s(c, "done"), s(b, "cancelled"), s(b, "running")]
      assert.deepStrictEqual(yield* through(input, MeshStream.untilTerminal(new Set([a, b, c]))), input.slice(0, 5))
    })
  )

  it.effect("a task counts as ended from its first terminal status on", () =>
    Effect.gen(function* () {
      const input = [s(a, "done"), s(a, "running"), s(b, "done"), serverError]
      assert.deepStrictEqual(yield* through(input, MeshStream.untilTerminal([a, b])), input.slice(0, 3))
    })
  )

  it.effect("accepts another set of terminal statuses, or a predicate", () =>
    Effect.gen(function* () {
      const input = [s(a, "done"), s(a, "merged"), s(a, "archived"), s(a, "done")]
      assert.deepStrictEqual(
        yield* through(input, MeshStream.untilTerminal(a, { terminal: "archived" })),
        input.slice(0, 3)
      )
      assert.deepStrictEqual(
        yield* through(input, MeshStream.untilTerminal([a], { terminal: (status) => status === "merged" })),
        input.slice(0, 2)
      )
      assert.deepStrictEqual(
        yield* Stream.runCollect(
          MeshStream.untilTerminal(Stream.fromArray(input), a, { terminal: ["merged", "archived"] })
        ),
        input.slice(0, 2)
      )
    })
  )

  it.effect("ends at once where there is no task to wait for, without a pull", () =>
    Effect.gen(function* () {
      const pulls = yield* Ref.make(0)
      const feed = Stream.fromEffect(Ref.update(pulls, (n) => n + 1)).pipe(Stream.map(() => s(a, "done")))
      assert.deepStrictEqual(yield* Stream.runCollect(MeshStream.untilTerminal(feed, [])), [])
      assert.strictEqual(yield* Ref.get(pulls), 0)
    })
  )

  it.effect("pulls nothing after the last element, and closes what is before it", () =>
    Effect.gen(function* () {
      const log = yield* Ref.make<ReadonlyArray<string>>([])
      const note = (entry: string) => Ref.update(log, (entries) => [...entries, entry])
      const feed = Stream.fromIterable([s(a, "running"), s(a, "done"), s(a, "running")]).pipe(
        Stream.rechunk(1),
        Stream.tap((event) => note(event.status ?? "")),
        Stream.ensuring(note("closed"))
      )
      assert.strictEqual((yield* Stream.runCollect(MeshStream.untilTerminal(feed, a))).length, 2)
      assert.deepStrictEqual(yield* Ref.get(log), ["running", "done", "closed"])
    })
  )

  it.effect("waits for every task again in each run of the same stream", () =>
    Effect.gen(function* () {
      const feed = MeshStream.untilTerminal(Stream.make(s(a, "done"), s(b, "done"), s(a, "running")), [a, b])
      assert.strictEqual((yield* Stream.runCollect(feed)).length, 2)
      assert.strictEqual((yield* Stream.runCollect(feed)).length, 2)
    })
  )

  it.effect("a terminal status that arrives after a newer update of its task does not end it", () =>
    Effect.gen(function* () {
      const update = (version: number, status: string) => updated(a, { version, status })
      const input = [update(2, "running"), update(1, "done"), update(3, "done"), update(4, "running")]
      assert.deepStrictEqual(yield* through(input, MeshStream.untilTerminal(a)), input.slice(0, 3))
    })
  )

  it.effect("ends with a restored server's terminal status once its lower versions are accepted", () =>
    Effect.gen(function* () {
      const update = (version: number, status: string) => updated(a, { version, status })
      const input = [update(9, "running"), resync(), update(1, "running"), update(2, "running"), update(3, "done")]
      assert.deepStrictEqual(yield* through([...input, serverError], MeshStream.untilTerminal(a)), input)
      const never = [...input, serverError]
      assert.deepStrictEqual(yield* through(never, MeshStream.untilTerminal(a, { restartAfter: Infinity })), never)
    })
  )

  it.effect.prop("is the input up to the last task's first terminal status", [events, sizes], ([drawn, sizes]) =>
    Effect.gen(function* () {
      // Without versions every update is newer than those before it.
      const events = drawn.filter((event) => event._tag !== "TaskUpdated" || event.version === undefined)
      const firsts = [a, b].map((task) =>
        events.findIndex(
          (event) =>
            event._tag === "TaskUpdated" &&
            event.taskId === task &&
            event.status !== undefined &&
            TaskStatus.isTerminal(event.status)
        )
      )
      const end = firsts.includes(-1) ? events.length : Math.max(...firsts) + 1
      assert.deepStrictEqual(
        yield* Stream.runCollect(MeshStream.untilTerminal(inArrays(events, sizes), [a, b])),
        events.slice(0, end)
      )
    })
  )

  it.effect.prop(
    "the lifecycle at any position neither ends it nor keeps it going",
    [events, place],
    ([events, place]) =>
      Effect.gen(function* () {
        const index = at(place, events)
        const gap: ReadonlyArray<MeshEvent.MeshEvent> = [disconnected(7), connected(8), resync(), resync(a)]
        // The last event never ends a task: whatever is shorter than the input was ended.
        const input = [...events, serverError]
        const without = yield* through(input, MeshStream.untilTerminal([a, b], { restartAfter: Infinity }))
        assert.deepStrictEqual(
          yield* through(
            [...input.slice(0, index), ...gap, ...input.slice(index)],
            MeshStream.untilTerminal([a, b], { restartAfter: Infinity })
          ),
          index >= without.length ? without : [...without.slice(0, index), ...gap, ...without.slice(index)]
        )
      })
  )
})
