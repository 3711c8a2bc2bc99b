/**
 * The verbs that `MockMeshServer` and `ScriptedMesh` have in common: the actions
 * and faults that a test can cause on a server, over real sockets or in memory.
 *
 * A test that only uses these verbs runs over either server.
 *
 * @since 0.2.0
 */
import type * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import type { ClientMessage } from "@makima-stream/core/ClientMessage"
import type { DecodeError } from "@makima-stream/core/DecodeError"
import type { Interest } from "@makima-stream/core/Interest"
import type { ServerMessage } from "@makima-stream/core/ServerMessage"
import type { ServerLog } from "./ServerLog.ts"

/**
 * When requests are acknowledged: at once (`auto`), when the test calls
 * `acknowledge` (`manual`), or not at all (`never`). They take effect in every
 * mode.
 *
 * @category models
 * @since 0.2.0
 */
export type AcknowledgeMode = "auto" | "manual" | "never"

/**
 * How many requests a server accepts.
 *
 * @category models
 * @since 0.2.0
 */
export interface RequestLimit {
  /**
   * The most requests that one connection may send within any second. The next
   * request closes the connection and does not take effect. At least 1.
   */
  readonly perSecond: number
  /** The close code. Defaults to 1008. */
  readonly code?: 1008 | 4429
}

/**
 * How a server treats requests.
 *
 * @category options
 * @since 0.2.0
 */
export interface RequestOptions {
  /** When requests are acknowledged. Defaults to `auto`. */
  readonly acknowledge?: AcknowledgeMode
  /**
   * Whether acknowledgements name their task; the protocol allows both. Defaults
   * to `true`.
   */
  readonly nameTasks?: boolean
  /** See `delayAcknowledgements`. Defaults to 0. */
  readonly acknowledgementDelay?: Duration.Input
  /** See `delayRequests`. Defaults to 0. */
  readonly requestDelay?: Duration.Input
  /** See `limitRequests`. Defaults to no limit. */
  readonly requestLimit?: RequestLimit
}

/**
 * A request that a server received, and the number of the connection.
 *
 * @category models
 * @since 0.2.0
 */
export interface Received {
  /** The number of the connection. */
  readonly connection: number
  /** The request. */
  readonly message: ClientMessage
}

/**
 * A server of the feed, under the control of a test.
 *
 * **Details**
 *
 * - `close`, `kill`, `freeze` and `thaw` take the number of a connection. Without
 *   a number they apply to all open connections.
 * - Counts below 0 and `NaN` count as 0, and so do negative durations.
 *
 * **Example** (One test over both servers)
 *
 * ```ts
 * import * as Effect from "effect/Effect"
 * import type * as MeshServer from "@makima-stream/test-kit/MeshServer"
 * import * as MockMeshServer from "@makima-stream/test-kit/MockMeshServer"
 * import * as ScriptedMesh from "@makima-stream/test-kit/ScriptedMesh"
 *
 * const outage = (server: MeshServer.MeshServer) =>
 *   Effect.andThen(server.refuse(3, 503, { "retry-after": "1" }), server.kill())
 *
 * const program = Effect.gen(function* () {
 *   yield* outage(yield* ScriptedMesh.make())
 *   yield* outage(yield* MockMeshServer.make())
 * })
 * await Effect.runPromise(Effect.scoped(program))
 * ```
 *
 * @category models
 * @since 0.2.0
 */
export interface MeshServer {
  /**
   * Sends a message to every connection that subscribed to it. Returns the number
   * of these connections.
   */
  readonly emit: (message: ServerMessage) => Effect.Effect<number>
  /** Sends a raw frame to every connection: a string as text, bytes as binary. Returns the number of connections. */
  readonly emitRaw: (frame: string | Uint8Array) => Effect.Effect<number>
  /** Sends a frame that cannot be decoded to every connection. Defaults to `InvalidJson`. */
  readonly garbage: (problem?: DecodeError["problem"]) => Effect.Effect<number>

  /** Sends the next `n` acknowledgements that `manual` retains, on each connection. Defaults to all. */
  readonly acknowledge: (n?: number) => Effect.Effect<void>
  /** Changes when requests are acknowledged. */
  readonly setAcknowledge: (mode: AcknowledgeMode) => Effect.Effect<void>
  /** Changes whether acknowledgements name their task. */
  readonly setNameTasks: (named: boolean) => Effect.Effect<void>
  /**
   * Delays acknowledgements: a request takes effect at once, and its
   * acknowledgement is sent after this time, in order with the data. Applies only in
   * the mode `auto`.
   */
  readonly delayAcknowledgements: (duration: Duration.Input) => Effect.Effect<void>
  /**
   * Delays requests: a request takes effect after this time, and is acknowledged
   * then.
   */
  readonly delayRequests: (duration: Duration.Input) => Effect.Effect<void>
  /** Closes connections that send more requests than this; `undefined` ends the limit. */
  readonly limitRequests: (limit: RequestLimit | undefined) => Effect.Effect<void>

  /** Closes with a close frame. On a frozen connection the frame is sent at the thaw. */
  readonly close: (code: number, reason?: string, connection?: number) => Effect.Effect<void>
  /** Cuts the connection without a close frame. */
  readonly kill: (connection?: number) => Effect.Effect<void>
  /** Leaves the connection half-open: nothing is read or sent, and no ping is answered. */
  readonly freeze: (connection?: number) => Effect.Effect<void>
  /** Ends a freeze: retained frames are sent and retained requests take effect, in order. */
  readonly thaw: (connection?: number) => Effect.Effect<void>

  /** Refuses the next `n` dials with an HTTP status; `Infinity` refuses all. Faults of dials form one queue: each dial takes the oldest. */
  readonly refuse: (n: number, status: number, headers?: Readonly<Record<string, string>>) => Effect.Effect<void>
  /** Never answers the next `n` dials. Queues like `refuse`. */
  readonly stallDial: (n: number) => Effect.Effect<void>
  /** Delays every later dial. */
  readonly delayDial: (duration: Duration.Input) => Effect.Effect<void>

  /** Drops the next `n` emitted messages, for every connection. */
  readonly dropNext: (n: number) => Effect.Effect<void>
  /** Sends the next `n` emitted messages twice. */
  readonly duplicateNext: (n: number) => Effect.Effect<void>
  /** Retains the next `n` emitted messages, then sends them in reverse order. */
  readonly reorder: (n: number) => Effect.Effect<void>

  /**
   * Ends every fault: thaws all connections, removes the faults of later dials and
   * messages, sends what `reorder` retains, and ends the delays and the limit of
   * requests. Sends retained acknowledgements, and returns to the mode `auto` with
   * named tasks.
   */
  readonly heal: Effect.Effect<void>

  /** The requests that were received, oldest first. */
  readonly received: Effect.Effect<ReadonlyArray<Received>>
  /** The subscriptions of the newest open connection; empty if no connection is open. */
  readonly subscriptions: Effect.Effect<Interest>
  /** The server's log, oldest first: the input of `Audit`. */
  readonly log: Effect.Effect<ServerLog>
  /** Waits for a request, past ones included. It has taken effect by then. */
  readonly awaitReceived: (predicate: (received: Received) => boolean) => Effect.Effect<Received, Error>
}
