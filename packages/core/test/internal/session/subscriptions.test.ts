import { assert, describe, it } from "@effect/vitest"
import * as Arbitrary from "effect/Arbitrary"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as ClientMessage from "../../../src/ClientMessage.ts"
import * as Interest from "../../../src/Interest.ts"
import * as Subscriptions from "../../../src/internal/session/subscriptions.ts"
import type { Acknowledgement } from "../../../src/ServerMessage.ts"
import { TaskId } from "../../../src/TaskId.ts"

const a = TaskId.make("a")
const b = TaskId.make("b")

/** The requests of a table, decoded by their schema. */
const take = (
  table: Subscriptions.Subscriptions,
  now: number,
  limit?: number
): ReadonlyArray<ClientMessage.ClientMessage> =>
  table.take(now, limit).map((request) => Result.getOrThrow(ClientMessage.decodeFrame(JSON.stringify(request))))

const tags = (messages: ReadonlyArray<ClientMessage.ClientMessage>) =>
  messages.map((message) => ("taskId" in message ? `${message._tag} ${message.taskId}` : message._tag))

/** Makes every key of an interest wanted, or not. */
const want = (table: Subscriptions.Subscriptions, interest: Interest.Interest, wanted: boolean): void => {
  for (const key of table.keys(interest)) table.setWanted(key, wanted)
}

/** An interest with one key of it turned on or off. */
const turn = (
  interest: Interest.Interest,
  kind: "all" | "updates" | "output",
  taskId: TaskId | undefined,
  on: boolean
): Interest.Interest => {
  if (kind === "all" || taskId === undefined) return { ...interest, all: on }
  const ids = new Set(interest[kind])
  if (on) ids.add(taskId)
  else ids.delete(taskId)
  return { ...interest, [kind]: ids }
}

/** Whether the updates of a task are received. */
const covers = ({ all, updates }: Interest.Interest, taskId: TaskId): boolean => all || updates.has(taskId)

/** The server's acknowledgement, with or without the name of the task. */
const answer = (message: ClientMessage.ClientMessage, named = true): Acknowledgement => {
  switch (message._tag) {
    case "SubscribeAll":
      return { _tag: "SubscribedAll" }
    case "UnsubscribeAll":
      return { _tag: "UnsubscribedAll" }
    default: {
      const _tag = (
        {
          Subscribe: "Subscribed",
          Unsubscribe: "Unsubscribed",
          SubscribeOutput: "OutputSubscribed",
          UnsubscribeOutput: "OutputUnsubscribed"
        } as const
      )[message._tag]
      return named ? { _tag, taskId: message.taskId } : { _tag }
    }
  }
}

