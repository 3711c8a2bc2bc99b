import { assert, describe, it } from "@effect/vitest"
import * as Arbitrary from "effect/Arbitrary"
import * as ClientMessage from "../../../src/ClientMessage.ts"
import * as Request from "../../../src/internal/wire/encodeRequest.ts"

describe("encodeRequest", () => {
  it.prop(
    "returns the text that the schema encodes",
    [Arbitrary.schema(ClientMessage.ClientMessage)],
    ([message]) => {
      assert.strictEqual(Request.encode(message), ClientMessage.encodeFrame(message))
    },
    { arbitrary: { runs: 300 } }
  )
})
