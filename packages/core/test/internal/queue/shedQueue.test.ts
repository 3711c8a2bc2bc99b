import { assert, describe, it } from "@effect/vitest"
import * as Arbitrary from "effect/Arbitrary"
import * as Schema from "effect/Schema"
import { DecodeError } from "../../../src/DecodeError.ts"
import * as ShedQueue from "../../../src/internal/queue/shedQueue.ts"
import type { MeshEvent, Resync } from "../../../src/MeshEvent.ts"
import { TaskId } from "../../../src/TaskId.ts"
import { history, piece, said, sizes, taskOf, updated } from "../../support/histories.ts"

const a = TaskId.make("a")
const b = TaskId.make("b")

const shedding = (capacity: number) => ShedQueue.make<MeshEvent>({ capacity, conflate: "whenFull", shed: "partials" })
const conflating = (capacity: number) => ShedQueue.make<MeshEvent>({ capacity, conflate: "always", shed: "nothing" })

const sheddingAnything = (capacity: number) =>
  ShedQueue.make<MeshEvent>({ capacity, conflate: "whenFull", shed: "anything" })

const overflow = (dropped: number, taskId?: TaskId, epoch = 0): Resync => ({
  _tag: "Resync",
  epoch,
  ...(taskId === undefined ? {} : { taskId }),
  reason: { _tag: "Overflow", dropped }
})

const offerAll = (queue: ShedQueue.ShedQueue<MeshEvent>, events: ReadonlyArray<MeshEvent>) =>
  events.map((event) => queue.offer(event))

const capacities = Arbitrary.schema(Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 12 })))

const isMark = (event: MeshEvent): boolean => event._tag === "Resync" && event.reason._tag === "Overflow"

const marked = (events: ReadonlyArray<MeshEvent>): number =>
  events.reduce(
    (sum, event) => (event._tag === "Resync" && event.reason._tag === "Overflow" ? sum + event.reason.dropped : sum),
    0
  )

/** Whether a slow consumer may lose an event. */
const isSheddable = (event: MeshEvent): boolean =>
  event._tag === "TaskUpdated" || (event._tag === "TaskOutput" && event.isPartial === true)

interface Run {
  readonly taken: ReadonlyArray<MeshEvent>
  readonly queue: ShedQueue.ShedQueue<MeshEvent>
  readonly sizes: ReadonlyArray<number>
}

/** Offers a history to a consumer that takes after every so many offers, and whenever it must. */
const run = (
  queue: ShedQueue.ShedQueue<MeshEvent>,
  events: ReadonlyArray<MeshEvent>,
  pauses: ReadonlyArray<number>
): Run => {
  const taken: Array<MeshEvent> = []
  const seen: Array<number> = []
  let pause = 0
  let left = pauses[0] ?? 1
  for (const event of events) {
    while (queue.offer(event) === false) taken.push(...queue.takeAll())
    seen.push(queue.size)
    if (--left === 0) {
      taken.push(...queue.takeAll())
      left = (pauses[++pause % pauses.length] ?? 1) * 3
    }
  }
  taken.push(...queue.takeAll())
  return { taken, queue, sizes: seen }
}

