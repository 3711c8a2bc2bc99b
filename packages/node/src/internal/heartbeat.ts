/**
 * Notices a peer that has fallen silent.
 *
 * A ping leaves every `interval`. The oldest ping that nothing has followed
 * starts the `deadline`; when that passes, the connection is abandoned. So a
 * dead peer is noticed within `interval` plus `deadline` of its last sign of
 * life, which is any byte at all: a frame that takes a minute to arrive is life.
 *
 * While reads are held back nothing can be heard, so that time does not count:
 * the deadline starts anew when they are taken up again. Nothing is written
 * either: a peer that has said all it had to say and gone answers a write by a
 * reset, and the kernel then drops what it still holds for the reader. The ping
 * that is due leaves when reads are taken up.
 */
import * as MeshError from "@makima-stream/core/MeshError"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import type { Connection } from "./connection.ts"
import * as Failure from "./failure.ts"

/** What of a connection the heartbeat looks at. */
export type Beating = Pick<Connection, "ping" | "lastPongAt" | "bytesRead" | "isPaused" | "resumedAt" | "abandon">

export interface Options {
  /** In milliseconds. */
  readonly interval: number
  /** In milliseconds. */
  readonly deadline: number
  readonly onRoundTrip: ((roundTrip: Duration.Duration) => Effect.Effect<void>) | undefined
  /** Monotonic clock, in milliseconds: a wall clock that is set back would stop the heart. */
  readonly now: () => number
}

// A process that was stopped, or busy, for longer than the deadline has the answer in its kernel's buffer. Timers run
// before sockets are read, and this runs after.
const socketsRead = Effect.callback<void>((resume) => {
  const immediate = setImmediate(() => resume(Effect.void))
  return Effect.sync(() => clearImmediate(immediate))
})

/** How soon a ping follows that was due while reads were held back, in milliseconds. */
const pausedInterval = 1000

/** Runs until the connection is abandoned. Interrupt it when the connection ends otherwise. */
export const run = Effect.fnUntraced(function* (connection: Beating, options: Options) {
  const { interval, deadline, onRoundTrip, now } = options
  let nextPing = now() + interval
  let lastPing: number | undefined
  let listener: Fiber.Fiber<void> | undefined
  /** The oldest ping that nothing has followed. */
  let unanswered: { since: number; bytesRead: number } | undefined
  while (true) {
    const wakeAt = unanswered === undefined ? nextPing : Math.min(nextPing, unanswered.since + deadline)
    yield* Effect.sleep(Math.max(1, wakeAt - now()))
    if (unanswered !== undefined && now() >= unanswered.since + deadline) yield* socketsRead
    if (lastPing !== undefined && connection.lastPongAt() >= lastPing) {
      const roundTrip = Duration.millis(connection.lastPongAt() - lastPing)
      // What was read after a pause may have been there for as long as that.
      const isExact = connection.resumedAt() <= lastPing
      lastPing = undefined
      // In a fiber of its own, and no second one beside it: a listener that hangs does not stop the heart.
      if (onRoundTrip !== undefined && isExact && (listener === undefined || listener.pollUnsafe() !== undefined)) {
        listener = yield* Effect.forkChild(Effect.ignoreCause(Effect.suspend(() => onRoundTrip(roundTrip))), {
          startImmediately: true
        })
      }
    }
    if (unanswered !== undefined) {
      if (connection.bytesRead() !== unanswered.bytesRead) {
        unanswered = undefined
      } else if (connection.isPaused()) {
        unanswered.since = now()
      } else if (connection.resumedAt() > unanswered.since) {
        unanswered.since = connection.resumedAt()
      } else if (now() >= unanswered.since + deadline) {
        return connection.abandon(
          Failure.readFailed(new MeshError.HeartbeatTimeout({ deadlineMillis: Math.round(deadline) }))
        )
      }
    }
    if (now() >= nextPing && connection.isPaused()) {
      nextPing = now() + Math.min(interval, pausedInterval)
    } else if (now() >= nextPing) {
      lastPing = now()
      nextPing = lastPing + interval
      unanswered ??= { since: lastPing, bytesRead: connection.bytesRead() }
      connection.ping()
    }
  }
})
