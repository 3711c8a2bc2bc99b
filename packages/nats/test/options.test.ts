import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as JetStreamLog from "@makima-stream/nats/JetStreamLog"

describe("the options of a log on JetStream", () => {
  const cases: ReadonlyArray<readonly [JetStreamLog.Options, string]> = [
    [{ feed: "" }, 'The option "feed" must be a non-empty string'],
    [{ retryFor: 0 }, 'The option "retryFor" must be a time above 0, not 0 ms'],
    [{ retention: { maxEntries: 0.5 } }, 'The option "maxEntries" must be an integer of at least 1, not 0.5']
  ]
  for (const [options, message] of cases) {
    it.effect(`are refused before a server is reached: ${message}`, () =>
      Effect.gen(function* () {
        const error = yield* Effect.flip(JetStreamLog.make(options))
        assert.strictEqual(error.reason._tag, "InvalidOption")
        assert.strictEqual(error.message, message)
      }).pipe(Effect.scoped)
    )
  }
})
