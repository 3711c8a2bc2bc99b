/** The public state of the client's connection, and how events change it. */
import type * as MeshError from "../../MeshError.ts"
import type { MeshEvent } from "../../MeshEvent.ts"
import type { ConnectionStatus } from "../session/connections.ts"
import type { Confirmed } from "./openings.ts"

/**
 * The state of the client's connection. Times are wall-clock milliseconds since
 * 1970.
 *
 * **Details**
 *
 * - `Idle`: there is no consumer, or the client was closed, or every stream ended
 *   with a defect of the program, such as a `classify` that throws.
 * - `Connecting`: a dial is in progress, after `attempt` consecutive failures.
 * - `Online`: connected. `epoch` counts the connections, `since` is when this one
 *   opened.
 * - `Offline`: not connected because of `reason`. The next dial is at `retryAt`.
 * - `Failed`: the client gave up with `error`. The next consumer dials again.
 *
 * @category models
 * @since 0.1.0
 */
export type Status = State & {
  /** The state of each connection, if the client has several: see `Merge.connections`. */
  readonly connections?: ReadonlyArray<ConnectionStatus> | undefined
}

type State =
  | { readonly _tag: "Idle" }
  | { readonly _tag: "Connecting"; readonly attempt: number }
  | { readonly _tag: "Online"; readonly epoch: number; readonly since: number }
  | {
      readonly _tag: "Offline"
      readonly attempt: number
      readonly reason: MeshError.ConnectionReason
      readonly retryAt: number
    }
  | { readonly _tag: "Failed"; readonly error: MeshError.MeshError }

/** The status after an event; `undefined` if it does not change. A final `Disconnected` changes nothing: the error follows. */
export const statusAfter = (
  event: MeshEvent | Confirmed
): Extract<Status, { readonly _tag: "Online" | "Offline" }> | undefined => {
  if (event._tag === "Connected") return { _tag: "Online", epoch: event.epoch, since: event.at }
  if (event._tag !== "Disconnected" || event.retryInMillis === undefined) return undefined
  return { _tag: "Offline", attempt: event.attempt, reason: event.reason, retryAt: event.at + event.retryInMillis }
}
