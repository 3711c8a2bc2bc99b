/**
 * Detects a peer that has become silent.
 *
 * A ping is sent every `interval`. The oldest ping after which no byte arrived starts
 * the `deadline`. When the deadline passes, the connection is abandoned. So a dead peer
 * is detected within `interval` plus `deadline` after its last byte. Any byte counts,
 * because a frame may take a minute to arrive.
 *
 * While reads are paused nothing can arrive, so that time does not count: the deadline
 * starts again when reads resume. No ping is sent meanwhile either: if the peer has sent
 * everything and closed, its system answers a write with a reset, and the kernel then
 * drops unread data. A ping that is due is sent when reads resume.
 *
 * All times are monotonic. A wall clock that is set back would stop the heartbeat.
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

// If the process was stopped or busy for longer than the deadline, the answer may be in the kernel's buffer. Timers run
// before sockets are read; an immediate runs afterwards.
const socketsRead = Effect.callback<void>((resume) => {
  const immediate = setImmediate(() => resume(Effect.void))
  return Effect.sync(() => clearImmediate(immediate))
})

/** The time after which a ping that was due while reads were paused is tried again, in milliseconds. */
const pausedInterval = 1000

/** Runs until the connection is abandoned. Must be interrupted when the connection ends in another way. */
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
      // A pong that is read after a pause may have waited during the pause.
      const isExact = connection.resumedAt() <= lastPing
      lastPing = undefined
      // In a separate fiber, one at a time, so that a listener that never ends does not stop the heartbeat.
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
