import { assert, describe, it } from "@effect/vitest"
import * as MeshEvent from "@makima-stream/core/MeshEvent"
import * as MeshStream from "@makima-stream/core/MeshStream"
import * as TaskStatus from "@makima-stream/core/TaskStatus"
import type * as TaskId from "@makima-stream/core/TaskId"
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
  output,
  place,
  resync,
  serverError,
  through,
  unknownMessage,
  updated
} from "../support/events.ts"
import { assertSame } from "../support/assertSame.ts"

const one: ReadonlyArray<MeshEvent.MeshEvent> = [
  connected(),
  updated(a, { version: 1, status: "running" }),
  output(a, "hello"),
  updated(b, { version: 1, status: "failed", updatedFields: ["status"] }),
  output(b, "bye", { messageType: "result" }),
  serverError,
  unknownMessage,
  disconnected(),
  resync(),
  resync(a),
  updated(b, { version: 2 })
]

type Filter = (self: Stream.Stream<MeshEvent.MeshEvent>) => Stream.Stream<MeshEvent.MeshEvent>

const filters: Record<string, Filter> = {
  outputOnly: MeshStream.outputOnly,
  "outputOnly with Resync": MeshStream.outputOnly({ keep: "resync" }),
  updatesOnly: MeshStream.updatesOnly,
  "updatesOnly with Resync": MeshStream.updatesOnly({ keep: "resync" }),
  serverErrors: MeshStream.serverErrors,
  dataOnly: MeshStream.dataOnly,
  "dataOnly with Resync": MeshStream.dataOnly({ keep: "resync" }),
  lifecycleOnly: MeshStream.lifecycleOnly,
  "filterTask of one": MeshStream.filterTask(a),
  "filterTask of two": MeshStream.filterTask([a, b]),
  "filterTask by predicate": MeshStream.filterTask((id) => id !== a),
  filterStatus: MeshStream.filterStatus(["running", "failed"]),
  "filterStatus with Resync": MeshStream.filterStatus("failed", { keep: "resync" }),
  filterMessageType: MeshStream.filterMessageType("assistant"),
  "filterMessageType with Resync": MeshStream.filterMessageType(["assistant", "result"], { keep: "resync" }),
  fieldsChanged: MeshStream.fieldsChanged("plan"),
  "fieldsChanged with all that may have": MeshStream.fieldsChanged(["plan", "name"], {
    keep: "resync",
    keepUnspecified: true
  })
}

/** Fewer than the default, because every filter has every law. */
const runs = { arbitrary: { runs: 40 } }

/** The tags of the elements that pass a filter. */
const tags = (filter: Filter) => Effect.map(through(one, filter), (events) => events.map((event) => event._tag))