const suite = (name: string, make: (capacity: number) => ShedQueue.ShedQueue<MeshEvent>, shedsPartials: boolean) =>
  describe(`${name}, whatever comes and however slowly it is taken`, () => {
    const inputs = [history, sizes, capacities] as const

    it.prop("never holds more than its capacity", [...inputs], ([events, pauses, capacity]) => {
      const { queue, sizes } = run(make(capacity), events, pauses)
      assert.isAtMost(Math.max(0, ...sizes), capacity)
      assert.strictEqual(queue.size, 0)
    })

    it.prop(
      "loses nothing but updates and partial outputs, and keeps the order",
      [...inputs],
      ([events, pauses, capacity]) => {
        const { taken } = run(make(capacity), events, pauses)
        const kept = (event: MeshEvent) => !(shedsPartials ? isSheddable(event) : event._tag === "TaskUpdated")
        assert.deepStrictEqual(
          taken.filter((event) => !isMark(event) && kept(event)),
          events.filter(kept)
        )
      }
    )

    it.prop("counts exactly what it lost", [...inputs], ([events, pauses, capacity]) => {
      const { taken, queue } = run(make(capacity), events, pauses)
      const events_ = taken.filter((event) => !isMark(event))
      assert.strictEqual(queue.lost, marked(taken))
      assert.strictEqual(events_.length + marked(taken), events.length)
    })

    it.prop(
      "returns each task's newest update, with every member that was known",
      [...inputs],
      ([events, pauses, capacity]) => {
        const { taken } = run(make(capacity), events, pauses)
        const known = (list: ReadonlyArray<MeshEvent>) => {
          const byTask = new Map<TaskId, { status?: string; version?: number; fields: Set<string> }>()
          for (const event of list) {
            if (event._tag !== "TaskUpdated") continue
            const entry = byTask.get(event.taskId) ?? { fields: new Set<string>() }
            if (event.status !== undefined) entry.status = event.status
            if (event.version !== undefined) entry.version = event.version
            for (const field of event.updatedFields ?? []) entry.fields.add(field)
            byTask.set(event.taskId, entry)
          }
          return byTask
        }
        assert.deepStrictEqual(known(taken), known(events))
      }
    )

    it.prop("never lets an update overtake an output of its task", [...inputs], ([events, pauses, capacity]) => {
      const { taken } = run(make(capacity), events, pauses)
      const place = new Map(events.map((event, index) => [event, index]))
      const isWhole = (event: MeshEvent) => event._tag === "TaskOutput" && event.isPartial !== true
      const versionAt = new Map<string, number>()
      for (const event of events) {
        if (event._tag === "TaskUpdated" && event.version !== undefined) {
          versionAt.set(`${event.taskId} ${event.version}`, place.get(event) ?? -1)
        }
      }
      let updates = -1
      for (const event of taken) {
        if (event._tag === "TaskUpdated" && event.version !== undefined) {
          updates = versionAt.get(`${event.taskId} ${event.version}`) ?? -1
          const later = taken.slice(taken.indexOf(event) + 1).filter(isWhole)
          for (const output of later) assert.isAbove(place.get(output) ?? -1, updates)
        }
      }
    })

    it.prop(
      "puts a mark only where something is missing, one at a place",
      [...inputs],
      ([events, pauses, capacity]) => {
        const { taken } = run(make(capacity), events, pauses)
        // Against the history without its own gaps, so that every Overflow is one of the queue's.
        for (const [index, event] of taken.entries()) {
          if (event._tag !== "Resync" || event.reason._tag !== "Overflow") continue
          assert.isAbove(event.reason.dropped, 0)
          const taskId = taskOf(event)
          if (taskId !== undefined) assert.include(events.map(taskOf), taskId)
          const before = taken.slice(0, index).findLast((other) => other._tag === "Connected")
          assert.strictEqual(event.epoch, before?._tag === "Connected" ? before.epoch : 0)
        }
      }
    )
  })

suite("a queue that sheds", shedding, true)
suite("a queue that conflates", conflating, false)

