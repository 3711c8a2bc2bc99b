import { assert, describe, it } from "@effect/vitest"
import * as MeshStream from "@makima-stream/core/MeshStream"
import * as TaskId from "@makima-stream/core/TaskId"
import type * as MeshEvent from "@makima-stream/core/MeshEvent"
import * as Arbitrary from "effect/Arbitrary"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import {
  a,
  at,
  b,
  c,
  connected,
  disconnected,
  events,
  gapless,
  output,
  place,
  resync,
  serverError,
  through,
  updated,
  versionGap
} from "../support/events.ts"

const v = (taskId: TaskId.TaskId, version: number) => updated(taskId, { version })
const s = (taskId: TaskId.TaskId, status: string) => updated(taskId, { status })

const isVersionGap = (event: MeshEvent.MeshEvent): boolean =>
  event._tag === "Resync" && event.reason._tag === "VersionGap"

/** The index of one of the updates with a version, -1 where there is none. */
const versioned = (events: ReadonlyArray<MeshEvent.MeshEvent>, place: number): number => {
  const indexes = events.flatMap((event, i) => (event._tag === "TaskUpdated" && event.version !== undefined ? [i] : []))
  return indexes[at(place, indexes.slice(1))] ?? -1
}

const withoutVersion = (event: MeshEvent.MeshEvent): MeshEvent.MeshEvent => {
  if (event._tag !== "TaskUpdated") return event
  const { version: _, ...update } = event
  return update
}

const mark = (reason: MeshEvent.ResyncReason, taskId?: TaskId.TaskId): MeshEvent.Resync => ({
  _tag: "Resync",
  epoch: 1,
  ...(taskId === undefined ? {} : { taskId }),
  reason
})

/** Without the epoch of marks, which follows a Resync that is put in. */
const withoutEpoch = (event: MeshEvent.MeshEvent) => (isVersionGap(event) ? { ...event, epoch: 0 } : event)

