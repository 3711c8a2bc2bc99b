import { assert, describe, it } from "@effect/vitest"
import * as Svg from "../../src/docs/svg.ts"

const esc = String.fromCharCode(27)

describe("Svg", () => {
  it("splits a line at its colours, and removes other escape sequences", () => {
    const found = Svg.pieces(`a${esc}[31mb${esc}[0m${esc}[2Kc`)
    assert.deepStrictEqual(
      found.map(({ text }) => text),
      ["a", "b", "c"]
    )
    assert.strictEqual(found[0]?.colour, found[2]?.colour)
    assert.notStrictEqual(found[0]?.colour, found[1]?.colour)
  })

  it("escapes what would be markup", () => {
    const svg = Svg.render(["<a> & b"], { columns: 10, title: "t" })
    assert.include(svg, "&lt;a&gt; &amp; b")
  })

  it("places each piece at its column", () => {
    const svg = Svg.render([`ab${esc}[31mcd`], { columns: 4, title: "t" })
    const places = [...svg.matchAll(/<text x="([\d.]+)"/g)].map((match) => Number(match[1]))
    assert.strictEqual(places.length, 2)
    assert.approximately((places[1] ?? 0) - (places[0] ?? 0), 2 * 8.4, 0.11)
  })
})
