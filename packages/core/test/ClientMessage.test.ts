import { assert, describe, it } from "@effect/vitest"
import * as Arbitrary from "effect/Arbitrary"
import * as Result from "effect/Result"
import * as ClientMessage from "../src/ClientMessage.ts"
import { TaskId } from "../src/TaskId.ts"

const id = TaskId.make("7f1c")

describe("ClientMessage", () => {
  it("spells each message as the protocol does", () => {
    const frames: ReadonlyArray<readonly [ClientMessage.ClientMessage, string]> = [
      [{ _tag: "SubscribeAll" }, `{"type":"subscribeAll"}`],
      [{ _tag: "UnsubscribeAll" }, `{"type":"unsubscribeAll"}`],
      [{ _tag: "Subscribe", taskId: id }, `{"type":"subscribe","taskId":"7f1c"}`],
      [{ _tag: "Unsubscribe", taskId: id }, `{"type":"unsubscribe","taskId":"7f1c"}`],
      [{ _tag: "SubscribeOutput", taskId: id }, `{"type":"subscribeOutput","taskId":"7f1c"}`],
      [{ _tag: "UnsubscribeOutput", taskId: id }, `{"type":"unsubscribeOutput","taskId":"7f1c"}`]
    ]
    for (const [message, frame] of frames) {
      assert.strictEqual(ClientMessage.encodeFrame(message), frame)
      assert.deepStrictEqual(ClientMessage.decodeFrame(frame), Result.succeed(message))
    }
  })

  it.prop(
    "decodes what it encodes, as text and as bytes",
    [Arbitrary.schema(ClientMessage.ClientMessage)],
    ([message]) => {
      const frame = ClientMessage.encodeFrame(message)
      assert.deepStrictEqual(ClientMessage.decodeFrame(frame), Result.succeed(message))
      assert.deepStrictEqual(ClientMessage.decodeFrame(new TextEncoder().encode(frame)), Result.succeed(message))
    }
  )

  it("throws on a value that is not a message", () => {
    // Only possible with a cast.
    for (const message of [
      { _tag: "Subscribe", taskId: "" },
      { _tag: "toString", taskId: "a" }
    ]) {
      assert.throws(() => ClientMessage.encodeFrame(message as ClientMessage.ClientMessage))
    }
  })

  it("fails with the member that is wrong", () => {
    const missing = ClientMessage.decodeFrame(`{"type":"subscribe"}`)
    assert.isTrue(Result.isFailure(missing) && missing.failure.path.join() === "taskId")
    const unknown = ClientMessage.decodeFrame(`{"type":"shout"}`)
    assert.isTrue(Result.isFailure(unknown) && unknown.failure.problem === "InvalidMessage")
  })
})