describe("a queue that sheds", () => {
  it("leaves everything alone while there is room", () => {
    const queue = shedding(5)
    const events = [updated(a, "running"), piece(a, "1"), updated(a, "paused"), piece(a, "2"), updated(a, "done")]
    assert.deepStrictEqual(offerAll(queue, events), Array(5).fill(true))
    assert.deepStrictEqual(queue.takeAll(), events)
  })

  it("conflates before it sheds, oldest first, and marks the place", () => {
    const queue = shedding(4)
    offerAll(queue, [updated(a, "running", 1), piece(a, "1"), updated(a, "paused", 2), updated(b, "running")])
    queue.offer(said(a, "whole"))
    assert.deepStrictEqual(queue.takeAll(), [
      overflow(1, a),
      piece(a, "1"),
      updated(a, "paused", 2),
      updated(b, "running"),
      said(a, "whole")
    ])
  })

  it("conflates what is held into an update that comes when there is no room", () => {
    const queue = shedding(2)
    offerAll(queue, [updated(a, "running", 1), said(a, "whole"), updated(a, "done", 2)])
    assert.deepStrictEqual(queue.takeAll(), [overflow(1, a), said(a, "whole"), updated(a, "done", 2)])
  })

  it("sheds the oldest partial output when nothing can be conflated", () => {
    const queue = shedding(3)
    offerAll(queue, [piece(a, "1"), said(a, "whole"), piece(a, "2"), said(b, "whole")])
    assert.deepStrictEqual(queue.takeAll(), [overflow(1, a), said(a, "whole"), piece(a, "2"), said(b, "whole")])
  })

  it("sheds a partial output that comes when there is no room for it", () => {
    const queue = shedding(1)
    offerAll(queue, [said(a, "whole"), piece(a, "1"), piece(b, "2")])
    assert.strictEqual(queue.lost, 2)
    assert.deepStrictEqual(queue.takeAll(), [said(a, "whole"), overflow(2)])
  })

  it("is full, and unchanged, when nothing may be given up", () => {
    const queue = shedding(2)
    const held: ReadonlyArray<MeshEvent> = [said(a, "whole"), { _tag: "Connected", epoch: 1, at: 0 }]
    offerAll(queue, held)
    for (const event of [said(a, "more"), updated(a, "done"), ...held]) {
      assert.strictEqual(queue.offer(event), false)
    }
    assert.deepStrictEqual(queue.takeAll(), held)
    assert.strictEqual(queue.offer(said(a, "more")), true)
  })

  it("joins marks that touch, and names the task where there is only one", () => {
    const queue = shedding(3)
    offerAll(queue, [piece(a, "1"), piece(a, "2"), piece(b, "3")])
    offerAll(queue, [said(a, "x"), said(a, "y")])
    assert.deepStrictEqual(queue.takeAll(), [overflow(2, a), piece(b, "3"), said(a, "x"), said(a, "y")])
    offerAll(queue, [piece(a, "1"), piece(b, "2"), said(b, "w"), said(a, "x"), said(a, "y")])
    assert.deepStrictEqual(queue.takeAll(), [overflow(2), said(b, "w"), said(a, "x"), said(a, "y")])
  })

  it("keeps the losses of two connections apart", () => {
    const queue = shedding(4)
    queue.epoch = 1
    const connected: MeshEvent = { _tag: "Connected", epoch: 2, at: 1 }
    offerAll(queue, [piece(a, "1"), connected, piece(a, "2"), said(a, "x")])
    offerAll(queue, [said(a, "y"), said(a, "z")])
    assert.deepStrictEqual(queue.takeAll(), [
      overflow(1, a, 1),
      connected,
      overflow(1, a, 2),
      said(a, "x"),
      said(a, "y"),
      said(a, "z")
    ])
  })
})

describe("a queue that conflates", () => {
  it("keeps only the newest update of a task, in its own place", () => {
    const queue = conflating(10)
    offerAll(queue, [updated(a, "running", 1), updated(b, "running", 1), said(a, "whole"), updated(a, "done", 2)])
    assert.deepStrictEqual(queue.takeAll(), [
      overflow(1, a),
      updated(b, "running", 1),
      said(a, "whole"),
      updated(a, "done", 2)
    ])
  })

  it("never sheds an output, partial or not", () => {
    const queue = conflating(2)
    assert.deepStrictEqual(offerAll(queue, [piece(a, "1"), piece(a, "2"), piece(a, "3")]), [true, true, false])
  })

  it("finds room for a newer update where there is none", () => {
    const queue = conflating(2)
    assert.deepStrictEqual(offerAll(queue, [updated(a, "running"), said(a, "x"), updated(a, "done")]), [
      true,
      true,
      true
    ])
  })

  it("starts anew after everything was taken", () => {
    const queue = conflating(2)
    queue.offer(updated(a, "running"))
    queue.takeAll()
    queue.offer(updated(a, "done"))
    assert.deepStrictEqual(queue.takeAll(), [updated(a, "done")])
  })
})

