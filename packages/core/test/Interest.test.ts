import { assert, describe, it } from "@effect/vitest"
import * as Schema from "effect/Schema"
import * as Interest from "../src/Interest.ts"
import { TaskId } from "../src/TaskId.ts"

const a = TaskId.make("a")
const b = TaskId.make("b")

const Ids = Schema.Array(Schema.Literals(["a", "b", "c", "d"]))
const Raw = Schema.Struct({ all: Schema.Boolean, updates: Ids, output: Ids })

const make = (raw: typeof Raw.Type): Interest.Interest => ({
  all: raw.all,
  updates: new Set(raw.updates.map((id) => TaskId.make(id))),
  output: new Set(raw.output.map((id) => TaskId.make(id)))
})

/** The interest that a server has after these messages. */
const apply = (from: Interest.Interest, messages: ReturnType<typeof Interest.diff>): Interest.Interest => {
  let all = from.all
  const updates = new Set(from.all ? [] : from.updates)
  const output = new Set(from.output)
  for (const message of messages) {
    switch (message._tag) {
      case "SubscribeAll":
        all = true
        break
      case "UnsubscribeAll":
        all = false
        break
      case "Subscribe":
        updates.add(message.taskId)
        break
      case "Unsubscribe":
        updates.delete(message.taskId)
        break
      case "SubscribeOutput":
        output.add(message.taskId)
        break
      case "UnsubscribeOutput":
        output.delete(message.taskId)
        break
    }
  }
  return { all, updates, output }
}

const onTheWire = (interest: Interest.Interest): Interest.Interest =>
  interest.all ? { ...interest, updates: new Set() } : interest

describe("Interest", () => {
  it("accepts one id or several", () => {
    assert.isTrue(Interest.equals(Interest.updates(a), Interest.updates([a])))
    assert.isTrue(
      Interest.equals(Interest.task([a, b]), Interest.union(Interest.updates([a, b]), Interest.output([a, b])))
    )
  })

  it("recognises an empty interest", () => {
    assert.isTrue(Interest.isEmpty(Interest.union()))
    assert.isFalse(Interest.isEmpty(Interest.output(a)))
  })

  it("subscribes to new keys before it unsubscribes from old ones", () => {
    assert.deepStrictEqual(
      Interest.diff(Interest.updates(a), Interest.all).map((message) => message._tag),
      ["SubscribeAll", "Unsubscribe"]
    )
    assert.deepStrictEqual(
      Interest.diff(Interest.all, Interest.updates(a)).map((message) => message._tag),
      ["Subscribe", "UnsubscribeAll"]
    )
  })

  it("does not request updates of single tasks besides all updates", () => {
    assert.deepStrictEqual(
      Interest.replay(Interest.union(Interest.all, Interest.updates(a))).map((message) => message._tag),
      ["SubscribeAll"]
    )
  })

  it.prop("diffs any interest to any other", [Raw, Raw], ([from, to]) => {
    assert.isTrue(Interest.equals(apply(make(from), Interest.diff(make(from), make(to))), onTheWire(make(to))))
  })

  it.prop("has no messages between equal interests", [Raw], ([raw]) => {
    assert.deepStrictEqual(Interest.diff(make(raw), make(raw)), [])
  })

  it.prop("unites interests in any order", [Raw, Raw], ([one, two]) => {
    const union = Interest.union(make(one), make(two))
    assert.isTrue(Interest.equals(union, Interest.union(make(two), make(one))))
    assert.strictEqual(union.all, one.all || two.all)
    assert.deepStrictEqual(new Set([...one.output, ...two.output]), new Set<string>(union.output))
  })
})