describe("narrowing to a kind of event", () => {
  it.effect("passes only output with outputOnly", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* through(one, MeshStream.outputOnly), [one[2], one[4]])
    })
  )

  it.effect("passes only updates with updatesOnly", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* through(one, MeshStream.updatesOnly), [one[1], one[3], one[10]])
    })
  )

  it.effect("passes only the server's errors with serverErrors", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* through(one, MeshStream.serverErrors), [serverError])
    })
  )

  it.effect("dataOnly drops the lifecycle, lifecycleOnly drops the rest, and together they are all", () =>
    Effect.gen(function* () {
      const data = yield* through(one, MeshStream.dataOnly)
      const lifecycle = yield* through(one, MeshStream.lifecycleOnly)
      assert.deepStrictEqual(lifecycle, [one[0], one[7], one[8], one[9]])
      assert.deepStrictEqual(
        data,
        one.filter((event) => !MeshEvent.isLifecycle(event))
      )
      assert.strictEqual(data.length + lifecycle.length, one.length)
    })
  )

  it.effect('`keep: "resync"` keeps every Resync where it stood, and no other lifecycle event', () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* tags(MeshStream.outputOnly({ keep: "resync" })), [
        "TaskOutput",
        "TaskOutput",
        "Resync",
        "Resync"
      ])
      assert.deepStrictEqual(yield* tags(MeshStream.dataOnly({ keep: "resync" })), [
        "TaskUpdated",
        "TaskOutput",
        "TaskUpdated",
        "TaskOutput",
        "ServerError",
        "UnknownMessage",
        "Resync",
        "Resync",
        "TaskUpdated"
      ])
      assert.deepStrictEqual(yield* tags(MeshStream.serverErrors({ keep: "resync" })), [
        "ServerError",
        "Resync",
        "Resync"
      ])
    })
  )

  it.effect('`keep: "lifecycle"` keeps every lifecycle element where it stood', () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* through(one, MeshStream.dataOnly({ keep: "lifecycle" })), one)
      assert.deepStrictEqual(
        yield* through(one, MeshStream.filterStatus("no such status", { keep: "lifecycle" })),
        one.filter(MeshEvent.isLifecycle)
      )
    })
  )

  it("refuses a `keep` that it does not know", () => {
    // A program in JavaScript can pass anything.
    const keep = "all" as "resync"
    assert.throws(() => MeshStream.dataOnly(Stream.fromArray(one), { keep }), /"keep" must be "resync" or "lifecycle"/)
  })

  it.effect("bare, called, and data-first are the same operator", () =>
    Effect.gen(function* () {
      const feed = Stream.fromArray(one)
      const bare = yield* Stream.runCollect(feed.pipe(MeshStream.updatesOnly))
      assert.strictEqual(bare.length, 3)
      assert.deepStrictEqual(yield* Stream.runCollect(feed.pipe(MeshStream.updatesOnly())), bare)
      assert.deepStrictEqual(yield* Stream.runCollect(feed.pipe(MeshStream.updatesOnly({ keep: undefined }))), bare)
      assert.deepStrictEqual(yield* Stream.runCollect(MeshStream.updatesOnly(feed)), bare)
      assert.deepStrictEqual(
        yield* Stream.runCollect(MeshStream.updatesOnly(feed, { keep: "resync" })),
        yield* Stream.runCollect(feed.pipe(MeshStream.updatesOnly({ keep: "resync" })))
      )
    })
  )
})

describe("filterTask", () => {
  it.effect("keeps the data of the task and drops every lifecycle element by default", () =>
    Effect.gen(function* () {
      const kept = yield* through([...one, resync(a)], MeshStream.filterTask(a))
      assert.deepStrictEqual(kept, [one[1], one[2]])
    })
  )

  it.effect('`keep: "resync"` keeps a Resync of the task, and one of every task, but not one of another task', () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(
        yield* through(
          [connected(), resync(), updated(a), resync(a), resync(b), disconnected()],
          MeshStream.filterTask(a, { keep: "resync" })
        ),
        [resync(), updated(a), resync(a)]
      )
    })
  )

  it.effect('`keep: "lifecycle"` keeps the connection\'s elements, data-first too', () =>
    Effect.gen(function* () {
      const feed = Stream.make(connected(), resync(), updated(b), resync(b), disconnected())
      assert.deepStrictEqual(yield* Stream.runCollect(MeshStream.filterTask(feed, a, { keep: "lifecycle" })), [
        connected(),
        resync(),
        disconnected()
      ])
    })
  )

  it.effect("drops the server's errors and unknown messages, which name no task", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(
        yield* through(
          [serverError, unknownMessage],
          MeshStream.filterTask(() => true)
        ),
        []
      )
    })
  )

  it.effect("accepts several ids, even from an iterable that can be read only once, for any number of runs", () =>
    Effect.gen(function* () {
      const filtered = MeshStream.filterTask(Stream.make(updated(a), updated(c), updated(b)), [a, b].values())
      assert.deepStrictEqual(yield* Stream.runCollect(filtered), [updated(a), updated(b)])
      assert.deepStrictEqual(yield* Stream.runCollect(filtered), [updated(a), updated(b)])
    })
  )

  it.effect("calls a predicate with the id of each element, and with no other argument", () =>
    Effect.gen(function* () {
      const asked: Array<ReadonlyArray<unknown>> = []
      const filter = MeshStream.filterTask((...args: [TaskId.TaskId]) => {
        asked.push(args)
        return args[0] === b
      })
      assert.deepStrictEqual(yield* through([updated(a), connected(), output(b, "")], filter), [output(b, "")])
      assert.deepStrictEqual(asked, [[a], [b]])
    })
  )

  it.effect("filters the elements of other operators", () =>
    Effect.gen(function* () {
      const lines = yield* through([output(a, "one"), output(b, "two")], (feed) =>
        feed.pipe(MeshStream.lines, MeshStream.filterTask(b))
      )
      assert.deepStrictEqual(
        lines.map((line) => line.text),
        ["two"]
      )
    })
  )
})

