import * as Interest from "@makima-stream/core/Interest"
import type { ClientMessage } from "@makima-stream/core/ClientMessage"
import * as MeshError from "@makima-stream/core/MeshError"
import type { MeshEvent, ResyncReason } from "@makima-stream/core/MeshEvent"
import * as TaskId from "@makima-stream/core/TaskId"
import { assert, describe, it } from "@effect/vitest"
import * as Hub from "../../src/internal/hub.ts"
import { said, shown, updated } from "../support/world.ts"

const a = TaskId.make("a")
const b = TaskId.make("b")

/** A hub, with the state that the connection to the server would have. */
const setup = (options?: Partial<Hub.Options>) => {
  let now = 0
  let changes = 0
  const state = { requested: Interest.empty, confirmed: Interest.empty }
  const hub = Hub.make({
    idleMillis: 1000,
    maxReplay: 100,
    maxSubscriptions: 3,
    onChanged: () => void changes++,
    ...options
  })
  const client = (marks: boolean) => {
    const seen: Array<string> = []
    const closed: Array<number> = []
    const self: Hub.Client = {
      marks,
      deliver: ({ event }) => void seen.push(...shown([event])),
      control: ({ event }) =>
        void seen.push(
          event._tag === "Resync" && event.unconfirmed !== undefined
            ? `${event.reason._tag} (${event.unconfirmed} unconfirmed)`
            : (shown([event])[0] ?? "")
        ),
      acknowledge: (message) =>
        void seen.push("taskId" in message ? `${message._tag} ${message.taskId}` : message._tag),
      close(code) {
        closed.push(code)
        hub.leave(self, now)
      }
    }
    hub.join(self)
    return {
      closed,
      seen,
      /** What it has seen since the last call. */
      take: () => seen.splice(0),
      send: (...messages: ReadonlyArray<ClientMessage>) => {
        for (const message of messages) hub.request(self, message, now)
      },
      leave: () => hub.leave(self, now)
    }
  }
  const route = (...batch: ReadonlyArray<MeshEvent>) => hub.route(batch, state)
  return {
    hub,
    client,
    route,
    /** Sets what is requested and confirmed at the server. */
    upstream(requested: Interest.Interest, confirmed = requested) {
      Object.assign(state, { requested, confirmed })
      hub.observe(state)
    },
    sweep(at: number) {
      now = at
      hub.sweep(now, state)
    },
    changes: () => changes
  }
}

const mark = (reason: ResyncReason, taskId?: TaskId.TaskId, unconfirmed?: number): MeshEvent => ({
  _tag: "Resync",
  epoch: 1,
  reason,
  ...(taskId === undefined ? {} : { taskId }),
  ...(unconfirmed === undefined ? {} : { unconfirmed })
})
const started = mark({ _tag: "Started" })
const reconnected = (unconfirmed?: number) => mark({ _tag: "Reconnected", downMillis: 1 }, undefined, unconfirmed)
const confirmed = (kind: "updates" | "output", taskId?: TaskId.TaskId) => mark({ _tag: "Subscribed", kind }, taskId)
const connected: MeshEvent = { _tag: "Connected", epoch: 1, at: 0 }
const disconnected: MeshEvent = {
  _tag: "Disconnected",
  epoch: 1,
  opened: true,
  attempt: 1,
  reason: new MeshError.HeartbeatTimeout({ deadlineMillis: 1 }),
  retryInMillis: 1,
  at: 0
}

const subscribeAll: ClientMessage = { _tag: "SubscribeAll" }
const unsubscribeAll: ClientMessage = { _tag: "UnsubscribeAll" }
const subscribe = (taskId: TaskId.TaskId): ClientMessage => ({ _tag: "Subscribe", taskId })
const output = (taskId: TaskId.TaskId): ClientMessage => ({ _tag: "SubscribeOutput", taskId })
const noOutput = (taskId: TaskId.TaskId): ClientMessage => ({ _tag: "UnsubscribeOutput", taskId })