describe("dedupeUpdates", () => {
  it.effect("drops a version that was passed, task by task", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(
        yield* through([v(a, 1), v(a, 1), v(b, 1), v(a, 3), v(a, 2), v(a, 4), v(b, 1)], MeshStream.dedupeUpdates),
        [v(a, 1), v(b, 1), v(a, 3), v(a, 4)]
      )
    })
  )

  it.effect("lets an update without a version pass, each time", () =>
    Effect.gen(function* () {
      const input = [updated(a), v(a, 1), updated(a), updated(a), v(a, 1)]
      assert.deepStrictEqual(yield* through(input, MeshStream.dedupeUpdates), input.slice(0, 4))
    })
  )

  it.effect("a version of 0 and below is a version as any other", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* through([v(a, -1), v(a, 0), v(a, 0), v(a, -1)], MeshStream.dedupeUpdates), [
        v(a, -1),
        v(a, 0)
      ])
    })
  )

  it.effect("a reconnect does not make it forget", () =>
    Effect.gen(function* () {
      const gap = [disconnected(), connected(2), resync(undefined, 2), resync(a)]
      assert.deepStrictEqual(yield* through([v(a, 2), ...gap, v(a, 2), v(a, 3)], MeshStream.dedupeUpdates), [
        v(a, 2),
        ...gap,
        v(a, 3)
      ])
    })
  )

  it.effect("lets a restored server's versions pass from the third one after a reconnect on", () =>
    Effect.gen(function* () {
      const input = [v(a, 1200), resync(), v(a, 1001), v(a, 1002), v(a, 1003), v(a, 1004), v(a, 1004)]
      const kept = [input[0], input[1], input[4], input[5]]
      assert.deepStrictEqual(yield* through(input, MeshStream.dedupeUpdates), kept)
      assert.deepStrictEqual(
        yield* through(input, MeshStream.dedupeUpdates({ restartAfter: Infinity })),
        input.slice(0, 2)
      )
      assert.deepStrictEqual(yield* through(input, MeshStream.dedupeUpdates({ restartAfter: 1 })), input.slice(0, 6))
    })
  )

  it.effect("lower versions on the same connection are late, however many come", () =>
    Effect.gen(function* () {
      const late = Array.from({ length: 10 }, (_, i) => v(a, i))
      assert.deepStrictEqual(yield* through([v(a, 1200), ...late], MeshStream.dedupeUpdates), [v(a, 1200)])
    })
  )

  it.effect("remembers maxTasks tasks, and forgets the one that was updated longest ago", () =>
    Effect.gen(function* () {
      const two = MeshStream.dedupeUpdates({ maxTasks: 2 })
      // a is updated after b, so it is b that c drives out.
      const input = [v(a, 1), v(b, 1), v(a, 2), v(c, 1)]
      assert.deepStrictEqual(yield* through([...input, v(a, 2), v(c, 1)], two), input)
      assert.deepStrictEqual(yield* through([...input, v(b, 1)], two), [...input, v(b, 1)])
    })
  )

  it.effect("always remembers the current task, even with a bound of zero", () =>
    Effect.gen(function* () {
      for (const maxTasks of [0, -1, Number.NaN]) {
        const operator = MeshStream.dedupeUpdates({ maxTasks })
        assert.deepStrictEqual(yield* through([v(a, 1), v(a, 1), v(b, 1), v(b, 1)], operator), [v(a, 1), v(b, 1)])
      }
    })
  )

  it.effect("remembers 10,000 tasks by default, and no more", () =>
    Effect.gen(function* () {
      const many = Array.from({ length: 10_000 }, (_, i) => v(TaskId.make(`t${i}`), 1))
      assert.strictEqual((yield* through([...many, ...many], MeshStream.dedupeUpdates)).length, 10_000)
      assert.strictEqual(
        (yield* through([...many, v(a, 1), many[0] ?? v(b, 1)], MeshStream.dedupeUpdates)).length,
        10_002
      )
    })
  )

  it.effect("data-first takes the options too", () =>
    Effect.gen(function* () {
      const feed = Stream.make(v(a, 1), v(b, 1), v(a, 1))
      assert.strictEqual((yield* Stream.runCollect(MeshStream.dedupeUpdates(feed))).length, 2)
      assert.strictEqual((yield* Stream.runCollect(MeshStream.dedupeUpdates(feed, { maxTasks: 1 }))).length, 3)
    })
  )

  it.effect.prop(
    "duplicates put in anywhere are all that it takes out",
    [gapless, Arbitrary.array(Arbitrary.all([place, place]), { maxLength: 10 })],
    ([events, duplicates]) =>
      Effect.gen(function* () {
        const input = [...events]
        for (const [from, to] of duplicates) {
          // A copy of a versioned update, somewhere after it.
          const index = versioned(input, from)
          const event = input[index]
          if (event !== undefined) input.splice(index + 1 + at(to, input.slice(index + 1)), 0, event)
        }
        assert.deepStrictEqual(yield* through(input, MeshStream.dedupeUpdates({ restartAfter: Infinity })), events)
      })
  )

  it.effect.prop("is idempotent", [events], ([events]) =>
    Effect.gen(function* () {
      const once = yield* through(events, MeshStream.dedupeUpdates({ restartAfter: Infinity }))
      assert.deepStrictEqual(yield* through(once, MeshStream.dedupeUpdates({ restartAfter: Infinity })), once)
    })
  )

  it.effect.prop("a Resync at any position passes there and changes nothing else", [events, place], ([events, place]) =>
    Effect.gen(function* () {
      const index = at(place, events)
      const before = yield* through(events.slice(0, index), MeshStream.dedupeUpdates({ restartAfter: Infinity }))
      const whole = yield* through(events, MeshStream.dedupeUpdates({ restartAfter: Infinity }))
      for (const gap of [resync(), resync(a)]) {
        assert.deepStrictEqual(
          yield* through(
            [...events.slice(0, index), gap, ...events.slice(index)],
            MeshStream.dedupeUpdates({ restartAfter: Infinity })
          ),
          [...before, gap, ...whole.slice(before.length)]
        )
      }
    })
  )
})

