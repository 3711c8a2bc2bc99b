import { assert, describe, it } from "@effect/vitest"
import { readFileSync } from "node:fs"
import { unsupported } from "../../src/internal/supported.ts"

describe("unsupported", () => {
  it("names the needed and the given version of a Node that is too old", () => {
    const message = "makima-stream needs Node 22.19 or newer. This is Node 20.20.2"
    assert.strictEqual(unsupported("20.20.2"), message)
    assert.include(unsupported("22.18.0"), "22.18.0")
  })

  it("accepts the oldest supported version and newer ones", () => {
    const { engines } = JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8")) as {
      readonly engines: { readonly node: string }
    }
    const oldest = engines.node.replace(">=", "")
    assert.deepStrictEqual([oldest, "22.20.1", "24.0.0", "26.10.0"].map(unsupported), Array(4).fill(undefined))
  })
})
