import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Load from "../scripts/load.ts"

describe("the load script", () => {
  it.live("sees every client complete, also beside clients that stop reading", () =>
    Effect.gen(function* () {
      const options = { clients: 12, events: 400, rate: Infinity, stalled: 0 }
      const bare = yield* Load.run("bare", options)
      assert.strictEqual(bare.complete, 12)
      const gateway = yield* Load.run("gateway", { ...options, stalled: 4 })
      assert.strictEqual(gateway.complete, 8)
      for (const { microsPerDelivery, p99Millis, rssMiB } of [bare, gateway]) {
        assert.isAbove(microsPerDelivery, 0)
        assert.isAbove(p99Millis, 0)
        assert.isAbove(rssMiB, 0)
      }
    })
  )

  it.live("does not count a client as complete that misses an event", () =>
    Effect.gen(function* () {
      const { complete } = yield* Load.run("bare", { clients: 3, events: 50, rate: Infinity, stalled: 0, skip: 20 })
      assert.strictEqual(complete, 0)
    })
  )
})
