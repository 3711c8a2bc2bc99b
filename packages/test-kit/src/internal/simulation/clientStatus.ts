/**
 * Judges the status of a `MeshClient` under simulation: how its attempts are counted
 * and delayed (`backoff.ts`), and that it gives up only after a fatal refusal.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import * as SubscriptionRef from "effect/SubscriptionRef"
import type * as MeshClient from "@makima-stream/core/MeshClient"
import * as Backoff from "./backoff.ts"
import type * as Reference from "./reference.ts"

export interface StatusJudge {
  /** Returns what was wrong so far. */
  readonly wrong: () => string | undefined
  /** How often the status was `Connecting`. */
  readonly connecting: () => number
  /** The program asks for a reconnect, so the next dial may come early. */
  readonly reconnectRequested: () => void
}

/** Follows the status of a client in the background. */
export const make = Effect.fnUntraced(function* (client: MeshClient.Service, reference: Reference.Reference) {
  const clock = yield* Clock.Clock
  const backoff = Backoff.make()
  let wrong: string | undefined
  let connecting = 0
  let last: MeshClient.Status = { _tag: "Idle" }
  let mayDialEarly = false

  const judge = (status: MeshClient.Status): string | undefined => {
    const before = last
    last = status
    const at = Number(clock.monotonicTimeNanosUnsafe()) / 1e6
    switch (status._tag) {
      case "Idle":
        backoff.fresh()
        return undefined
      case "Connecting":
        connecting++
        if (before._tag !== "Offline") {
          backoff.fresh()
          return undefined
        }
        return mayDialEarly ? undefined : backoff.dialled(at)
      case "Online":
        mayDialEarly = false
        backoff.opened(at)
        return undefined
      case "Offline":
        mayDialEarly = false
        return backoff.ended({
          at,
          opened: before._tag === "Online",
          attempt: status.attempt,
          reason: status.reason,
          retryInMillis: status.retryAt - clock.currentTimeMillisUnsafe(),
          heard: before._tag === "Online" && (reference.messages.get(before.epoch) ?? 0) > 0
        })
      case "Failed":
        return Backoff.isFatal(status.error.reason) ? undefined : `the client gave up: ${status.error.message}`
    }
  }

  yield* SubscriptionRef.changes(client.status).pipe(
    Stream.runForEach((status) =>
      // `heard` depends on the messages that were pulled before this.
      Effect.map(reference.update, () => {
        wrong ??= judge(status)
      })
    ),
    Effect.forkScoped
  )
  const self: StatusJudge = {
    wrong: () => wrong,
    connecting: () => connecting,
    reconnectRequested: () => {
      mayDialEarly = true
    }
  }
  return self
})
