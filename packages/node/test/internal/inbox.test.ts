import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Socket from "effect/socket/Socket"
import { WebSocket } from "ws"
import * as Inbox from "../../src/internal/inbox.ts"

const lost = new Socket.SocketError({ reason: new Socket.SocketCloseError({ code: 1006 }) })

/** An inbox of a WebSocket that records what is done to it. */
const make = (highWaterBytes = 1000) => {
  const done: Array<string> = []
  let ended: Socket.SocketError | undefined
  let time = 0
  const ws = {
    readyState: WebSocket.OPEN as Inbox.Pausable["readyState"],
    pause: () => done.push("pause"),
    resume: () => done.push("resume"),
    terminate: () => done.push("terminate")
  }
  const inbox = Inbox.make(ws, { highWaterBytes, now: () => ++time }, () => ended)
  const end = () => {
    ended = lost
    inbox.wake()
  }
  return { inbox, ws, done, end }
}

const microtasks = Effect.promise(() => Promise.resolve())

describe("the inbox of a connection", () => {
  it.effect("wakes the reader with all frames of a tick", () =>
    Effect.gen(function* () {
      const { inbox } = make()
      const reader = yield* Effect.forkChild(inbox.pull, { startImmediately: true })
      inbox.add("a", 1)
      inbox.addText(Buffer.from("bc"), 0, 1)
      assert.deepStrictEqual(yield* Fiber.join(reader), ["a", "b"])
    })
  )

  it.effect("reports the end after the last frame", () =>
    Effect.gen(function* () {
      const { end, inbox } = make()
      inbox.add("a", 1)
      end()
      assert.deepStrictEqual(yield* inbox.pull, ["a"])
      assert.strictEqual(yield* Effect.flip(inbox.pull), lost)
    })
  )

  it.effect("pauses reads while frames fill it, and resumes them when the last one is taken", () =>
    Effect.gen(function* () {
      const { done, inbox } = make(10)
      inbox.add("a", 10)
      yield* microtasks
      assert.deepStrictEqual(done, ["pause"])
      assert.isTrue(inbox.isPaused())
      yield* inbox.pull
      assert.deepStrictEqual(done, ["pause", "resume"])
      assert.isFalse(inbox.isPaused())
      assert.strictEqual(inbox.resumedAt(), 1)
    })
  )

  it.effect("cuts a connection that this side closes if the peer fills it meanwhile", () =>
    Effect.gen(function* () {
      const { done, inbox, ws } = make(10)
      inbox.close()
      ws.readyState = WebSocket.CLOSING
      inbox.add("a", 10)
      yield* microtasks
      assert.deepStrictEqual(done, ["terminate"])
    })
  )

  it.effect("returns at most 64 frames at a time to a late reader", () =>
    Effect.gen(function* () {
      const { inbox } = make(1e6)
      for (let i = 0; i < 100; i++) inbox.add(`${i}`, 1)
      yield* microtasks
      assert.strictEqual((yield* inbox.pull).length, 64)
      assert.strictEqual((yield* inbox.pull).length, 36)
    })
  )

  it.effect("loses no frame if a waiting reader is interrupted", () =>
    Effect.gen(function* () {
      const { inbox } = make()
      const reader = yield* Effect.forkChild(inbox.pull, { startImmediately: true })
      yield* Fiber.interrupt(reader)
      inbox.add("a", 1)
      assert.deepStrictEqual(yield* inbox.pull, ["a"])
    })
  )
})
