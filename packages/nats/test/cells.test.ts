import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { leaseKey } from "@makima-stream/log/LogEngine"
import { LogError, Unavailable } from "@makima-stream/log/LogError"
import type { KV } from "@nats-io/kv"
import * as Cells from "../src/internal/cells.ts"

/** A bucket that stores every change. The cells call no other method here. */
const makeBucket = (): KV => {
  let revision = 0
  const write = () => Promise.resolve(++revision)
  return { create: write, update: write } as Partial<KV> as KV
}

const value = (term: number, owner: string) => JSON.stringify({ term, owner, ttl: 1000 })

describe("the cell of a lease", () => {
  it.effect("reports a new holder once, and a renewal never", () =>
    Effect.gen(function* () {
      const reported: Array<string> = []
      const cells = Cells.make(makeBucket(), (name) => Effect.sync(() => void reported.push(name)))
      for (const term of [1, 1, 1, 2]) yield* cells.set(leaseKey("relay"), value(term, "one"), 0)
      assert.deepStrictEqual(reported, ["relay", "relay"])
    })
  )

  it.effect("reports a new holder again if the report failed, because older holders could append until then", () =>
    Effect.gen(function* () {
      let reports = 0
      const cells = Cells.make(makeBucket(), () =>
        Effect.suspend(() =>
          ++reports > 1
            ? Effect.void
            : Effect.fail(new LogError({ reason: new Unavailable({ cause: new Error("timeout") }) }))
        )
      )
      const set = cells.set(leaseKey("relay"), value(1, "one"), 0)
      yield* Effect.flip(set)
      yield* set
      yield* set
      assert.strictEqual(reports, 2)
    })
  )
})
