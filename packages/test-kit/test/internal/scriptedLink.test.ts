import { assert, describe, it } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Recorder from "../../src/internal/recorder.ts"
import { Link } from "../../src/internal/scriptedLink.ts"
import * as Verbs from "../../src/internal/verbs.ts"

const make = Effect.map(Clock.Clock, (clock) => {
  const recorder = Recorder.make({ clock, keepMessages: true })
  let emissions = 0
  let changes = 0
  const link = new Link(1, {
    clock,
    recorder,
    schedule: () => assert.fail("a delay"),
    settings: Verbs.toSettings({}),
    nextEmission: () => ++emissions,
    onSent: () => {},
    onReceived: () => {},
    changed: () => void changes++
  })
  const error = (message: string) => link.send({ _tag: "ServerError", code: "X", message })
  const taken = () => link.take(10).map(({ message }) => (message?._tag === "ServerError" ? message.message : ""))
  const logged = () => recorder.snapshot().map(({ _tag }) => _tag)
  return { link, error, taken, logged, recorder, changes: () => changes }
})

describe("a connection of a scripted mesh", () => {
  it.effect("delivers what was sent while it was frozen at the thaw, in order", () =>
    Effect.gen(function* () {
      const { error, link, logged, recorder, taken } = yield* make
      error("1")
      link.freeze()
      error("2")
      link.receive('{"type":"subscribeAll"}')
      assert.deepStrictEqual(taken(), ["1"])
      assert.isFalse(link.requests.feed.interest().all)
      link.thaw()
      assert.deepStrictEqual(taken(), ["2", ""])
      assert.isTrue(link.requests.feed.interest().all)
      assert.deepStrictEqual(logged(), ["Sent", "Frozen", "Sent", "Thawed", "Received", "Sent"])
      assert.isTrue(recorder.snapshot().every((entry) => entry._tag !== "Sent" || entry.delivered))
    })
  )

  it.effect("loses what a freeze retains when it is cut", () =>
    Effect.gen(function* () {
      const { error, link, taken } = yield* make
      link.freeze()
      error("1")
      link.kill(false)
      link.thaw()
      assert.deepStrictEqual(taken(), [])
      assert.strictEqual(link.endedBy, "kill")
    })
  )

  it.effect("ends once, and leaves what had arrived until it is released", () =>
    Effect.gen(function* () {
      const { changes, error, link, logged, taken } = yield* make
      error("1")
      link.close(4000, "enough")
      link.kill(false)
      error("2")
      assert.strictEqual(link.endedBy, "close")
      assert.deepStrictEqual(logged(), ["Sent", "Closed"])
      assert.strictEqual(changes(), 2)
      assert.strictEqual(link.inbox.length, 1)
      link.release()
      assert.deepStrictEqual(taken(), [])
    })
  )
})
