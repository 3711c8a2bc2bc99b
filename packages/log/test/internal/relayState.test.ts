import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as MeshError from "@makima-stream/core/MeshError"
import type { MeshEvent } from "@makima-stream/core/MeshEvent"
import * as TaskId from "@makima-stream/core/TaskId"
import type { Lease } from "@makima-stream/log/MeshLog"
import { RelayState, type Waiting } from "../../src/internal/relay/state.ts"

const taskId = TaskId.make("t")
const connected: MeshEvent = { _tag: "Connected", epoch: 1, at: 0 }
const started: MeshEvent = { _tag: "Resync", epoch: 1, reason: { _tag: "Started" } }
const output = (content: string): MeshEvent => ({ _tag: "TaskOutput", taskId, messageType: "assistant", content })

const lease = (term: number): Lease => ({
  name: "relay",
  term,
  isHeld: Effect.succeed(true),
  awaitLost: Effect.never,
  release: Effect.void
})

const make = (time = { now: 0 }): RelayState =>
  new RelayState(
    {
      relay: "a",
      timeToLive: 1000,
      skew: 100,
      capacity: 4,
      clock: { monotonic: () => time.now, wall: () => time.now }
    },
    { log: { isEmpty: true, isOpen: false, epoch: 0, closedAt: undefined }, cursor: 0 }
  )

const feed = (state: RelayState, ...events: ReadonlyArray<MeshEvent>): void => {
  for (const event of events) state.observe(event)
  state.offerFeed(events)
}

const standing = ({ current }: RelayState): Waiting => {
  if (current.role === "holder") throw new Error("The relay is the holder")
  return current
}

describe("RelayState", () => {
  it("opens one of the latches for the role it has", () => {
    const state = make()
    assert.deepStrictEqual([state.waiting.isOpen(), state.holding.isOpen()], [true, false])
    feed(state, connected, started)
    const holder = state.takeOver(standing(state), lease(1))
    assert.deepStrictEqual([state.waiting.isOpen(), state.holding.isOpen()], [false, true])
    state.stepDown(holder)
    assert.deepStrictEqual([state.waiting.isOpen(), state.holding.isOpen()], [true, false])
  })

  it("writes everything that its feed has delivered to an empty log", () => {
    const state = make()
    feed(state, connected, started, output("a"))
    const { pending } = state.takeOver(standing(state), lease(1))
    assert.deepStrictEqual(
      pending.map(({ event }) => event._tag),
      ["Connected", "Resync", "TaskOutput"]
    )
  })

  it("continues with the same ids if it has the term after its last one", () => {
    const state = make()
    feed(state, connected, started, output("a"))
    const first = state.takeOver(standing(state), lease(1))
    const ids = first.pending.map(({ id }) => id)
    const next = state.takeOver(state.stepDown(first), lease(2))
    assert.deepStrictEqual(
      next.pending.map(({ id }) => id),
      ids
    )
  })

  it("writes with new ids if another relay had the term between", () => {
    const state = make()
    feed(state, connected, started, output("a"))
    const first = state.takeOver(standing(state), lease(1))
    const ids = new Set(first.pending.map(({ id }) => id))
    const next = state.takeOver(state.stepDown(first), lease(3))
    assert.isFalse(next.pending.some(({ id }) => ids.has(id)))
  })

  it("drops what it had not written when another relay has written", () => {
    const state = make()
    feed(state, connected, started, output("a"))
    const waiting = state.stepDown(state.takeOver(standing(state), lease(1)))
    state.receiveEntry(waiting, { position: 1, at: 0, event: output("of another relay") })
    assert.isUndefined(waiting.unwritten)
  })

  it("keeps what it had not written while the log delivers just that", () => {
    const state = make()
    feed(state, connected, started, output("a"))
    const holder = state.takeOver(standing(state), lease(1))
    const waiting = state.stepDown(holder)
    for (const [i, { event }] of holder.pending.entries()) {
      state.receiveEntry(waiting, { position: i + 1, at: 0, event })
    }
    assert.strictEqual(waiting.echoed, 3)
    assert.isDefined(waiting.unwritten)
  })

  it("ignores entries that it has appended itself", () => {
    const state = make()
    feed(state, connected, started)
    const holder = state.takeOver(standing(state), lease(1))
    state.appended(holder, 2, 2)
    assert.strictEqual(state.cursor, 2)
    assert.strictEqual(holder.pending.length, 0)
    const waiting = state.stepDown(holder)
    state.receiveEntry(waiting, { position: 2, at: 0, event: output("a") })
    assert.strictEqual(waiting.echoed, 0)
    assert.isDefined(waiting.unwritten)
  })

  it("is not behind once a holder has written everything, and knows nothing after a takeover", () => {
    const time = { now: 0 }
    const state = make(time)
    feed(state, connected, started)
    const holder = state.takeOver(standing(state), lease(1))
    state.handled(10)
    assert.isUndefined(state.behind)
    state.appended(holder, 2, 2)
    state.handled(10)
    time.now = 25
    assert.strictEqual(state.behind, 15)
    state.takeOver(state.stepDown(holder), lease(3))
    assert.isUndefined(state.behind)
  })

  it("takes a free lease later if its feed was confirmed later", () => {
    const time = { now: 0 }
    const state = make(time)
    // A log whose connection is open: the feed is aligned with it only later.
    state.receiveEntry(standing(state), { position: 1, at: 0, event: connected })
    assert.strictEqual(state.delay(0), 450)
    time.now = 5000
    feed(state, connected, started)
    assert.deepStrictEqual(
      [4999, 5000, 7000].map((renewedAt) => state.delay(renewedAt)),
      [450, 300, 150]
    )
  })

  it("takes no more of its feed when as much as its capacity waits to be written", () => {
    const state = make()
    feed(state, connected, started, output("a"))
    assert.isFalse(state.isFull)
    feed(state, output("b"))
    assert.isTrue(state.isFull)
    state.takeOver(standing(state), lease(1))
    assert.isFalse(state.isFull)
  })

  it("takes no more of its feed while as much as its capacity is unwritten, also if the log is connected", () => {
    const state = make()
    feed(state, connected, started)
    const holder = state.takeOver(standing(state), lease(1))
    state.appended(holder, 2, 2)
    feed(state, output("a"), output("b"), output("c"))
    state.stepDown(holder)
    assert.isFalse(state.isFull)
    feed(state, output("d"))
    assert.isTrue(state.isFull)
  })

  it("is neither connected nor confirmed after the end of a connection", () => {
    const state = make()
    feed(state, connected, started)
    assert.isTrue(state.status.isConnected)
    assert.isFalse(state.disconnected.isOpen())
    state.observe({
      _tag: "Disconnected",
      epoch: 1,
      opened: true,
      attempt: 1,
      reason: new MeshError.ConnectionLost({}),
      at: 1
    })
    assert.isFalse(state.status.isConnected)
    assert.isTrue(state.disconnected.isOpen())
  })
})
