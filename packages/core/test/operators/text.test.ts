import { assert, describe, it } from "@effect/vitest"
import * as MeshStream from "@makima-stream/core/MeshStream"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { a, at, b, connected, events, output, piece, place, resync, through, updated } from "../support/events.ts"

describe("text", () => {
  it.effect("emits what the assistant messages say, and nothing else", () =>
    Effect.gen(function* () {
      const input = [
        connected(),
        output(a, "one"),
        output(a, "tool", { messageType: "tool_use" }),
        updated(a),
        resync(),
        output(b, "", { isPartial: false }),
        output(b, "two")
      ]
      assert.deepStrictEqual(yield* through(input, MeshStream.text), ["one", "", "two"])
      assert.deepStrictEqual(yield* through(input, MeshStream.text({ keep: "resync" })), ["one", resync(), "", "two"])
    })
  )

  it.effect("accepts other message types", () =>
    Effect.gen(function* () {
      const input = [output(a, "x"), output(a, "y", { messageType: "result" }), output(a, "z", { messageType: "raw" })]
      assert.deepStrictEqual(yield* through(input, MeshStream.text({ messageType: "raw" })), ["z"])
      assert.deepStrictEqual(
        yield* Stream.runCollect(MeshStream.text(Stream.fromArray(input), { messageType: ["raw", "result"] })),
        ["y", "z"]
      )
    })
  )

  it.effect("drops pieces, but not what joinPartials left unfinished", () =>
    Effect.gen(function* () {
      const input = [piece(a, "Hel"), piece(a, "lo"), output(a, "Hello"), piece(a, "Go")]
      assert.deepStrictEqual(yield* through(input, MeshStream.text), ["Hello"])
      assert.deepStrictEqual(yield* through(input, (feed) => feed.pipe(MeshStream.joinPartials, MeshStream.text)), [
        "Hello",
        "Go"
      ])
    })
  )

  it.effect.prop(
    "a Resync at any position is kept there or dropped, and changes nothing",
    [events, place],
    ([events, place]) =>
      Effect.gen(function* () {
        const index = at(place, events)
        const input = [...events.slice(0, index), resync(b), ...events.slice(index)]
        assert.deepStrictEqual(yield* through(input, MeshStream.text), yield* through(events, MeshStream.text))
        const keep = MeshStream.text({ keep: "resync" })
        assert.deepStrictEqual(yield* through(input, keep), [
          ...(yield* through(events.slice(0, index), keep)),
          resync(b),
          ...(yield* through(events.slice(index), keep))
        ])
      })
  )
})
