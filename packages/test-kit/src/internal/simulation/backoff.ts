/**
 * Checks the attempts that a program reports, and the times of its dials, against
 * the rules of the default backoff.
 *
 * The n-th consecutive attempt waits between half of `min(30 s, 2 s * 2^(n-1))` and
 * all of it, after a `Retry-After` if there is one. Only a message and five seconds
 * of uptime reset the count. Times are monotonic.
 */
import type { ConnectionReason } from "@makima-stream/core/MeshError"

const stableAfter = 5000

/** The shortest time between two requested reconnects. */
const reconnectFloor = 1000

/** Whether a reason ends a program that has the default policy. */
export const isFatal = (reason: { readonly _tag: string }): boolean =>
  reason._tag === "HandshakeRejected" && "status" in reason && reason.status === 403

export interface Judge {
  /** A connection opened. */
  readonly opened: (at: number) => void
  /** The program started again, with a new count of attempts. */
  readonly fresh: () => void
  /** An end or a failed dial was reported. Returns what is wrong with it. */
  readonly ended: (report: {
    readonly at: number
    readonly opened: boolean
    readonly attempt: number
    readonly reason: ConnectionReason
    readonly retryInMillis: number | undefined
    /** Whether a message was pulled on the connection. */
    readonly heard: boolean
  }) => string | undefined
  /** Returns what is wrong with a dial at this time. */
  readonly dialled: (at: number) => string | undefined
}

/** Delays are fractions of milliseconds, and sums of those are as exact as floating point is. */
const tolerance = 1e-6

export const make = (): Judge => {
  let attempt = 0
  let step = 0
  let openedAt = 0
  let dialAt = 0

  return {
    opened(at) {
      openedAt = at
    },
    fresh() {
      attempt = 0
      step = 0
      dialAt = 0
    },
    ended(report) {
      if (report.opened && report.heard && report.at - openedAt >= stableAfter) {
        attempt = 0
        step = 0
      }
      attempt++
      if (report.attempt !== attempt) {
        return `attempt ${report.attempt} was reported instead of ${attempt}, counted from the last stable connection`
      }
      const wait = report.retryInMillis
      if (isFatal(report.reason)) {
        return wait === undefined ? undefined : `the program retries after ${report.reason.message}`
      }
      if (wait === undefined) return `the program gave up on ${report.reason._tag}`
      dialAt = report.at + wait
      if (report.reason._tag === "ReconnectRequested") {
        return wait <= reconnectFloor ? undefined : `a reconnect that was requested waits ${wait} ms`
      }
      step++
      const retryAfter = report.reason._tag === "HandshakeRejected" ? (report.reason.retryAfterMillis ?? 0) : 0
      const cap = Math.min(30_000, 2000 * 2 ** (step - 1))
      return wait < cap / 2 + retryAfter - tolerance || wait > cap + retryAfter + tolerance
        ? `attempt ${attempt} waits ${wait} ms, which is not between half of ${cap} ms and the whole of it${
            retryAfter === 0 ? "" : `, after ${retryAfter} ms`
          }`
        : undefined
    },
    dialled: (at) =>
      at < dialAt - tolerance ? `a dial was made at ${at} ms, but not allowed before ${dialAt} ms` : undefined
  }
}