describe("a queue that sheds anything", () => {
  it.prop(
    "never refuses an event, stays within its capacity, and counts exactly what it lost",
    [history, sizes, capacities],
    ([events, pauses, capacity]) => {
      const queue = sheddingAnything(capacity)
      const taken: Array<MeshEvent> = []
      let pause = 0
      let left = pauses[0] ?? 1
      for (const event of events) {
        assert.strictEqual(queue.offer(event), true)
        assert.isAtMost(queue.size, capacity)
        if (--left > 0) continue
        taken.push(...queue.takeAll())
        left = (pauses[++pause % pauses.length] ?? 1) * 3
      }
      taken.push(...queue.takeAll())
      const countOf = (list: ReadonlyArray<MeshEvent>) => list.filter(({ _tag }) => _tag !== "Resync").length
      assert.strictEqual(countOf(taken) + marked(taken), countOf(events))
      assert.strictEqual(queue.lost, marked(taken))
    }
  )

  it("loses whole outputs before updates, and updates before lifecycle elements, the oldest first", () => {
    const connected: MeshEvent = { _tag: "Connected", epoch: 1, at: 0 }
    const queue = sheddingAnything(3)
    offerAll(queue, [connected, updated(a, "running", 1), said(a, "x"), said(a, "y")])
    assert.deepStrictEqual(queue.takeAll(), [
      connected,
      updated(a, "running", 1),
      { ...overflow(1, a, 1) },
      said(a, "y")
    ])
    offerAll(queue, [connected, updated(a, "running", 1), updated(b, "running", 1), said(b, "x")])
    assert.deepStrictEqual(queue.takeAll(), [
      connected,
      updated(a, "running", 1),
      updated(b, "running", 1),
      overflow(1, b, 1)
    ])
    const c = TaskId.make("c")
    offerAll(queue, [connected, updated(a, "running", 1), updated(b, "running", 1), updated(c, "running", 1)])
    assert.deepStrictEqual(queue.takeAll(), [
      connected,
      overflow(1, a, 1),
      updated(b, "running", 1),
      updated(c, "running", 1)
    ])
    const second: MeshEvent = { _tag: "Connected", epoch: 2, at: 0 }
    offerAll(queue, [connected, second, connected, second])
    assert.deepStrictEqual(queue.takeAll(), [overflow(1, undefined, 1), second, connected, second])
  })

  it("does not displace a whole output for a partial one", () => {
    const queue = sheddingAnything(1)
    offerAll(queue, [said(a, "x"), piece(a, "1")])
    assert.deepStrictEqual(queue.takeAll(), [said(a, "x"), overflow(1, a)])
  })
})

/** A history in which every second update of a task arrives before an older one, and each has a version. */
const lateHistory = Arbitrary.map(history, (events) =>
  events.flatMap((event): ReadonlyArray<MeshEvent> => {
    if (event._tag !== "TaskUpdated") return [event]
    return event.version === undefined ? [] : [{ ...event, version: event.version ^ 1 }]
  })
)

