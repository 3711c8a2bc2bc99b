/**
 * Notices a peer that has fallen silent.
 *
 * A ping is sent every `interval`. The oldest ping after which no byte arrived
 * starts the `deadline`. When that passes, the connection is abandoned. So a
 * dead peer is noticed within `interval` plus `deadline` of its last sign of
 * life. Any byte is one: a frame may take a minute to arrive.
 *
 * While reads are paused nothing can arrive, so that time does not count: the
 * deadline starts again when reads resume. No ping is sent meanwhile either: a
 * peer that has sent everything and is gone answers a write with a reset, and
 * the kernel then drops what the reader has not read. A ping that is due is sent
 * when reads resume.
 *
 * All times are of the monotonic clock. A wall clock that is set back would
 * stop the heartbeat.
 */
import * as MeshError from "@makima-stream/core/MeshError"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import type { Connection } from "./connection.ts"
import * as Failure from "./failure.ts"
import type { HeartbeatSettings } from "./options.ts"

/** The part of a connection that the heartbeat uses. */
export type HeartbeatTarget = Pick<
  Connection,
  "ping" | "lastPongAt" | "bytesRead" | "isPaused" | "resumedAt" | "abandon"
>

export interface Options extends HeartbeatSettings {
  /** Monotonic clock, in milliseconds. */
  readonly now: () => number
}

// If the process was stopped, or busy, for longer than the deadline, the answer may be in the kernel's buffer. Timers
// run before sockets are read; an immediate runs after.
const socketsRead = Effect.callback<void>((resume) => {
  const immediate = setImmediate(() => resume(Effect.void))
  return Effect.sync(() => clearImmediate(immediate))
})

/** How soon a ping that was due while reads were paused is tried again, in milliseconds. */
const pausedInterval = 1000

/** Runs until the connection is abandoned. Interrupt it when the connection ends otherwise. */
export const run = Effect.fnUntraced(function* (connection: HeartbeatTarget, options: Options) {
  const { intervalMillis: interval, deadlineMillis: deadline, onRoundTrip, now } = options
  let nextPing = now() + interval
  let lastPing: number | undefined
  let listener: Fiber.Fiber<void> | undefined
  /** The oldest ping after which no byte has arrived. */
  let unanswered: { since: number; bytesRead: number } | undefined
  while (true) {
    const wakeAt = unanswered === undefined ? nextPing : Math.min(nextPing, unanswered.since + deadline)
    yield* Effect.sleep(Math.max(1, wakeAt - now()))
    if (unanswered !== undefined && now() >= unanswered.since + deadline) yield* socketsRead
    if (lastPing !== undefined && connection.lastPongAt() >= lastPing) {
      const roundTrip = Duration.millis(connection.lastPongAt() - lastPing)
      // A pong that is read after a pause may have waited for as long as the pause.
      const isExact = connection.resumedAt() <= lastPing
      lastPing = undefined
      // In its own fiber, one at a time: a listener that never ends does not stop the heartbeat.
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
