import { describe } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { LogLaws } from "@makima-stream/test-kit/vitest"
import * as JetStreamLog from "@makima-stream/nats/JetStreamLog"
import { Faults } from "../src/internal/faults.ts"
import * as Server from "./support/server.ts"

const shared = Server.share()

/** Each law has a feed of its own. */
const harness = Layer.effect(
  LogLaws.Harness,
  Effect.gen(function* () {
    const { feed, servers } = yield* shared
    const open: LogLaws.Harness["Service"]["open"] = (options) =>
      JetStreamLog.make({ servers, feed, retention: options?.retention })
    const steps: Readonly<Record<string, number>> = {
      "before the first message": 0,
      "after the first message": 1,
      "in the middle": 9,
      "before the last message": 19
    }
    return {
      open,
      advance: (duration) => Effect.sleep(duration),
      crash: {
        steps: Object.keys(steps),
        open: (step) => Effect.provideService(open(), Faults, { messagesLeft: steps[step] })
      }
    }
  })
)

if (Server.isInstalled) {
  LogLaws.suite("JetStreamLog", harness, { cannot: { damage: "The server checks what it stores." } })
} else {
  describe.skip("JetStreamLog (nats-server is not installed)", () => undefined)
}
