import { assert, describe, it } from "@effect/vitest"
import type { MeshEvent } from "@makima-stream/core/MeshEvent"
import * as Log from "../../dashboard/src/log.ts"
import * as Logged from "../../dashboard/src/model/logged.ts"
import { encode } from "../../src/internal/messages.ts"
import { lost, mark, output, reconnected, said, updated } from "./events.ts"

const at = <E extends MeshEvent>(storedAt: number, event: E): Logged.Stored<E> => ({ ...event, storedAt })

describe("the transcript from the log", () => {
  it("has each entry at the time at which the log stored it, although many arrive at once", () => {
    const logged = Logged.make("a")
    logged.joined([at(10, updated("a", "running", 1)), at(20, said("a", "x")), at(30, updated("a", "done", 2))])
    const items = logged.shown()?.transcript.items.map(({ at, kind }) => [at, kind])
    assert.deepStrictEqual(items, [
      [10, "status"],
      [20, "message"],
      [30, "status"]
    ])
  })

  it("has the gaps of the log at their places, each with its span", () => {
    const logged = Logged.make("a")
    logged.joined([
      at(10, said("a", "before")),
      at(20, lost(20)),
      at(50, reconnected(30)),
      at(60, said("a", "after")),
      at(70, mark({ _tag: "LogTruncated", from: 5, to: 9 }, "a"))
    ])
    const shown = logged.shown()
    assert.deepStrictEqual(
      shown?.transcript.items.map(({ kind }) => kind),
      ["message", "gap", "message", "gap"]
    )
    const spans = shown?.transcript.items.map((item) => (item.kind === "gap" ? shown.gap(item.gapId) : undefined))
    assert.deepInclude(spans?.[1], { from: 20, to: 50, output: "missing" })
    assert.deepInclude(spans?.[3], { from: 70, to: 70 })
  })

  it("the mark with which a log begins is no gap", () => {
    const logged = Logged.make("a")
    logged.joined([at(5, mark({ _tag: "Started" })), at(10, said("a", "x"))])
    assert.deepStrictEqual(
      logged.shown()?.transcript.items.map(({ kind }) => kind),
      ["message"]
    )
  })

  it("drops the oldest entries beyond its bound, and counts them", () => {
    const logged = Logged.make("a", { maxItems: 100 })
    logged.joined(Array.from({ length: 250 }, (_, n) => at(n, said("a", `${n}`))))
    const transcript = logged.shown()?.transcript
    assert.isAtMost(transcript?.items.length ?? 0, 100)
    assert.strictEqual((transcript?.dropped ?? 0) + (transcript?.items.length ?? 0), 250)
    assert.deepInclude(transcript?.items.at(-1), { content: "249" })
  })

  it("is not shown while the log has nothing of the task or cannot be read, and says why", () => {
    const logged = Logged.make("a")
    assert.isUndefined(logged.shown())
    logged.stored([at(10, output("a", "assistant", "Hel", { isPartial: true }))])
    assert.deepInclude(logged.shown()?.transcript.pending[0], { text: "Hel" })
    logged.failed("The log of the gateway failed")
    assert.isUndefined(logged.shown())
    assert.strictEqual(logged.problem(), "The log of the gateway failed")
    logged.failed(undefined)
    assert.isDefined(logged.shown())
  })
})

describe("an event of the log", () => {
  const decoded = (event: MeshEvent) => Log.decode(encode(event, { storedAt: 1234, position: 7 }))

  it("is decoded with the time at which it was stored", () => {
    for (const event of [updated("a", "running", 1), said("a", '","storedAt":9,"position":1}')]) {
      assert.deepStrictEqual(decoded(event), { ...event, storedAt: 1234 })
    }
  })

  it("may be a mark, whose own time remains", () => {
    assert.deepInclude(decoded(lost(20)), { _tag: "Disconnected", at: 20, storedAt: 1234 })
    assert.deepInclude(decoded(reconnected(5)), { _tag: "Resync", storedAt: 1234 })
  })

  it("that cannot be decoded is a gap at its place", () => {
    assert.deepInclude(Log.decode('{"type":"taskOutput","storedAt":5,"position":1}'), { _tag: "Resync", storedAt: 5 })
  })
})
