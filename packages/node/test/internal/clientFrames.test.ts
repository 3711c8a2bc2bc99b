import { assert, describe, it } from "@effect/vitest"
import type { Writable } from "node:stream"
import * as Ws from "ws"
import * as ClientFrames from "../../src/internal/clientFrames.ts"

// The types of `ws` do not declare it.
const { Receiver } = Ws as unknown as { readonly Receiver: new (options: object) => Writable }

/** The messages that a server reads from these bytes. */
const read = (bytes: Buffer): ReadonlyArray<string | Buffer> => {
  const messages: Array<string | Buffer> = []
  const receiver = new Receiver({ isServer: true, allowSynchronousEvents: true })
  receiver.on("message", (data: Buffer, isBinary: boolean) => void messages.push(isBinary ? data : data.toString()))
  receiver.write(bytes)
  return messages
}

describe("clientFrames", () => {
  it("encodes texts of all sizes as ws reads them", () => {
    const texts = [0, 1, 3, 125, 126, 127, 65_535, 65_536, 70_001].map((size) => "a".repeat(size))
    assert.deepStrictEqual(read(ClientFrames.encode([...texts, "é→😀", ""])), [...texts, "é→😀", ""])
  })

  it("encodes bytes as binary frames", () => {
    assert.deepStrictEqual(read(ClientFrames.encode([new Uint8Array([1, 2, 255]), "a"])), [Buffer.of(1, 2, 255), "a"])
  })

  it("masks each frame with its own mask", () => {
    const bytes = ClientFrames.encode(["aaaa", "aaaa"])
    assert.strictEqual(bytes.length, 20)
    assert.notDeepEqual(bytes.subarray(2, 6), bytes.subarray(12, 16))
    assert.notDeepEqual(bytes.subarray(6, 10), Buffer.from("aaaa"))
  })
})