describe("markGaps", () => {
  it.effect("puts a Resync that names the task and both versions right before the update that jumped", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(
        yield* through([connected(3), v(a, 1), v(b, 7), v(a, 4), output(a, ""), v(b, 8)], MeshStream.markGaps),
        [connected(3), v(a, 1), v(b, 7), versionGap(a, 1, 4, 3), v(a, 4), output(a, ""), v(b, 8)]
      )
    })
  )

  it.effect("marks one gap after the other, also inside one array", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* through([v(a, 1), v(a, 3), v(a, 5)], MeshStream.markGaps), [
        v(a, 1),
        versionGap(a, 1, 3),
        v(a, 3),
        versionGap(a, 3, 5),
        v(a, 5)
      ])
    })
  )

  it.effect("has the epoch of the last Connected, or of the last Resync, before it", () =>
    Effect.gen(function* () {
      const marked = yield* through(
        [v(a, 1), v(a, 3), connected(2), v(a, 5), resync(b, 4), v(a, 7)],
        MeshStream.markGaps
      )
      assert.deepStrictEqual(marked.filter(isVersionGap), [
        versionGap(a, 1, 3, 0),
        versionGap(a, 3, 5, 2),
        versionGap(a, 5, 7, 4)
      ])
    })
  )

  it.effect("does not mark again what a Resync in between already marks", () =>
    Effect.gen(function* () {
      for (const gap of [[resync()], [resync(a)], [disconnected(), connected(2), resync(undefined, 2)]]) {
        const input = [v(a, 1), ...gap, v(a, 9)]
        assert.deepStrictEqual(yield* through(input, MeshStream.markGaps), input)
      }
    })
  )

  it.effect("marks a gap after a gap that a reconnect has marked", () =>
    Effect.gen(function* () {
      const input = [v(a, 1), v(b, 1), resync(undefined, 2), v(a, 9), v(a, 11), v(b, 5), v(b, 7)]
      assert.deepStrictEqual((yield* through(input, MeshStream.markGaps)).filter(isVersionGap), [
        versionGap(a, 9, 11, 2),
        versionGap(b, 5, 7, 2)
      ])
    })
  )

  it.effect("marks the gap of one task where a Resync names another", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* through([v(a, 1), resync(b), v(a, 3)], MeshStream.markGaps), [
        v(a, 1),
        resync(b),
        versionGap(a, 1, 3, 1),
        v(a, 3)
      ])
    })
  )

  it.effect("compares with the highest version, and passes repeated, older and missing versions over", () =>
    Effect.gen(function* () {
      const input = [v(a, 5), v(a, 5), v(a, 2), updated(a), v(a, 6), serverError]
      assert.deepStrictEqual(yield* through(input, MeshStream.markGaps), input)
    })
  )

  it.effect("an older version after a Resync does not use the mark up", () =>
    Effect.gen(function* () {
      const input = [v(a, 5), resync(), v(a, 4), v(a, 9)]
      assert.deepStrictEqual(yield* through(input, MeshStream.markGaps), input)
    })
  )

  it.effect("remembers maxTasks tasks, and forgets the one that was updated longest ago", () =>
    Effect.gen(function* () {
      const two = MeshStream.markGaps({ maxTasks: 2 })
      const input = [v(a, 1), v(b, 1), v(a, 2), v(c, 1)]
      assert.deepStrictEqual((yield* through([...input, v(b, 9)], two)).filter(isVersionGap), [])
      assert.deepStrictEqual((yield* through([...input, v(a, 9)], two)).filter(isVersionGap), [versionGap(a, 2, 9)])
    })
  )

  it.effect("does not count a mark of output as a gap of updates", () =>
    Effect.gen(function* () {
      const marks = [
        mark({ _tag: "Started" }),
        mark({ _tag: "Subscribed", kind: "output" }, a),
        mark({ _tag: "Subscribed", kind: "updates" }, b)
      ]
      for (const between of marks) {
        assert.deepStrictEqual(yield* through([v(a, 1), between, v(a, 3)], MeshStream.markGaps), [
          v(a, 1),
          between,
          versionGap(a, 1, 3, 1),
          v(a, 3)
        ])
      }
    })
  )

  it.effect("a confirmed subscription to updates stands for a gap of its task, or of every task", () =>
    Effect.gen(function* () {
      for (const between of [
        mark({ _tag: "Subscribed", kind: "updates" }),
        mark({ _tag: "Subscribed", kind: "updates" }, a),
        mark({ _tag: "JoinedLate" })
      ]) {
        const input = [v(a, 1), between, v(a, 3)]
        assert.deepStrictEqual(yield* through(input, MeshStream.markGaps), input)
      }
    })
  )

  it.effect("notices a gap in the versions of a restored server", () =>
    Effect.gen(function* () {
      const input = [v(a, 9), resync(), v(a, 1), v(a, 2), v(a, 3), v(a, 5)]
      assert.deepStrictEqual(yield* through(input, MeshStream.markGaps), [
        ...input.slice(0, 5),
        versionGap(a, 3, 5, 1),
        v(a, 5)
      ])
    })
  )

  it.effect.prop("adds nothing to a sequence without gaps", [gapless], ([events]) =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* through(events, MeshStream.markGaps({ restartAfter: Infinity })), events)
    })
  )

  it.effect.prop("drops nothing, moves nothing, and a second time adds nothing", [events], ([events]) =>
    Effect.gen(function* () {
      const marked = yield* through(events, MeshStream.markGaps({ restartAfter: Infinity }))
      assert.deepStrictEqual(
        marked.filter((event) => !isVersionGap(event)),
        events
      )
      assert.deepStrictEqual(yield* through(marked, MeshStream.markGaps({ restartAfter: Infinity })), marked)
    })
  )

  it.effect.prop(
    "an update taken out is marked before the next one of its task, unless it was the first or the last",
    [gapless, place],
    ([events, place]) =>
      Effect.gen(function* () {
        const lost = events[versioned(events, place)]
        if (lost?._tag !== "TaskUpdated" || lost.version === undefined) return
        const { taskId, version } = lost
        const marked = yield* through(
          events.filter((event) => event !== lost),
          MeshStream.markGaps
        )
        const next = events.findIndex(
          (event) => event._tag === "TaskUpdated" && event.taskId === taskId && event.version === version + 1
        )
        const gaps = marked.filter(isVersionGap)
        if (version === 1 || next === -1) return assert.deepStrictEqual(gaps, [])
        assert.strictEqual(gaps.length, 1)
        // The gap stands where the lost update is missing, one place further for itself.
        assert.strictEqual(marked.findIndex(isVersionGap), next - 1)
        assert.strictEqual(marked[next], events[next])
      })
  )

  it.effect.prop(
    "a Resync at any position takes the place of the mark of each task's next gap, and of no other mark",
    [events, place],
    ([events, place]) =>
      Effect.gen(function* () {
        const index = at(place, events)
        const before = yield* through(events.slice(0, index), MeshStream.markGaps({ restartAfter: Infinity }))
        const after = (yield* through(events, MeshStream.markGaps({ restartAfter: Infinity }))).slice(before.length)
        const gap = { ...resync(), epoch: 0 }
        // Of the marks after the place, those of each task's first newer version are covered.
        const passed = new Map<TaskId.TaskId, number>()
        for (const event of events.slice(0, index)) {
          if (event._tag !== "TaskUpdated" || event.version === undefined) continue
          passed.set(event.taskId, Math.max(event.version, passed.get(event.taskId) ?? event.version))
        }
        const expected = after.filter(
          (event) =>
            event._tag !== "Resync" ||
            event.reason._tag !== "VersionGap" ||
            event.taskId === undefined ||
            event.reason.lastVersion !== passed.get(event.taskId)
        )
        const actual = yield* through(
          [...events.slice(0, index), gap, ...events.slice(index)],
          MeshStream.markGaps({ restartAfter: Infinity })
        )
        assert.deepStrictEqual(actual.map(withoutEpoch), [...before, gap, ...expected].map(withoutEpoch))
      })
  )
})

