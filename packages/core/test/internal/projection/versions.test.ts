import { assert, describe, it } from "@effect/vitest"
import type { ResyncReason } from "../../../src/MeshEvent.ts"
import * as Versions from "../../../src/internal/projection/versions.ts"

/** For each version, whether it is newer. `"|"` marks a new connection. */
const judge = (steps: ReadonlyArray<number | "|">, restartAfter?: number): ReadonlyArray<boolean> => {
  let known: Versions.Versions | undefined
  let connections = 0
  const verdicts: Array<boolean> = []
  for (const step of steps) {
    if (step === "|") {
      connections++
      continue
    }
    const after = Versions.next(known, step, connections, restartAfter)
    verdicts.push(Versions.isNewer(known, after))
    known = after
  }
  return verdicts
}

describe("versions of a task", () => {
  it("the first version is newer, and each higher one", () => {
    assert.deepStrictEqual(judge([5, 6, 9]), [true, true, true])
  })

  it("an equal or lower version is not newer on the same connection, however often it arrives", () => {
    assert.deepStrictEqual(judge([5, 5, 1, 2, 3, 4, 5]), [true, false, false, false, false, false, false])
  })

  it("lower versions after a reconnect are a new count from the third consecutive one on", () => {
    assert.deepStrictEqual(judge([1200, "|", 1001, 1002, 1003, 1004]), [true, false, false, true, true])
  })

  it("late messages that do not grow among themselves start no new count", () => {
    assert.deepStrictEqual(judge([1200, "|", 1001, 1001, 1000, 1001, 1000]), [true, false, false, false, false, false])
    assert.deepStrictEqual(judge([1200, "|", 1001, 1002, 900, 901, 902]), [true, false, false, false, false, true])
  })

  it("a version of the old count after the reconnect shows that the server was not restored", () => {
    assert.deepStrictEqual(judge([1200, "|", 1001, 1002, 1200, 1003, 1004, 1005]), [
      true,
      false,
      false,
      false,
      false,
      false,
      false
    ])
  })

  it("candidates are counted across a further reconnect", () => {
    assert.deepStrictEqual(judge([1200, "|", 1001, "|", 1002, 1003]), [true, false, false, true])
  })

  it("assumes a restored server after restartAfter lower versions, and never if it is `Infinity`", () => {
    assert.deepStrictEqual(judge([9, "|", 1, 2], 1), [true, true, true])
    assert.deepStrictEqual(judge([9, "|", 1, 2, 3, 4, 5], Infinity), [true, false, false, false, false, false])
  })

  it("only the marks of a new connection can precede a new count", () => {
    const marks = (
      [
        { _tag: "Started" },
        { _tag: "Reconnected", downMillis: 1 },
        { _tag: "JoinedLate" },
        { _tag: "Subscribed", kind: "updates" },
        { _tag: "Overflow", dropped: 1 },
        { _tag: "VersionGap", lastVersion: 1, version: 3 }
      ] satisfies ReadonlyArray<ResyncReason>
    ).filter((reason) => Versions.isNewConnection({ _tag: "Resync", epoch: 1, reason }))
    assert.deepStrictEqual(
      marks.map(({ _tag }) => _tag),
      ["Started", "Reconnected", "JoinedLate"]
    )
  })
})