describe("the place of what is lost", () => {
  for (const [name, make] of [
    ["sheds", shedding],
    ["conflates", conflating],
    ["sheds anything", sheddingAnything]
  ] as const) {
    it.prop(
      `is marked exactly by a queue that ${name}, also where late older updates arrive`,
      [lateHistory, sizes, capacities],
      ([events, pauses, capacity]) => {
        const { taken } = run(make(capacity), events, pauses)
        const counted = events.filter(({ _tag }) => _tag !== "Resync")
        let place = 0
        for (const event of taken) {
          if (event._tag !== "Resync") {
            const there = counted[place++]
            assert.strictEqual(there?._tag, event._tag)
            if (event._tag === "TaskUpdated" && there?._tag === "TaskUpdated") {
              assert.deepStrictEqual([there.taskId, there.version], [event.taskId, event.version])
            } else {
              assert.strictEqual(there, event)
            }
          } else if (event.reason._tag === "Overflow") {
            place += event.reason.dropped
          }
        }
        assert.strictEqual(place, counted.length)
      }
    )
  }

  it("is that of a late older update, and not that of the newer one", () => {
    const newer = updated(a, "done", 3)
    const late = updated(a, "running", 2)
    const always = conflating(5)
    offerAll(always, [newer, said(a, "x"), late])
    assert.deepStrictEqual(always.takeAll(), [newer, said(a, "x"), overflow(1, a)])
    // Without room, and when another event needs room later.
    const full = shedding(2)
    offerAll(full, [newer, said(a, "x"), late])
    assert.deepStrictEqual(full.takeAll(), [newer, said(a, "x"), overflow(1, a)])
    const queue = shedding(3)
    offerAll(queue, [newer, said(a, "x"), late, said(a, "y")])
    assert.deepStrictEqual(queue.takeAll(), [newer, said(a, "x"), overflow(1, a), said(a, "y")])
  })

  it("is marked without a count for a mark, and with the count of a mark that it replaces", () => {
    const mark: Resync = { _tag: "Resync", epoch: 1, reason: { _tag: "JoinedLate" } }
    const queue = sheddingAnything(1)
    offerAll(queue, [mark, mark])
    assert.deepStrictEqual(queue.takeAll(), [overflow(0, undefined, 1), mark])
    offerAll(queue, [overflow(4, a, 1), mark])
    assert.deepStrictEqual(queue.takeAll(), [overflow(4, a, 1), mark])
    const error = new DecodeError({ problem: "InvalidMessage", path: [], expected: "", size: 0 })
    offerAll(queue, [{ ...mark, reason: { _tag: "BadFrame", error } }, mark])
    assert.deepStrictEqual(queue.takeAll(), [overflow(1, undefined, 1), mark])
  })
})

describe("merging updates", () => {
  it("keeps the members and the version of the higher version, whichever arrives first", () => {
    for (const make of [shedding(1), sheddingAnything(1), conflating(1)]) {
      offerAll(make, [updated(a, "pending", 1), updated(a, "done", 3), updated(a, "running", 2)])
      assert.deepStrictEqual(make.takeAll(), [overflow(1, a), updated(a, "done", 3), overflow(1, a)])
    }
  })

  it("takes an update without a version for the newer one", () => {
    assert.deepStrictEqual(
      ShedQueue.mergeUpdates(updated(a, "done", 3), updated(a, "running")),
      updated(a, "running", 3)
    )
  })

  it("keeps the newest of each member, and every changed field once", () => {
    assert.deepStrictEqual(
      ShedQueue.mergeUpdates(
        { ...updated(a, "running", 1), updatedBy: "x", updatedFields: ["status", "title"] },
        { _tag: "TaskUpdated", taskId: a, version: 2, updatedFields: ["progress", "title"] }
      ),
      { ...updated(a, "running", 2), updatedBy: "x", updatedFields: ["status", "title", "progress"] }
    )
  })

  it("keeps the changed fields that only one of them names", () => {
    const named = { ...updated(a, "running"), updatedFields: ["status"] }
    assert.deepStrictEqual(ShedQueue.mergeUpdates(named, updated(a, "done")).updatedFields, ["status"])
    assert.deepStrictEqual(ShedQueue.mergeUpdates(updated(a, "done"), named).updatedFields, ["status"])
  })
})