describe("subscriptions", () => {
  it("ends a replay of which nothing is wanted any more with what is wanted instead", () => {
    const table = Subscriptions.make()
    table.setInterest(Interest.output(a))
    table.reset()
    const [first] = take(table, 0)
    table.setInterest(Interest.output(b))
    const [second] = take(table, 0).filter(({ _tag }) => _tag === "SubscribeOutput")
    assert(first !== undefined && second !== undefined)
    table.acknowledge(answer(first))
    assert.isUndefined(table.takeReplayEnd())
    table.acknowledge(answer(second))
    assert.strictEqual(table.takeReplayEnd(), 0)
  })

  it("requests each wanted key once", () => {
    const table = Subscriptions.make()
    table.setInterest(Interest.union(Interest.all, Interest.output([a, b])))
    assert.deepStrictEqual(tags(take(table, 0)), ["SubscribeAll", "SubscribeOutput a", "SubscribeOutput b"])
    assert.deepStrictEqual(take(table, 0), [])
  })

  it("distinguishes requested keys from confirmed ones", () => {
    const table = Subscriptions.make()
    table.setInterest(Interest.output([a, b]))
    take(table, 0)
    table.acknowledge({ _tag: "OutputSubscribed", taskId: b })
    assert.deepStrictEqual(table.current().requested, Interest.output([a, b]))
    assert.deepStrictEqual(table.current().confirmed, Interest.output(b))
  })

  it("matches an acknowledgement without a task to the oldest request of its kind", () => {
    const table = Subscriptions.make()
    table.setInterest(Interest.output([a, b]))
    take(table, 0)
    table.acknowledge({ _tag: "OutputSubscribed" })
    assert.deepStrictEqual(table.current().confirmed, Interest.output(a))
    table.acknowledge({ _tag: "OutputSubscribed" })
    assert.deepStrictEqual(table.current().confirmed, Interest.output([a, b]))
  })

  it("ignores an acknowledgement without a request", () => {
    const table = Subscriptions.make()
    table.acknowledge({ _tag: "OutputSubscribed" })
    table.acknowledge({ _tag: "Subscribed", taskId: a })
    table.setInterest(Interest.output(a))
    take(table, 0)
    table.acknowledge({ _tag: "OutputUnsubscribed", taskId: a })
    table.acknowledge({ _tag: "Subscribed", taskId: a })
    assert.deepStrictEqual(table.current().confirmed, Interest.empty)
  })

  it("delays a request until the previous request of the same key is acknowledged", () => {
    const table = Subscriptions.make()
    want(table, Interest.output(a), true)
    assert.deepStrictEqual(tags(take(table, 0)), ["SubscribeOutput a"])
    want(table, Interest.output(a), false)
    assert.deepStrictEqual(take(table, 1), [])
    table.acknowledge({ _tag: "OutputSubscribed", taskId: a })
    assert.deepStrictEqual(tags(take(table, 2)), ["UnsubscribeOutput a"])
  })

  it("sends nothing for a change that was undone before the acknowledgement", () => {
    const table = Subscriptions.make()
    want(table, Interest.output(a), true)
    take(table, 0)
    want(table, Interest.output(a), false)
    want(table, Interest.output(a), true)
    table.acknowledge({ _tag: "OutputSubscribed", taskId: a })
    assert.deepStrictEqual(take(table, 1), [])
    assert.deepStrictEqual(table.current().confirmed, Interest.output(a))
  })

  it("sends the opposite request once an acknowledgement is overdue", () => {
    const table = Subscriptions.make(100)
    want(table, Interest.output(a), true)
    take(table, 5)
    want(table, Interest.output(a), false)
    assert.strictEqual(table.deadline(), 105)
    table.expire(104)
    assert.deepStrictEqual(take(table, 104), [])
    table.expire(105)
    assert.deepStrictEqual(tags(take(table, 105)), ["UnsubscribeOutput a"])
  })

  it("requests an overdue key again after the timeout, then after twice as long, until it is confirmed", () => {
    const table = Subscriptions.make(100)
    table.reset()
    want(table, Interest.output(a), true)
    take(table, 0)
    assert.deepStrictEqual(
      table.expire(100).map(({ taskId }) => taskId),
      [a]
    )
    assert.deepStrictEqual(table.current().unconfirmed, Interest.output(a))
    assert.deepStrictEqual(take(table, 100), [])
    assert.strictEqual(table.deadline(), 200)
    assert.deepStrictEqual(table.expire(200), [])
    assert.deepStrictEqual(tags(take(table, 200)), ["SubscribeOutput a"])
    // It is reported once.
    assert.deepStrictEqual(table.expire(300), [])
    assert.strictEqual(table.deadline(), 500)
    table.expire(500)
    assert.deepStrictEqual(tags(take(table, 500)), ["SubscribeOutput a"])
    assert.strictEqual(table.acknowledge({ _tag: "OutputSubscribed", taskId: a })?.key.taskId, a)
    assert.deepStrictEqual(table.current().confirmed, Interest.output(a))
    assert.deepStrictEqual(table.current().unconfirmed, Interest.empty)
    table.expire(10_000)
    assert.deepStrictEqual(take(table, 10_000), [])
  })

  it("does not repeat the request of a key that is no longer wanted", () => {
    const table = Subscriptions.make(100)
    want(table, Interest.output(a), true)
    take(table, 0)
    table.expire(100)
    want(table, Interest.output(a), false)
    assert.deepStrictEqual(tags(take(table, 100)), ["UnsubscribeOutput a"])
    table.expire(100_000)
    assert.deepStrictEqual(take(table, 100_000), [])
  })

  it("repeats the request of an overdue key that was not wanted for a moment", () => {
    const table = Subscriptions.make(100)
    want(table, Interest.output(a), true)
    take(table, 0)
    table.expire(100)
    want(table, Interest.output(a), false)
    want(table, Interest.output(a), true)
    assert.deepStrictEqual(take(table, 100), [])
    table.expire(200)
    want(table, Interest.output(a), false)
    want(table, Interest.output(a), true)
    assert.deepStrictEqual(tags(take(table, 200)), ["SubscribeOutput a"])
  })

  it("has nothing to wait for before the first request", () => {
    assert.strictEqual(Subscriptions.make(100).deadline(), Infinity)
  })

  it("ends the replay when each of its keys is confirmed, once", () => {
    const table = Subscriptions.make(100)
    table.setInterest(Interest.output([a, b]))
    table.reset()
    take(table, 0)
    assert.deepStrictEqual(table.acknowledge({ _tag: "OutputSubscribed", taskId: b })?.inReplay, true)
    assert.isUndefined(table.takeReplayEnd())
    table.acknowledge({ _tag: "OutputSubscribed", taskId: a })
    assert.strictEqual(table.takeReplayEnd(), 0)
    assert.isUndefined(table.takeReplayEnd())
  })

  it("ends the replay with the number of its keys that are overdue", () => {
    const table = Subscriptions.make(100)
    table.setInterest(Interest.output([a, b]))
    table.reset()
    take(table, 0)
    table.acknowledge({ _tag: "OutputSubscribed", taskId: b })
    assert.deepStrictEqual(table.expire(100), [])
    assert.strictEqual(table.takeReplayEnd(), 1)
    assert.deepStrictEqual(table.acknowledge({ _tag: "OutputSubscribed", taskId: a })?.inReplay, false)
  })

  it("ends the replay without a key that is no longer wanted", () => {
    const table = Subscriptions.make(100)
    table.setInterest(Interest.output([a, b]))
    table.reset()
    take(table, 0)
    table.acknowledge({ _tag: "OutputSubscribed", taskId: b })
    want(table, Interest.output(a), false)
    assert.strictEqual(table.takeReplayEnd(), 0)
  })

  it("does not confirm a key by the acknowledgement of a subscribe that an unsubscribe has followed", () => {
    const table = Subscriptions.make(100)
    want(table, Interest.output(a), true)
    take(table, 0)
    want(table, Interest.output(a), false)
    table.expire(100)
    take(table, 100)
    want(table, Interest.output(a), true)
    table.expire(200)
    assert.deepStrictEqual(tags(take(table, 200)), ["SubscribeOutput a"])
    // Those of the first subscribe and of the unsubscribe arrive late.
    assert.isUndefined(table.acknowledge({ _tag: "OutputSubscribed", taskId: a }))
    table.acknowledge({ _tag: "OutputUnsubscribed", taskId: a })
    assert.deepStrictEqual(table.current().confirmed, Interest.empty)
    table.acknowledge({ _tag: "OutputSubscribed", taskId: a })
    assert.deepStrictEqual(table.current().confirmed, Interest.output(a))
  })

  it("returns no more messages than the limit, and the rest later", () => {
    const table = Subscriptions.make()
    table.setInterest(Interest.union(Interest.all, Interest.output([a, b])))
    assert.deepStrictEqual(tags(take(table, 0, 2)), ["SubscribeAll", "SubscribeOutput a"])
    assert.deepStrictEqual(tags(take(table, 0, 2)), ["SubscribeOutput b"])
  })

  it("requests exactly the wanted keys after a reset", () => {
    const table = Subscriptions.make()
    table.setInterest(Interest.union(Interest.updates([a, b]), Interest.output(a)))
    take(table, 0)
    want(table, Interest.updates(b), false)
    table.reset()
    assert.deepStrictEqual(tags(take(table, 1)), ["Subscribe a", "SubscribeOutput a"])
    assert.deepStrictEqual(table.current().confirmed, Interest.empty)
  })

  it("does not request the updates of single tasks while all are wanted, and does so again afterwards", () => {
    const table = Subscriptions.make()
    const settle = () => take(table, 0).map((message) => (table.acknowledge(answer(message)), message))
    table.setInterest(Interest.updates([a, b]))
    assert.deepStrictEqual(tags(settle()), ["Subscribe a", "Subscribe b"])
    want(table, Interest.all, true)
    assert.deepStrictEqual(tags(settle()), ["SubscribeAll", "Unsubscribe a", "Unsubscribe b"])
    want(table, Interest.all, false)
    assert.deepStrictEqual(tags(settle()), ["Subscribe a", "Subscribe b", "UnsubscribeAll"])
  })

  it("does not unsubscribe from all updates before those of a single task are requested again", () => {
    const table = Subscriptions.make()
    want(table, Interest.updates(a), true)
    take(table, 0)
    table.acknowledge({ _tag: "Subscribed", taskId: a })
    want(table, Interest.all, true)
    assert.deepStrictEqual(tags(take(table, 1)), ["SubscribeAll", "Unsubscribe a"])
    want(table, Interest.all, false)
    table.acknowledge({ _tag: "SubscribedAll" })
    // The request for the task waits for the acknowledgement of its unsubscribe.
    assert.deepStrictEqual(tags(take(table, 2)), [])
    table.acknowledge({ _tag: "Unsubscribed", taskId: a })
    assert.deepStrictEqual(tags(take(table, 3)), ["Subscribe a", "UnsubscribeAll"])
  })

  it("does not unsubscribe from a single task's updates before all are requested again", () => {
    const table = Subscriptions.make()
    want(table, Interest.all, true)
    take(table, 0)
    table.acknowledge({ _tag: "SubscribedAll" })
    table.setInterest(Interest.updates(a))
    assert.deepStrictEqual(tags(take(table, 1)), ["Subscribe a", "UnsubscribeAll"])
    table.setInterest(Interest.all)
    table.acknowledge({ _tag: "Subscribed", taskId: a })
    // The task is no longer wanted by itself, but only its own subscription covers it.
    assert.deepStrictEqual(tags(take(table, 2)), [])
    table.acknowledge({ _tag: "UnsubscribedAll" })
    assert.deepStrictEqual(tags(take(table, 3)), ["SubscribeAll", "Unsubscribe a"])
  })

  const Step = Schema.Union([
    // Few keys, so that what is under way gets in the way.
    Schema.TaggedStruct("Want", {
      kind: Schema.Literals(["all", "updates"]),
      task: Schema.Literals(["a"]),
      wanted: Schema.Boolean
    }),
    Schema.TaggedStruct("Want", {
      kind: Schema.Literals(["all", "updates", "output"]),
      task: Schema.Literals(["a", "b", "c"]),
      wanted: Schema.Boolean
    }),
    Schema.TaggedStruct("WantOnly", {
      all: Schema.Boolean,
      updates: Schema.Array(Schema.Literals(["a", "b", "c"])),
      output: Schema.Array(Schema.Literals(["a", "b", "c"]))
    }),
    Schema.TaggedStruct("Take", {}),
    Schema.TaggedStruct("Acknowledge", { named: Schema.Boolean }),
    Schema.TaggedStruct("Expire", {}),
    Schema.TaggedStruct("Reset", {})
  ])

  const Late = Schema.Union([
    Schema.TaggedStruct("Want", {
      kind: Schema.Literals(["all", "updates", "output"]),
      task: Schema.Literals(["a", "b"]),
      wanted: Schema.Boolean
    }),
    Schema.TaggedStruct("Take", {}),
    Schema.TaggedStruct("Handle", { acknowledges: Schema.Literals([true, true, true, false]) }),
    Schema.TaggedStruct("Deliver", {}),
    Schema.TaggedStruct("Expire", {})
  ])

  const has = (interest: Interest.Interest, { kind, taskId }: Subscriptions.Key): boolean =>
    kind === "all" || taskId === undefined ? interest.all : interest[kind].has(taskId)

  it.prop(
    "confirms a key only while the server has it, though acknowledgements are late, bare or lost",
    [Arbitrary.array(Arbitrary.schema(Late), { minLength: 10, maxLength: 60 }), Schema.Boolean],
    ([steps, named]) => {
      const table = Subscriptions.make(2)
      const requests: Array<ClientMessage.ClientMessage> = []
      const acknowledgements: Array<{ readonly message: Acknowledgement; readonly at: number }> = []
      const states = [Interest.empty]
      let now = 0
      for (const step of steps) {
        now++
        switch (step._tag) {
          case "Want":
            want(table, turn(Interest.empty, step.kind, TaskId.make(step.task), true), step.wanted)
            break
          case "Take":
            requests.push(...take(table, now))
            break
          case "Handle": {
            const message = requests.shift()
            if (message === undefined) break
            const kind = message._tag.endsWith("All") ? "all" : message._tag.endsWith("Output") ? "output" : "updates"
            const before = states.at(-1) ?? Interest.empty
            const on = !message._tag.startsWith("Uns")
            states.push(turn(before, kind, "taskId" in message ? message.taskId : undefined, on))
            if (step.acknowledges) acknowledgements.push({ message: answer(message, named), at: states.length - 1 })
            break
          }
          case "Deliver": {
            const acknowledgement = acknowledgements.shift()
            if (acknowledgement === undefined) break
            const key = table.acknowledge(acknowledgement.message)?.key
            if (key === undefined) break
            assert.isTrue(
              states.slice(acknowledgement.at).every((state) => has(state, key)),
              `${key.kind} ${key.taskId ?? ""} is confirmed where the server does not have it`
            )
            break
          }
          case "Expire":
            table.expire(now)
            break
        }
      }
    },
    { arbitrary: { runs: 3000 } }
  )

  it.prop(
    "makes the server's state what is wanted, after any history, with one request of a key under way at a time",
    [Arbitrary.array(Arbitrary.schema(Step), { minLength: 16, maxLength: 40 })],
    ([steps]) => {
      const table = Subscriptions.make(0)
      let wanted = Interest.empty
      let server = Interest.empty
      let underWay: Array<ClientMessage.ClientMessage> = []
      let now = 0
      const key = (message: ClientMessage.ClientMessage) =>
        `${message._tag.replace(/^Uns/, "S")} ${"taskId" in message ? message.taskId : ""}`
      const apply = (message: ClientMessage.ClientMessage) => {
        const kind = message._tag.endsWith("All") ? "all" : message._tag.endsWith("Output") ? "output" : "updates"
        const before = server
        server = turn(server, kind, "taskId" in message ? message.taskId : undefined, !message._tag.startsWith("Uns"))
        for (const taskId of ["a", "b", "c"].map((task) => TaskId.make(task))) {
          if (covers(wanted, taskId) && covers(before, taskId)) {
            assert.isTrue(covers(server, taskId), `${message._tag} uncovers ${taskId}, which is wanted all the time`)
          }
        }
      }
      const takeAll = () => {
        for (const message of take(table, now++)) {
          assert.isFalse(
            underWay.some((other) => key(other) === key(message)),
            "two requests of one key under way"
          )
          underWay.push(message)
          apply(message)
        }
      }
      const acknowledge = (named: boolean) => {
        const message = underWay.shift()
        if (message !== undefined) table.acknowledge(answer(message, named))
      }
      for (const step of steps) {
        switch (step._tag) {
          case "Want":
            want(table, turn(Interest.empty, step.kind, TaskId.make(step.task), true), step.wanted)
            wanted = turn(wanted, step.kind, TaskId.make(step.task), step.wanted)
            break
          case "WantOnly":
            wanted = {
              all: step.all,
              updates: new Set(step.updates.map((task) => TaskId.make(task))),
              output: new Set(step.output.map((task) => TaskId.make(task)))
            }
            table.setInterest(wanted)
            break
          case "Take":
            takeAll()
            break
          case "Acknowledge":
            acknowledge(step.named)
            break
          case "Expire":
            table.expire(now)
            underWay = []
            break
          case "Reset":
            table.reset()
            server = Interest.empty
            underWay = []
            break
        }
      }
      for (let round = 0; round < 8; round++) {
        while (underWay.length > 0) acknowledge(true)
        // A bare acknowledgement counts for the oldest request, so a later one may be overdue.
        if (steps.some((step) => step._tag === "Expire")) table.expire(now)
        takeAll()
      }
      while (underWay.length > 0) acknowledge(true)
      const effective = wanted.all ? { ...wanted, updates: new Set<TaskId>() } : wanted
      assert.deepStrictEqual(server, effective)
      // An acknowledgement that is overdue is lost in this test, and with it the confirmation.
      if (!steps.some((step) => step._tag === "Expire")) assert.deepStrictEqual(table.current().confirmed, effective)
    },
    { arbitrary: { runs: 3000 } }
  )
})
