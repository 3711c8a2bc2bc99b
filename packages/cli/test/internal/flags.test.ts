import { assert, describe, it } from "@effect/vitest"
import * as Flags from "../../src/internal/flags.ts"
import * as Line from "../../src/internal/line.ts"
import * as Output from "../../src/internal/output.ts"
import { a, said } from "../support/mesh.ts"

describe("parseDuration", () => {
  it("reads short and long units, alone and together", () => {
    const cases: ReadonlyArray<readonly [string, number]> = [
      ["250ms", 250],
      ["90s", 90_000],
      ["1.5h", 5_400_000],
      ["1h30m", 5_400_000],
      ["30 minutes", 1_800_000],
      ["1 day", 86_400_000],
      ["0s", 0]
    ]
    for (const [text, millis] of cases) assert.strictEqual(Flags.parseDuration(text), millis, text)
  })

  it("refuses text that is not a duration", () => {
    for (const text of ["", "5", "soon", "5 parsecs", "-5s", "1h later", "99999999999999999d"]) {
      assert.throws(() => Flags.parseDuration(text), /./, text)
    }
  })
})

describe("useColor", () => {
  it("lets the flag decide, then NO_COLOR, FORCE_COLOR, TERM and the terminal", () => {
    assert.isTrue(Output.useColor("always", { NO_COLOR: "1", TERM: "dumb" }, false))
    assert.isFalse(Output.useColor("never", { FORCE_COLOR: "1" }, true))
    assert.isFalse(Output.useColor("auto", { NO_COLOR: "1", FORCE_COLOR: "1" }, true))
    assert.isTrue(Output.useColor("auto", { NO_COLOR: "", FORCE_COLOR: "1", TERM: "dumb" }, false))
    assert.isFalse(Output.useColor("auto", { FORCE_COLOR: "0" }, true))
    assert.isFalse(Output.useColor("auto", { TERM: "dumb" }, true))
    assert.isTrue(Output.useColor("auto", { TERM: "xterm" }, true))
    assert.isFalse(Output.useColor("auto", {}, false))
  })
})

describe("template", () => {
  it("fills in members, the time, escapes and braces", () => {
    const render = Line.template("{at}\\t{{{taskId}}} {nope}{messageType}: {content}")
    assert.strictEqual(render(said(a, "hi\u001b[31m"), "noon"), "noon\t{task-a} assistant: hi")
  })

  it("refuses a brace without its partner", () => {
    for (const text of ["{a", "a}", "{}", "{a b}"]) assert.throws(() => Line.template(text), /brace|template/, text)
  })
})
