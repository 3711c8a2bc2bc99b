import { assert, describe, it } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Result from "effect/Result"
import * as Options from "../../src/internal/options.ts"

const settings = (options: Options.ConnectionOptions) => Result.getOrThrow(Options.normalise(options))

describe("options", () => {
  it("uses the default for undefined", () => {
    const defaults = settings({})
    assert.deepStrictEqual(
      settings({
        userAgent: undefined,
        headers: undefined,
        proxy: undefined,
        agent: undefined,
        connectTimeout: undefined,
        heartbeat: undefined,
        maxFrameBytes: undefined,
        highWaterBytes: undefined,
        tls: undefined,
        compression: undefined
      }),
      defaults
    )
    assert.deepStrictEqual(settings({ heartbeat: { interval: undefined, deadline: undefined } }), defaults)
    assert.strictEqual(defaults.connectTimeoutMillis, 10_000)
    assert.deepInclude(defaults.heartbeat, { intervalMillis: 15_000, deadlineMillis: 10_000 })
  })

  for (const nonsense of [0, -1, Number.NaN, "-5 seconds", Duration.zero] as const) {
    it(`takes a duration of ${String(nonsense)} for the default`, () => {
      assert.deepStrictEqual(
        settings({ connectTimeout: nonsense, heartbeat: { interval: nonsense, deadline: nonsense } }),
        settings({})
      )
    })
  }

  it("sends at most one ping in 10 milliseconds", () => {
    assert.strictEqual(settings({ heartbeat: { interval: 0.001 } }).heartbeat?.intervalMillis, 10)
    assert.strictEqual(settings({ heartbeat: { interval: 20 } }).heartbeat?.intervalMillis, 20)
  })

  it("turns the heartbeat off with false", () => {
    assert.isUndefined(settings({ heartbeat: false }).heartbeat)
  })

  it("takes whole bytes, at least one", () => {
    for (const [input, expected] of [
      [0.1 * 1024 * 1024, 104_857],
      [0.5, 1],
      [0, 1],
      [-1, 1],
      [Number.NaN, 1]
    ] as const) {
      assert.strictEqual(settings({ maxFrameBytes: input }).maxFrameBytes, expected)
      assert.strictEqual(settings({ highWaterBytes: input }).highWaterBytes, expected)
    }
  })
})
