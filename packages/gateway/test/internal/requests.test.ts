import { assert, describe, it } from "@effect/vitest"
import type { ClientMessage } from "@makima-stream/core/ClientMessage"
import * as TaskId from "@makima-stream/core/TaskId"
import { acknowledgementOf } from "../../src/internal/requests.ts"

const taskId = TaskId.make("a")

describe("acknowledgementOf", () => {
  const cases: ReadonlyArray<readonly [ClientMessage, string]> = [
    [{ _tag: "SubscribeAll" }, "SubscribedAll"],
    [{ _tag: "UnsubscribeAll" }, "UnsubscribedAll"],
    [{ _tag: "Subscribe", taskId }, "Subscribed"],
    [{ _tag: "Unsubscribe", taskId }, "Unsubscribed"],
    [{ _tag: "SubscribeOutput", taskId }, "OutputSubscribed"],
    [{ _tag: "UnsubscribeOutput", taskId }, "OutputUnsubscribed"]
  ]
  for (const [request, tag] of cases) {
    it(`answers ${request._tag} with ${tag}, for the same task`, () => {
      const acknowledgement = acknowledgementOf(request)
      assert.strictEqual(acknowledgement._tag, tag)
      assert.strictEqual("taskId" in acknowledgement, "taskId" in request)
    })
  }
})
