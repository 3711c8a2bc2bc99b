import * as Interest from "@makima-stream/core/Interest"
import * as TaskId from "@makima-stream/core/TaskId"
import type * as ClientMessage from "@makima-stream/core/ClientMessage"
import type * as ServerMessage from "@makima-stream/core/ServerMessage"
import { assert, describe, it } from "@effect/vitest"
import * as Schema from "effect/Schema"
import * as Feed from "../../src/internal/feed.ts"

const a = TaskId.make("a")
const b = TaskId.make("b")

const update = (taskId: TaskId.TaskId): ServerMessage.ServerMessage => ({ _tag: "TaskUpdated", taskId })
const output = (taskId: TaskId.TaskId): ServerMessage.ServerMessage => ({
  _tag: "TaskOutput",
  taskId,
  messageType: "assistant",
  content: ""
})

/** Requests over two tasks, so that they often meet the same subscription. */
const Request = Schema.Union([
  Schema.TaggedStruct("SubscribeAll", {}),
  Schema.TaggedStruct("UnsubscribeAll", {}),
  ...(["Subscribe", "Unsubscribe", "SubscribeOutput", "UnsubscribeOutput"] as const).map((tag) =>
    Schema.TaggedStruct(tag, { taskId: Schema.Literals([a, b]) })
  )
])

describe("feed", () => {
  it("a new connection has no subscription", () => {
    const feed = Feed.make()
    assert.isFalse(feed.wants(update(a)))
    assert.isFalse(feed.wants(output(a)))
    assert.isTrue(Interest.isEmpty(feed.interest()))
  })

  it("errors, unknown messages and acknowledgements are sent to every connection", () => {
    const feed = Feed.make()
    assert.isTrue(feed.wants({ _tag: "ServerError", code: "ERROR", message: "" }))
    assert.isTrue(feed.wants({ _tag: "UnknownMessage", raw: { type: "taskArchived" } }))
    assert.isTrue(feed.wants({ _tag: "OutputSubscribed", taskId: a }))
  })

  it("each request is acknowledged once, with the task that it names", () => {
    const feed = Feed.make()
    const answers = (message: ClientMessage.ClientMessage) => feed.handle(message)
    assert.deepStrictEqual(answers({ _tag: "SubscribeAll" }), [{ _tag: "SubscribedAll" }])
    assert.deepStrictEqual(answers({ _tag: "UnsubscribeAll" }), [{ _tag: "UnsubscribedAll" }])
    assert.deepStrictEqual(answers({ _tag: "Subscribe", taskId: a }), [{ _tag: "Subscribed", taskId: a }])
    assert.deepStrictEqual(answers({ _tag: "Subscribe", taskId: a }), [{ _tag: "Subscribed", taskId: a }])
    assert.deepStrictEqual(answers({ _tag: "Unsubscribe", taskId: a }), [{ _tag: "Unsubscribed", taskId: a }])
    assert.deepStrictEqual(answers({ _tag: "SubscribeOutput", taskId: a }), [{ _tag: "OutputSubscribed", taskId: a }])
    assert.deepStrictEqual(answers({ _tag: "UnsubscribeOutput", taskId: b }), [
      { _tag: "OutputUnsubscribed", taskId: b }
    ])
  })

  it("sends output only for tasks with an output subscription, also under subscribeAll", () => {
    const feed = Feed.make()
    feed.handle({ _tag: "SubscribeAll" })
    feed.handle({ _tag: "SubscribeOutput", taskId: b })
    assert.isFalse(feed.wants(output(a)))
    assert.isTrue(feed.wants(output(b)))
  })

  it("unsubscribeAll keeps the subscriptions of single tasks", () => {
    const feed = Feed.make()
    feed.handle({ _tag: "Subscribe", taskId: a })
    feed.handle({ _tag: "SubscribeAll" })
    assert.isTrue(feed.wants(update(b)))
    feed.handle({ _tag: "UnsubscribeAll" })
    assert.isTrue(feed.wants(update(a)))
    assert.isFalse(feed.wants(update(b)))
  })

  it("a returned interest does not change with later requests", () => {
    const feed = Feed.make()
    const before = feed.interest()
    feed.handle({ _tag: "Subscribe", taskId: a })
    feed.handle({ _tag: "SubscribeOutput", taskId: a })
    assert.isTrue(Interest.isEmpty(before))
  })

  it.prop("the last request of each kind decides", [Schema.Array(Request)], ([requests]) => {
    const feed = Feed.make()
    for (const request of requests) assert.lengthOf(feed.handle(request), 1)
    const last =
      (...tags: ReadonlyArray<string>) =>
      (taskId?: TaskId.TaskId) =>
        requests.findLast(
          (request) => tags.includes(request._tag) && (!("taskId" in request) || request.taskId === taskId)
        )?._tag
    const all = last("SubscribeAll", "UnsubscribeAll")() === "SubscribeAll"
    for (const taskId of [a, b]) {
      const own = last("Subscribe", "Unsubscribe")(taskId) === "Subscribe"
      assert.strictEqual(feed.wants(update(taskId)), all || own)
      const wanted = last("SubscribeOutput", "UnsubscribeOutput")(taskId) === "SubscribeOutput"
      assert.strictEqual(feed.wants(output(taskId)), wanted)
    }
    // The interest is what a new connection would have to request.
    const again = Feed.make()
    for (const request of Interest.replay(feed.interest())) again.handle(request)
    for (const message of [update(a), update(b), output(a), output(b)]) {
      assert.strictEqual(again.wants(message), feed.wants(message))
    }
  })
})
