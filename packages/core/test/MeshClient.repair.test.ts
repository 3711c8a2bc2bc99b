import { assert, describe } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import * as Schedule from "effect/Schedule"
import * as TestClock from "effect/testing/TestClock"
import type * as MeshClient from "../src/MeshClient.ts"
import type { MeshEvent } from "../src/MeshEvent.ts"
import * as MeshStream from "../src/MeshStream.ts"
import * as Repair from "../src/Repair.ts"
import { TaskId } from "../src/TaskId.ts"
import { a, b, data, reasonOf, requests, said, setup, stalled, updated } from "./support/client.ts"
import { follow, settle } from "./support/follow.ts"
import { itLeavesNothing } from "./support/leaves.ts"

/** What a repair says, one line each, and the other tags. */
const shown = (events: ReadonlyArray<MeshEvent>): ReadonlyArray<string> =>
  events.map((event) => {
    switch (event._tag) {
      case "Restated":
        return `restated ${event.taskId} ${event.version} ${event.gone === true ? "gone" : event.status}`
      case "Repaired":
        return `Repaired ${event.reasons.join(", ")}${event.open === 0 ? "" : ` (${event.open} open)`}`
      case "Resync":
        return event.reason._tag
      default:
        return data([event])[0] ?? event._tag
    }
  })

const task = (taskId: TaskId, version: number, status = "running"): Repair.TaskSnapshot => ({
  taskId,
  version,
  status
})

/** A client with a repair, whose snapshots a test gives. */
const repaired = Effect.fnUntraced(function* (
  options: Partial<Repair.Options> = {},
  client: Omit<Parameters<typeof setup>[0] & {}, "repair"> = {}
) {
  const answers = yield* Queue.unbounded<ReadonlyArray<Repair.TaskSnapshot>>()
  const asked: Array<Repair.Ask> = []
  const fetch = (ask: Repair.Ask) => {
    asked.push(ask)
    return Queue.take(answers)
  }
  const repair = Repair.make({ fetch, spread: 0, minInterval: 0, ...options })
  const parts = yield* setup({ ...client, repair })
  return {
    ...parts,
    asked,
    answer: (...snapshot: ReadonlyArray<Repair.TaskSnapshot>) => Effect.andThen(Queue.offer(answers, snapshot), settle)
  }
})

/** Loses the connection, and waits until the next one has its mark. */
const cut = (mesh: Effect.Success<ReturnType<typeof repaired>>["mesh"]) =>
  mesh.kill().pipe(Effect.andThen(settle), Effect.andThen(TestClock.adjust("2 seconds")), Effect.andThen(settle))