describe("statusChanges", () => {
  it.effect("lets equal statuses of a task in a row pass once", () =>
    Effect.gen(function* () {
      const input = [
        s(a, "running"),
        s(a, "running"),
        s(b, "running"),
        s(a, "failed"),
        s(a, "running"),
        s(b, "running")
      ]
      assert.deepStrictEqual(yield* through(input, MeshStream.statusChanges), [input[0], input[2], input[3], input[4]])
    })
  )

  it.effect("an update that arrives after a newer one of its task is no change", () =>
    Effect.gen(function* () {
      const done = updated(a, { version: 2, status: "done" })
      const input = [done, updated(a, { version: 1, status: "running" }), updated(a, { version: 3, status: "done" })]
      assert.deepStrictEqual(yield* through(input, MeshStream.statusChanges), [done])
      const again = updated(a, { status: "running" })
      assert.deepStrictEqual(yield* through([done, again], MeshStream.statusChanges), [done, again])
    })
  )

  it.effect("reports the status of a restored server from its third update on", () =>
    Effect.gen(function* () {
      const input = [9, 1, 2, 3].map((version) => updated(a, { version, status: `at ${version}` }))
      const [first, ...rest] = input
      assert.deepStrictEqual(yield* through([first ?? serverError, resync(), ...rest], MeshStream.statusChanges), [
        input[0],
        input[3]
      ])
    })
  )

  it.effect("drops updates without a status, and they do not count as a change", () =>
    Effect.gen(function* () {
      const input = [s(a, "running"), updated(a), v(a, 2), s(a, "running")]
      assert.deepStrictEqual(yield* through(input, MeshStream.statusChanges), [input[0]])
    })
  )

  it.effect("a status that is the same after a gap as before it does not pass again", () =>
    Effect.gen(function* () {
      const gap = [disconnected(), connected(2), resync(undefined, 2), resync(a)]
      const input = [s(a, "failed"), ...gap, s(a, "failed")]
      assert.deepStrictEqual(yield* through(input, MeshStream.statusChanges), [input[0]])
      assert.deepStrictEqual(yield* through(input, MeshStream.statusChanges({ keep: "resync" })), [
        input[0],
        resync(undefined, 2),
        resync(a)
      ])
    })
  )

  it.effect("remembers maxTasks tasks, and forgets the one that was updated longest ago", () =>
    Effect.gen(function* () {
      const two = MeshStream.statusChanges({ maxTasks: 2 })
      // An update that repeats a's status keeps a in memory.
      const input = [s(a, "x"), s(b, "x"), s(a, "x"), s(c, "x")]
      assert.deepStrictEqual(yield* through([...input, s(a, "x")], two), [s(a, "x"), s(b, "x"), s(c, "x")])
      assert.deepStrictEqual(yield* through([...input, s(b, "x")], two), [s(a, "x"), s(b, "x"), s(c, "x"), s(b, "x")])
    })
  )

  it.effect.prop("is idempotent, and no status of a task follows itself", [events], ([drawn]) =>
    Effect.gen(function* () {
      const events = drawn.map(withoutVersion)
      const once = yield* through(events, MeshStream.statusChanges)
      assert.deepStrictEqual(yield* through(once, MeshStream.statusChanges), once)
      for (const task of [a, b, c]) {
        const said = events.flatMap((event) =>
          event._tag === "TaskUpdated" && event.taskId === task && event.status !== undefined ? [event.status] : []
        )
        assert.deepStrictEqual(
          once.filter((event) => event.taskId === task).map((event) => event.status),
          said.filter((status, i) => status !== said[i - 1])
        )
      }
    })
  )

  it.effect.prop("passes a Resync at any position and changes no other element", [events, place], ([events, place]) =>
    Effect.gen(function* () {
      const operator = MeshStream.statusChanges({ keep: "resync", restartAfter: Infinity })
      const index = at(place, events)
      const before = yield* through(events.slice(0, index), operator)
      const whole = yield* through(events, operator)
      for (const gap of [resync(), resync(a)]) {
        assert.deepStrictEqual(yield* through([...events.slice(0, index), gap, ...events.slice(index)], operator), [
          ...before,
          gap,
          ...whole.slice(before.length)
        ])
      }
    })
  )
})
