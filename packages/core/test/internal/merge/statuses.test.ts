import { assert, describe, it } from "@effect/vitest"
import { Statuses } from "../../../src/internal/merge/statuses.ts"
import { ConnectionLost } from "../../../src/MeshError.ts"

const online = { _tag: "Online", epoch: 1, since: 5 } as const

describe("the statuses of several connections", () => {
  it("shows which connections are aligned, and counts them", () => {
    const statuses = new Statuses(2)
    statuses.connected(0, { _tag: "Connected", epoch: 1, at: 5 })
    statuses.dialled(1, 3)
    const first = statuses.refresh(() => true)
    assert.deepStrictEqual(first, {
      statuses: [
        { ...online, isAligned: true },
        { _tag: "Connecting", attempt: 3 }
      ],
      aligned: 1
    })
    assert.deepStrictEqual(statuses.refresh(() => false).statuses[0], { ...online, isAligned: false })
    // A status that was returned does not change.
    assert.deepStrictEqual(first.statuses[0], { ...online, isAligned: true })
  })

  it("shows when a lost connection is dialled again, if it is", () => {
    const statuses = new Statuses(1)
    const reason = new ConnectionLost()
    const lost = { _tag: "Disconnected", epoch: 1, opened: true, attempt: 1, reason, at: 10 } as const
    statuses.connected(0, { _tag: "Connected", epoch: 1, at: 5 })
    statuses.disconnected(0, lost)
    assert.strictEqual(statuses.refresh(() => false).statuses[0]?._tag, "Online")
    statuses.disconnected(0, { ...lost, retryInMillis: 2000 })
    assert.deepStrictEqual(statuses.refresh(() => false).statuses, [
      { _tag: "Offline", attempt: 1, reason, retryAt: 2010 }
    ])
  })
})
