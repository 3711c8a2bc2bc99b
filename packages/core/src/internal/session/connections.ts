/**
 * The types of the option `connections`, which makes a feed of several connections.
 * Types only, so that a program with one connection does not load the merge.
 */
import type * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type * as Socket from "effect/socket/Socket"
import type * as MeshError from "../../MeshError.ts"
import type { Connection, Options } from "./connection.ts"
import type { Subscriptions } from "./subscriptions.ts"

/**
 * The state of one of several connections. Times are wall-clock milliseconds
 * since 1970.
 *
 * **Details**
 *
 * - `Connecting`: a dial is in progress, after `attempt` consecutive failures.
 * - `Online`: connected. `epoch` counts its own connections, `since` is when this
 *   one opened. `isAligned` says whether it can replace the others without a gap.
 * - `Offline`: not connected because of `reason`. The next dial is at `retryAt`.
 * - `Failed`: it has given up because of `error`. It is dialled again after 5 minutes.
 *   The feed fails when all connections have given up.
 *
 * @category models
 * @since 0.2.0
 */
export type ConnectionStatus =
  | { readonly _tag: "Connecting"; readonly attempt: number }
  | { readonly _tag: "Online"; readonly epoch: number; readonly since: number; readonly isAligned: boolean }
  | {
      readonly _tag: "Offline"
      readonly attempt: number
      readonly reason: MeshError.ConnectionReason
      readonly retryAt: number
    }
  | { readonly _tag: "Failed"; readonly error: MeshError.MeshError }

export interface MergedOptions<Extra> extends Options<Extra> {
  /** Called when the state of a connection has changed. */
  readonly onStatus?: ((connections: ReadonlyArray<ConnectionStatus>) => Effect.Effect<void>) | undefined
}

/** Several connections of one feed, with their tables of subscriptions. */
export interface Group {
  /** The table of the feed. A key that is wanted in it is requested on each connection. */
  readonly subscriptions: Subscriptions
  /** The same as `Connection.make`. For one loop at a time. */
  readonly make: <Extra = never>(
    options: MergedOptions<Extra>
  ) => Effect.Effect<Connection<Extra>, never, Socket.Socket | Scope.Scope>
}

/**
 * The value of the option `connections`. `Merge.connections` makes it.
 *
 * @category options
 * @since 0.2.0
 */
export interface Connections {
  /** What the connections of one feed share. Opaque. */
  readonly group: (ackTimeout: number) => Group
}