describe("the hub", () => {
  it("wants the union of what its clients want", () => {
    const { client, hub } = setup()
    client(false).send(subscribeAll, output(a))
    client(true).send(subscribe(b), output(a), output(b))
    assert.deepStrictEqual(hub.interest(), { all: true, updates: new Set([b]), output: new Set([a, b]) })
  })

  it("delivers an update once to a client that has subscribed to it twice", () => {
    const { client, route } = setup()
    const one = client(false)
    one.send(subscribeAll, subscribe(a))
    route(updated("a", 1))
    assert.deepStrictEqual(one.seen, ["a 1"])
  })

  it("answers each of several equal requests, when the key is confirmed", () => {
    const { client, route, upstream } = setup()
    const one = client(false)
    one.send(output(a), output(a))
    assert.deepStrictEqual(one.seen, [])
    upstream(Interest.output(a))
    route(connected, said("a", "x"), started)
    one.send(output(a))
    assert.deepStrictEqual(one.seen, ["a: x", "OutputSubscribed a", "OutputSubscribed a", "OutputSubscribed a"])
  })

  it("does not confirm a key with the mark of a replay if its own mark follows in the same batch", () => {
    const { client, route, upstream } = setup()
    const one = client(false)
    one.send(output(a), output(b))
    upstream(Interest.output([a, b]))
    route(connected, started, said("b", "before"), confirmed("output", b), said("b", "after"))
    assert.deepStrictEqual(one.seen, ["OutputSubscribed a", "b: before", "OutputSubscribed b", "b: after"])
  })

  it("confirms the updates of one task with those of all", () => {
    const { client, route, upstream } = setup()
    upstream(Interest.empty)
    route(connected, started)
    const one = client(false)
    const two = client(false)
    one.send(subscribe(a))
    two.send(subscribeAll)
    route(confirmed("updates"))
    assert.deepStrictEqual(one.seen, ["Subscribed a"])
    one.send(subscribe(b))
    assert.deepStrictEqual(one.seen, ["Subscribed a", "Subscribed b"])
  })

  it("keeps the updates of a task confirmed when another client gives up those of all", () => {
    const { client, route, sweep, upstream } = setup()
    const one = client(false)
    const two = client(false)
    two.send(subscribeAll)
    upstream(Interest.all)
    route(connected, started)
    one.send(subscribe(a))
    two.send(unsubscribeAll)
    sweep(2000)
    upstream(Interest.updates(a))
    route(updated("a", 1), confirmed("updates", a), updated("a", 2))
    assert.deepStrictEqual(one.seen, ["Subscribed a", "a 1", "a 2"])
  })

  it("does not take a subscription for confirmed that it has given up and requests again", () => {
    const { client, hub, route, sweep, upstream } = setup()
    const one = client(false)
    one.send(output(a))
    upstream(Interest.output(a))
    route(connected, started)
    one.send(noOutput(a))
    sweep(999)
    assert.isTrue(hub.interest().output.has(a))
    one.take()
    sweep(1000)
    assert.isFalse(hub.interest().output.has(a))
    // The unsubscribe is on its way.
    one.send(output(a))
    assert.isFalse(hub.interest().output.has(a))
    assert.deepStrictEqual(one.seen, [])
    upstream(Interest.empty)
    assert.isTrue(hub.interest().output.has(a))
    upstream(Interest.output(a))
    route(confirmed("output", a))
    assert.deepStrictEqual(one.seen, ["OutputSubscribed a"])
  })

  it("confirms a subscription at once to a client that comes back before it is given up", () => {
    const { client, hub, route, sweep, upstream } = setup()
    client(false).send(output(a))
    upstream(Interest.output(a))
    route(connected, started)
    const one = client(false)
    one.send(output(a), noOutput(a))
    sweep(500)
    one.send(output(a))
    sweep(5000)
    assert.isTrue(hub.interest().output.has(a))
    assert.deepStrictEqual(one.seen, ["OutputSubscribed a", "OutputUnsubscribed a", "OutputSubscribed a"])
  })

  it("marks a reconnect for the clients that had something confirmed, with the number of their own unconfirmed keys", () => {
    const { client, route, upstream } = setup()
    const one = client(true)
    const two = client(true)
    const three = client(true)
    one.send(output(a), output(b))
    two.send(output(a))
    upstream(Interest.output([a, b]))
    route(connected, started)
    three.send(subscribe(a))
    for (const each of [one, two, three]) each.take()
    upstream(Interest.empty)
    route(disconnected)
    upstream(Interest.output([a, b]), Interest.output(a))
    route({ ...connected, epoch: 2 }, reconnected(1))
    assert.deepStrictEqual(one.take(), ["Disconnected", "Connected", "Reconnected (1 unconfirmed)"])
    assert.deepStrictEqual(two.take(), ["Disconnected", "Connected", "Reconnected"])
    assert.deepStrictEqual(three.take(), ["Disconnected", "Connected"])
    route(confirmed("output", b))
    assert.deepStrictEqual(one.take(), ["Subscribed"])
    assert.deepStrictEqual(two.take(), [])
  })

  it("closes the clients without marks that a gap names, and no others", () => {
    const { client, route, upstream } = setup()
    const one = client(false)
    const two = client(false)
    const marked = client(true)
    one.send(output(a))
    two.send(output(b))
    marked.send(output(a))
    upstream(Interest.output([a, b]))
    route(connected, started)
    marked.take()
    route(mark({ _tag: "VersionGap", lastVersion: 1, version: 3 }, a))
    assert.deepStrictEqual([one.closed, two.closed, marked.closed], [[1012], [], []])
    assert.deepStrictEqual(marked.seen, ["VersionGap"])
    route(mark({ _tag: "Unaligned", cause: "lost" }))
    assert.deepStrictEqual(two.closed, [1012])
  })

  it("passes an unknown message on, unless a client with marks would take it for a mark", () => {
    const { client, route } = setup()
    const marked = client(true)
    const unmarked = client(false)
    route(
      { _tag: "UnknownMessage", raw: { type: "resync" } },
      { _tag: "UnknownMessage", raw: { type: "other" } },
      { _tag: "ServerError", code: "E", message: "" }
    )
    assert.deepStrictEqual(marked.seen, ["UnknownMessage", "ServerError"])
    assert.deepStrictEqual(unmarked.seen, ["UnknownMessage", "UnknownMessage", "ServerError"])
  })

  it("refuses further subscriptions of a client that has too many", () => {
    const { client, hub } = setup({ maxSubscriptions: 2 })
    const one = client(false)
    one.send(output(a), output(b), subscribe(a), output(b))
    assert.deepStrictEqual(one.seen, ["ServerError"])
    assert.deepStrictEqual(hub.interest(), Interest.output([a, b]))
  })

  it("forgets a client that has left, and unsubscribes from what only it wanted", () => {
    const { client, hub, route, sweep } = setup()
    const one = client(false)
    one.send(output(a), subscribe(b))
    one.leave()
    route(said("a", "x"))
    sweep(5000)
    assert.deepStrictEqual(one.seen, [])
    assert.isTrue(Interest.isEmpty(hub.interest()))
    assert.strictEqual(hub.stats().subscriptions, 0)
  })
})