describe("MeshClient with a repair", () => {
  itLeavesNothing("fetches once for all consumers, and gives each what concerns its tasks", () =>
    Effect.gen(function* () {
      const { answer, asked, client, mesh } = yield* repaired()
      const all = yield* follow(client.updates())
      const one = yield* follow(client.task(a))
      const output = yield* follow(client.output(a))
      yield* settle
      yield* mesh.emit(updated(1, a), updated(1, b))
      yield* settle
      assert.deepStrictEqual(asked, [{ _tag: "All" }])
      yield* answer(task(a, 3, "done"), task(b, 2, "failed"))
      assert.deepStrictEqual(shown(all.events).slice(-3), [
        "restated a 3 done",
        "restated b 2 failed",
        "Repaired Started"
      ])
      assert.deepStrictEqual(shown(one.events).slice(-2), ["restated a 3 done", "Repaired Started"])
      assert.deepStrictEqual(shown(output.events).slice(-1), ["Repaired Started"])
      yield* cut(mesh)
      yield* answer(task(a, 3, "done"), task(b, 4, "done"))
      assert.strictEqual(asked.length, 2)
      assert.deepStrictEqual(shown(all.events).slice(-3), ["Reconnected", "restated b 4 done", "Repaired Reconnected"])
      assert.deepStrictEqual(shown(one.events).slice(-2), ["Reconnected", "Repaired Reconnected"])
    })
  )

  itLeavesNothing("says nothing twice to a consumer that was there from the start", () =>
    Effect.gen(function* () {
      const { client, mesh } = yield* repaired({ fetch: () => Effect.succeed([task(a, 4)]) })
      const one = yield* follow(client.updates())
      yield* settle
      yield* cut(mesh)
      assert.deepStrictEqual(shown(one.events), [
        "Connected",
        "Started",
        "restated a 4 running",
        "Repaired Started",
        "Disconnected",
        "Connected",
        "Reconnected",
        "Repaired Reconnected"
      ])
    })
  )

  itLeavesNothing("tells a late consumer what it knows, at its mark and without a fetch", () =>
    Effect.gen(function* () {
      const { answer, asked, client, mesh } = yield* repaired()
      const early = yield* follow(client.updates())
      yield* settle
      yield* mesh.emit(updated(1, a))
      yield* answer(task(b, 7, "done"))
      yield* mesh.emit(updated(2, a, "paused"))
      yield* settle
      const late = yield* follow(client.updates())
      const one = yield* follow(client.updates(b))
      yield* settle
      assert.deepStrictEqual(shown(late.events), [
        "JoinedLate",
        "restated a 2 paused",
        "restated b 7 done",
        "Repaired JoinedLate"
      ])
      assert.deepStrictEqual(shown(one.events), ["JoinedLate", "restated b 7 done", "Repaired JoinedLate"])
      yield* mesh.emit(updated(3, a))
      yield* settle
      assert.deepStrictEqual(shown(late.events).slice(4), ["a 3"])
      assert.deepStrictEqual(shown(early.events).slice(-1), ["a 3"])
      assert.strictEqual(asked.length, 1)
    })
  )

  itLeavesNothing("claims no repair for a late consumer while a fetch runs, but tells it what it knows", () =>
    Effect.gen(function* () {
      const { answer, client, mesh } = yield* repaired()
      yield* follow(client.updates())
      yield* settle
      yield* mesh.emit(updated(1, a))
      yield* settle
      const late = yield* follow(client.updates())
      yield* settle
      assert.deepStrictEqual(shown(late.events), ["JoinedLate", "restated a 1 running"])
      yield* answer(task(b, 7, "done"))
      assert.deepStrictEqual(shown(late.events).slice(2), ["restated b 7 done", "Repaired Started"])
    })
  )

  itLeavesNothing("tells a consumer that joined without a connection what it knows, at the replay mark", () =>
    Effect.gen(function* () {
      const { answer, client, mesh } = yield* repaired()
      yield* follow(client.updates())
      yield* settle
      yield* answer(task(b, 7, "done"))
      yield* mesh.kill()
      yield* settle
      const offline = yield* follow(client.updates())
      const filtered = yield* follow(client.updates().pipe(MeshStream.updatesOnly))
      yield* TestClock.adjust("2 seconds")
      yield* settle
      assert.deepStrictEqual(shown(offline.events), ["Disconnected", "Connected", "Reconnected", "restated b 7 done"])
      assert.deepStrictEqual(shown(filtered.events), ["restated b 7 done"])
      yield* answer(task(b, 7, "done"))
      assert.deepStrictEqual(shown(offline.events).slice(4), ["Repaired Reconnected"])
    })
  )

  itLeavesNothing("tells a consumer what its full queue has lost", () =>
    Effect.gen(function* () {
      const { answer, client, mesh } = yield* repaired()
      const slow = yield* stalled(client.updates(undefined, { overflow: "sliding", capacity: 2 }))
      yield* settle
      yield* answer()
      yield* mesh.emit(updated(1, a), updated(1, b), updated(2, a), updated(2, b, "done"))
      yield* settle
      yield* slow.release
      yield* settle
      assert.deepStrictEqual(shown(slow.events).slice(-6), [
        "Overflow",
        "a 2",
        "b 2",
        "restated a 2 running",
        "restated b 2 done",
        "Repaired Overflow"
      ])
    })
  )

  itLeavesNothing("follows the output of a task that a snapshot finds at work, and stops when one ends it", () =>
    Effect.gen(function* () {
      const { answer, client, mesh } = yield* repaired({ complete: true })
      const all = yield* follow(client.everything({ endedTimeToLive: 0 }))
      yield* settle
      yield* answer(task(a, 4), task(b, 4, "done"))
      yield* settle
      assert.deepStrictEqual(yield* requests(mesh), ["SubscribeAll", "SubscribeOutput a"])
      yield* mesh.emit(said("hello", a))
      yield* settle
      assert.deepStrictEqual(shown(all.events).slice(-1), ["a: hello"])
      yield* cut(mesh)
      yield* answer(task(a, 5, "done"), task(b, 4, "done"))
      yield* TestClock.adjust("6 seconds")
      yield* settle
      assert.include(yield* requests(mesh, 2), "UnsubscribeOutput a")
    })
  )

  itLeavesNothing("gives up the output of a task that is gone", () =>
    Effect.gen(function* () {
      const { answer, client, mesh } = yield* repaired({ complete: true })
      yield* follow(client.everything({ endedTimeToLive: 0 }))
      yield* settle
      yield* answer(task(a, 4))
      yield* cut(mesh)
      yield* answer()
      yield* TestClock.adjust("6 seconds")
      yield* settle
      assert.include(yield* requests(mesh, 2), "UnsubscribeOutput a")
    })
  )

  itLeavesNothing("does not give up a silent task that a snapshot lists without an end", () =>
    Effect.gen(function* () {
      const { answer, client, mesh } = yield* repaired()
      yield* follow(client.everything({ staleAfter: "1 minute" }))
      yield* settle
      yield* answer(task(a, 4), task(b, 4))
      yield* cut(mesh)
      yield* answer(task(a, 4))
      yield* TestClock.adjust("2 minutes")
      yield* settle
      const last = yield* requests(mesh, 2)
      assert.include(last, "UnsubscribeOutput b")
      assert.notInclude(last, "UnsubscribeOutput a")
    })
  )

  itLeavesNothing("fails every stream if a repair must not fail", () =>
    Effect.gen(function* () {
      const { client } = yield* repaired({
        fetch: () => Effect.fail("down"),
        retry: Schedule.recurs(0),
        onFailure: "fail"
      })
      const one = yield* follow(client.updates())
      yield* settle
      assert.strictEqual(reasonOf(yield* one.exit), "SnapshotFailed")
      assert.deepStrictEqual(shown(one.events).slice(-1), ["RepairFailed"])
    })
  )

  itLeavesNothing("interrupts the fetch when the idle connection closes", () =>
    Effect.gen(function* () {
      let interrupted = 0
      const options: MeshClient.Options = { connectionIdleTimeToLive: 0, subscriptionIdleTimeToLive: 0 }
      const fetch = () => Effect.onInterrupt(Effect.never, () => Effect.sync(() => interrupted++))
      const { client } = yield* repaired({ fetch }, options)
      const one = yield* follow(client.updates())
      yield* settle
      one.fiber.interruptUnsafe()
      yield* settle
      yield* TestClock.adjust("1 second")
      assert.strictEqual(interrupted, 1)
    })
  )
})
