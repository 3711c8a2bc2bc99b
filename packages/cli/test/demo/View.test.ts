import { assert, describe, it } from "@effect/vitest"
import * as View from "../../src/demo/View.ts"

const tty = { isTTY: true, columns: 100, rows: 30 }

describe("View.terminal", () => {
  it("is absent if the output is no terminal or a terminal that cannot move its cursor", () => {
    assert.isUndefined(View.terminal({}, {}))
    assert.isUndefined(View.terminal(tty, { TERM: "dumb" }))
    assert.isDefined(View.terminal(tty, { TERM: "xterm" }))
  })

  it("has no colours with a NO_COLOR that is not empty", () => {
    assert.isFalse(View.terminal(tty, { NO_COLOR: "1" })?.colour)
    assert.isTrue(View.terminal(tty, { NO_COLOR: "" })?.colour)
    assert.isTrue(View.terminal(tty, {})?.colour)
  })

  it("has 80 columns and 24 rows if the terminal does not report its size", () => {
    assert.deepStrictEqual(View.terminal({ isTTY: true, columns: 0 }, {}), { columns: 80, rows: 24, colour: true })
  })
})
