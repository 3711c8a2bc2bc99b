/**
 * Maps the errors of the NATS client to the reasons of `LogError`.
 */
import { Full, LogError, Unavailable } from "@makima-stream/log/LogError"
import { JetStreamApiError } from "@nats-io/jetstream"

/** The server's codes for a compare and set that failed: another last id, another last sequence. */
const conflicts: ReadonlySet<number> = new Set([10_070, 10_071])

/** The server's codes for a stream that has no space: resources, storage, and limits of the stream or the account. */
const noSpace: ReadonlySet<number> = new Set([10_002, 10_023, 10_028, 10_047, 10_077, 10_110])

/** Whether a compare and set failed because of a newer message. */
export const isConflict = (error: unknown): boolean => error instanceof JetStreamApiError && conflicts.has(error.code)

/** Whether the server no longer has a consumer. */
export const isConsumerGone = (error: unknown): boolean =>
  error instanceof Error && /consumer (not found|deleted)|no responders|consumer_not_found/i.test(error.message)

/** The reason for an error of the client. */
export const toLogError = (cause: unknown): LogError => {
  if (cause instanceof LogError) return cause
  const isFull = cause instanceof JetStreamApiError && noSpace.has(cause.code)
  const error = cause instanceof Error ? cause : new Error(String(cause))
  return new LogError({ reason: isFull ? new Full({ cause: error }) : new Unavailable({ cause: error }) })
}