describe("filterStatus", () => {
  it.effect("accepts one status, several, or a predicate", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* through(one, MeshStream.filterStatus("failed")), [one[3]])
      assert.deepStrictEqual(yield* through(one, MeshStream.filterStatus(["running", "failed"])), [one[1], one[3]])
      assert.deepStrictEqual(yield* through(one, MeshStream.filterStatus(TaskStatus.isTerminal)), [one[3]])
      assert.deepStrictEqual(
        yield* Stream.runCollect(MeshStream.filterStatus(Stream.fromArray(one), "running", { keep: "resync" })),
        [one[1], one[8], one[9]]
      )
    })
  )

  it.effect("never lets an update without a status through", () =>
    Effect.gen(function* () {
      const all = yield* through(
        one,
        MeshStream.filterStatus(() => true)
      )
      assert.deepStrictEqual(all, [one[1], one[3]])
    })
  )
})

describe("filterMessageType", () => {
  it.effect("accepts one type, several, or a predicate, and unknown types", () =>
    Effect.gen(function* () {
      const input = [...one, output(c, "?", { messageType: "novel" })]
      assert.deepStrictEqual(yield* through(input, MeshStream.filterMessageType("result")), [one[4]])
      assert.deepStrictEqual(yield* through(input, MeshStream.filterMessageType(["assistant", "result"])), [
        one[2],
        one[4]
      ])
      assert.deepStrictEqual(
        yield* through(
          input,
          MeshStream.filterMessageType((type) => type === "novel")
        ),
        [input[11]]
      )
    })
  )
})

describe("fieldsChanged", () => {
  const named = updated(a, { updatedFields: ["name", "plan"] })
  const other = updated(a, { updatedFields: ["status"] })
  const none = updated(a, { updatedFields: [] })
  const silent = updated(a, { version: 7 })
  const input = [named, other, none, silent, output(a, "plan"), resync()]

  it.effect("keeps the updates that changed any of the fields", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* through(input, MeshStream.fieldsChanged("plan")), [named])
      assert.deepStrictEqual(yield* through(input, MeshStream.fieldsChanged(["status", "plan"])), [named, other])
      assert.deepStrictEqual(
        yield* through(
          input,
          MeshStream.fieldsChanged((field) => field.startsWith("st"))
        ),
        [other]
      )
    })
  )

  it.effect("drops an update that does not say what it changed, unless the option keeps it", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(
        yield* through(
          input,
          MeshStream.fieldsChanged(() => true)
        ),
        [named, other]
      )
      assert.deepStrictEqual(
        yield* through(input, MeshStream.fieldsChanged("plan", { keepUnspecified: true, keep: "resync" })),
        [named, silent, resync()]
      )
    })
  )
})

describe("laws of filters", () => {
  for (const [index, [name, filter]] of Object.entries(filters).entries()) {
    it.effect.prop(
      `${name} is idempotent`,
      [events],
      ([events]) =>
        Effect.gen(function* () {
          const once = yield* through(events, filter)
          assertSame(yield* through(once, filter), once)
        }),
      runs
    )

    it.effect.prop(
      `${name} commutes with every filter after it in the list`,
      [events],
      ([events]) =>
        Effect.gen(function* () {
          // The law is the same in both directions.
          for (const other of Object.values(filters).slice(index + 1)) {
            assertSame(
              yield* through(events, (feed) => other(filter(feed))),
              yield* through(events, (feed) => filter(other(feed)))
            )
          }
        }),
      runs
    )

    it.effect.prop(
      `${name} keeps or drops a Resync at any position, and what is around it is the same`,
      [events, place],
      ([events, place]) =>
        Effect.gen(function* () {
          const middle = at(place, events)
          const before = events.slice(0, middle)
          const after = events.slice(middle)
          for (const gap of [resync(), resync(a), resync(b)]) {
            assertSame(yield* through([...before, gap, ...after], filter), [
              ...(yield* through(before, filter)),
              ...(yield* through([gap], filter)),
              ...(yield* through(after, filter))
            ])
          }
        }),
      runs
    )
  }
})
