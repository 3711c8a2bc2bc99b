/**
 * Appends the feed to a log.
 *
 * Several relays can share one log: one holds the lease and writes. The others stay
 * connected and know which events the log lacks, so that one of them can continue where
 * the holder stopped.
 *
 * @since 0.2.0
 */
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Stream from "effect/Stream"
import type * as SubscriptionRef from "effect/SubscriptionRef"
import type { MeshEvent } from "@makima-stream/core/MeshEvent"
import { randomName } from "./internal/lease.ts"
import * as OptionsOf from "./internal/options.ts"
import * as Runner from "./internal/relay/relay.ts"
import type { LogError } from "./LogError.ts"
import { MeshLog } from "./MeshLog.ts"

/**
 * The status of a relay.
 *
 * @category models
 * @since 0.2.0
 */
export interface Status {
  /** `holder` writes; `standby` waits for the lease. */
  readonly role: "standby" | "holder"
  /** The term of the lease that it holds; 0 if it holds none. */
  readonly term: number
  /** Whether its feed is connected and confirmed. */
  readonly isConnected: boolean
  /** Whether it could take over without a mark. `true` for a holder. */
  readonly isAligned: boolean
}

/**
 * Options of `run`.
 *
 * @category options
 * @since 0.2.0
 */
export interface Options {
  /** The name of the lease. Relays of one feed into one log share it. Defaults to `"relay"`. */
  readonly lease?: string | undefined
  /** The name of this relay in the ids of its events. Defaults to a random one. */
  readonly relay?: string | undefined
  /**
   * How long a holder may be silent before another relay takes over. At least 1 second.
   * Defaults to 10 seconds.
   */
  readonly timeToLive?: Duration.Input | undefined
  /**
   * The assumed largest delay of the network. Defaults to 1 second.
   *
   * **Gotchas**
   *
   * If a feed is later than that and its messages have equal contents, it can be aligned
   * incorrectly, without a mark.
   */
  readonly skew?: Duration.Input | undefined
  /**
   * The number of events that wait to be written at which the relay stops reading the
   * feed. It may be exceeded by one batch. At least 1. Defaults to 16,384.
   */
  readonly capacity?: number | undefined
  /**
   * A reference that the relay sets to its status. For one relay at a time. Defaults to
   * none.
   */
  readonly status?: SubscriptionRef.SubscriptionRef<Status> | undefined
}

/**
 * Appends a feed to the log until it is interrupted.
 *
 * **When to use**
 *
 * Run it with `client.everything()` of a `MeshClient`, or with `MeshStream.connect`, in a
 * separate process. With two or three relays on one log, nothing is lost while one of them
 * is connected.
 *
 * **Details**
 *
 * - The relay requests the lease once its feed is confirmed. The holder appends each batch
 *   before it reads the next one, so a slow log slows the feed.
 * - Marks are stored in the log: a gap of the feed is a gap of every reader, at the same
 *   place. The log counts its own `epoch`s.
 * - A relay whose feed is disconnected releases the lease. If no other relay acquires it
 *   within a second, the relay appends the `Disconnected`.
 * - A standby aligns its feed with the log. When it acquires the lease, it appends exactly
 *   the events that the log lacks, and continues. If it is not aligned yet, it first
 *   appends a `Resync` with reason `Unaligned`, after which events may be repeated.
 * - A temporary failure of the log is retried: the relay waits, and so does the feed. A
 *   permanent one fails the relay.
 *
 * **Gotchas**
 *
 * An update is identified by its task and version. If the server is restored from a backup
 * and continues from a lower version, the log treats its updates as repeated while it
 * contains the old ones.
 *
 * **Example** (Keeping everything in SQLite)
 *
 * ```ts
 * import * as NodeMeshClient from "@makima-stream/node/NodeMeshClient"
 * import * as Effect from "effect/Effect"
 * import * as Layer from "effect/Layer"
 * import * as MeshClient from "@makima-stream/core/MeshClient"
 * import * as Relay from "@makima-stream/log/Relay"
 * import * as SqliteLog from "@makima-stream/log/SqliteLog"
 *
 * const program = Effect.gen(function* () {
 *   const client = yield* MeshClient.MeshClient
 *   return yield* Relay.run(client.everything({ name: "relay" }), { relay: "relay-1" })
 * })
 * const layer = Layer.merge(NodeMeshClient.layerConfig(), SqliteLog.layer({ filename: "feed.db" }))
 * console.log(Effect.isEffect(Effect.provide(program, layer))) // true
 * ```
 *
 * @category relays
 * @since 0.2.0
 */
export const run = Effect.fnUntraced(function* <E, R>(
  feed: Stream.Stream<MeshEvent, E, R>,
  options?: Options
): Effect.fn.Return<void, E | LogError, R | MeshLog> {
  const log = yield* MeshLog
  const random = yield* randomName
  const settings = yield* OptionsOf.checked(() => ({
    lease: OptionsOf.name("lease", options?.lease ?? "relay"),
    relay: OptionsOf.name("relay", options?.relay ?? random),
    timeToLive: OptionsOf.millis("timeToLive", options?.timeToLive, { fallback: 10_000, min: 1000 }),
    skew: OptionsOf.millis("skew", options?.skew, { fallback: 1000, min: 0 }),
    capacity: OptionsOf.count("capacity", options?.capacity, { fallback: 16_384, min: 1 }),
    status: options?.status
  }))
  return yield* Runner.run(log, feed, settings)
})
