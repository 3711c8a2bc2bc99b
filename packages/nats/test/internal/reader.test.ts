import { assert, describe, it } from "@effect/vitest"
import { holes } from "../../src/internal/reader.ts"

const marks = (
  positions: ReadonlyArray<number>,
  page: { readonly after: number; readonly upTo: number; readonly first: number; readonly isAll: boolean }
) =>
  holes(positions, page, 7).map(({ at, event, position }) => {
    assert.strictEqual(at, 7)
    if (event._tag !== "Resync" || event.reason._tag !== "LogTruncated") throw new Error("not a mark")
    assert.strictEqual(position, event.reason.to)
    return [event.reason.from, event.reason.to]
  })

describe("holes", () => {
  it("marks nothing if every position was read", () => {
    assert.deepStrictEqual(marks([3, 4, 5], { after: 2, upTo: 5, first: 3, isAll: true }), [])
  })

  it("marks what retention removed before the first entry, and up to the end of the page", () => {
    assert.deepStrictEqual(marks([6, 7], { after: 2, upTo: 7, first: 6, isAll: true }), [[3, 5]])
    assert.deepStrictEqual(marks([], { after: 2, upTo: 9, first: 8, isAll: true }), [[3, 7]])
  })

  it("marks a hole between two positions, also if the stream has lost nothing else", () => {
    assert.deepStrictEqual(marks([3, 6], { after: 2, upTo: 6, first: 1, isAll: true }), [[4, 5]])
  })

  it("marks what may have been removed between two messages of a filter", () => {
    assert.deepStrictEqual(marks([3, 9], { after: 2, upTo: 9, first: 7, isAll: false }), [[4, 6]])
  })

  it("marks nothing between the messages of a filter if nothing was removed after the first of them", () => {
    assert.deepStrictEqual(marks([3, 9], { after: 2, upTo: 9, first: 1, isAll: false }), [])
  })
})
