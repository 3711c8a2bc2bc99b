/**
 * Several feeds of one server, merged into one that has a gap only where all of
 * them have one.
 *
 * Usually a connection breaks, not the server. Of two connections to one server
 * each delivers the same messages, so while one is connected nothing is missing.
 * `make` is the pure state machine: it has no clock and no connection. `merge`
 * merges two streams.
 *
 * @since 0.2.0
 */
import * as Duration from "effect/Duration"
import type * as Socket from "effect/socket/Socket"
import { atLeast } from "./internal/bounds.ts"
import * as Feed from "./internal/merge/feed.ts"
import { Machine, type Settings, type Stats } from "./internal/merge/machine.ts"
import type { Message } from "./internal/merge/same.ts"
import type { Connections } from "./internal/session/connections.ts"
import type { MeshEvent } from "./MeshEvent.ts"
import type { TaskId } from "./TaskId.ts"

export type {
  /**
   * Several connections for one feed: the value of the option `connections` of
   * `MeshClient` and `MeshStream.connect`.
   *
   * @category connections
   * @since 0.2.0
   */
  Connections,
  /**
   * The state of one of several connections.
   *
   * @category connections
   * @since 0.2.0
   */
  ConnectionStatus
} from "./internal/session/connections.ts"
export type {
  /**
   * What a merge holds and has counted.
   *
   * @category models
   * @since 0.2.0
   */
  Stats
} from "./internal/merge/machine.ts"

/**
 * Options of a merge.
 *
 * @category options
 * @since 0.2.0
 */
export interface Options {
  /**
   * How late an input may be: an input that delivers an element has delivered
   * everything that the server sent this long before. `Infinity` assumes nothing,
   * so that only acknowledged boundaries align inputs. Defaults to 1 second.
   *
   * **Gotchas**
   *
   * This is an assumption. An input that is later than that and repeats its
   * contents can be aligned wrongly, without a mark.
   */
  readonly skew?: Duration.Input | undefined
  /**
   * How many messages of one task and kind are held for an input that has not
   * delivered them, or that is not aligned yet. An input that is further behind
   * is aligned again. At least 1. Defaults to 1,024.
   */
  readonly window?: number | undefined
  /** The same bound in bytes. At least 1. Defaults to 4 MiB. */
  readonly windowBytes?: number | undefined
  /** How many messages are held in all. At least 1. Defaults to 65,536. */
  readonly capacity?: number | undefined
  /** The same bound in bytes. At least 1. Defaults to 64 MiB. */
  readonly capacityBytes?: number | undefined
  /**
   * How many tasks of each kind are remembered. At least 1. A task in which all
   * inputs stand at the same place is forgotten first. Defaults to 10,000.
   */
  readonly maxTasks?: number | undefined
}

/**
 * Options of `make`.
 *
 * @category options
 * @since 0.2.0
 */
export interface MakeOptions extends Options {
  /** How many inputs there are. At least 1. Defaults to 2. */
  readonly inputs?: number | undefined
  /** The epoch of the last connection before. Defaults to 0. */
  readonly epoch?: number | undefined
  /** Whether the messages of a task are wanted. Others are dropped. Defaults to all. */
  readonly isWanted?: ((kind: Kind, taskId: TaskId) => boolean) | undefined
}

/**
 * The two sequences of a task: a server has one order for each.
 *
 * @category models
 * @since 0.2.0
 */
export type Kind = "updates" | "output"

/**
 * What was emitted of a task and an input has not delivered.
 *
 * @category models
 * @since 0.2.0
 */
export interface Missing {
  readonly taskId: TaskId
  readonly kind: Kind
  /** The messages, in order; `undefined` if the input is not aligned in this task. */
  readonly messages: ReadonlyArray<Message> | undefined
}

/**
 * A merge as a state machine. All times are milliseconds on a monotonic clock.
 * Inputs are numbered from 0.
 *
 * @category models
 * @since 0.2.0
 */
export interface Merge {
  /**
   * An input is about to request its interest: whatever arrived before now is not
   * its own. Optional. Without it the input begins with its first element, and is
   * aligned later.
   */
  readonly open: (input: number, now: number) => void
  /**
   * Elements arrived on an input. Returns the elements of the merged feed. A
   * `Disconnected` ends an input, and a `Started`, `Reconnected` or `JoinedLate`
   * says that its interest is confirmed.
   */
  readonly offer: (input: number, elements: ReadonlyArray<MeshEvent>, now: number) => ReadonlyArray<MeshEvent>
  /**
   * An input has delivered everything of a kind that the server sent before
   * `time`: the acknowledgement of a request that left at `time` arrived. Pass it
   * at its place among the elements. Returns the elements of the merged feed.
   */
  readonly boundary: (input: number, kind: Kind, time: number, now: number) => ReadonlyArray<MeshEvent>
  /** An input shows life, without an element. With `skew`, this is a boundary. Returns the elements of the merged feed. */
  readonly alive: (input: number, now: number) => ReadonlyArray<MeshEvent>
  /** The server has confirmed the request of one task on an input, as a part of the input's interest. */
  readonly confirmKey: (input: number, kind: Kind, taskId: TaskId, now: number) => void
  /** A task is not wanted any more. */
  readonly forget: (kind: Kind, taskId: TaskId, now: number) => void
  /** Whether an input is aligned everywhere, so that it can stand in for the others. */
  readonly isAligned: (input: number) => boolean
  /** Whether an input is confirmed and not aligned yet, so that boundaries of all inputs help. */
  readonly isJoining: (kind: Kind) => boolean
  /** Whether an input has not delivered yet what another one has. */
  readonly isLagging: (kind: Kind) => boolean
  /** What was emitted and an input has not delivered, by task. Tasks without such messages are left out. */
  readonly missing: (input: number) => ReadonlyArray<Missing>
  readonly stats: () => Stats
}

const mebibyte = 1024 * 1024

/** The options in their normalised form. */
const settingsOf = (
  options: Options | undefined,
  skew: Duration.Input
): Omit<Settings, "inputs" | "epoch" | "isWanted"> => ({
  skew: Math.max(0, Duration.toMillis(options?.skew ?? skew)),
  window: atLeast(1, options?.window ?? 1024),
  windowBytes: atLeast(1, options?.windowBytes ?? 4 * mebibyte),
  maxHeld: atLeast(1, options?.capacity ?? 65_536),
  maxHeldBytes: atLeast(1, options?.capacityBytes ?? 64 * mebibyte),
  maxTasks: atLeast(1, options?.maxTasks ?? 10_000)
})

/**
 * Makes a merge: a state machine without a clock and without a connection.
 *
 * **When to use**
 *
 * Use it where something else than a stream is one of the inputs, such as a log
 * that is compared with a feed. To merge two streams use `merge`.
 *
 * **Details**
 *
 * The first copy of a message to arrive is emitted at once; the other ones are
 * compared with it and dropped. An input that joins holds its messages until its
 * place is proven, by an acknowledged `boundary` of each input or, without
 * acknowledgements, by signs of life and `skew`. When the last aligned input ends
 * while another one is not aligned, a `Resync` with the reason `Unaligned` is
 * emitted, and the feed goes on with the other input.
 *
 * **Example** (Two inputs)
 *
 * ```ts
 * import * as Merge from "@makima-stream/core/Merge"
 * import { TaskId } from "@makima-stream/core/TaskId"
 *
 * const merge = Merge.make()
 * const update = { _tag: "TaskUpdated", taskId: TaskId.make("7f1c"), version: 1 } as const
 * const at = (millis: number) => ({ _tag: "Connected", epoch: 1, at: millis }) as const
 *
 * console.log(merge.offer(0, [at(0), update], 0).length) // 2
 * console.log(merge.offer(1, [at(5), { ...update }], 5).length) // 0
 * ```
 *
 * @category constructors
 * @since 0.2.0
 */
export const make = (options?: MakeOptions): Merge => {
  const machine = new Machine({
    ...settingsOf(options, "1 second"),
    inputs: atLeast(1, options?.inputs ?? 2),
    epoch: options?.epoch ?? 0,
    isWanted: options?.isWanted
  })
  return {
    open: (input, now) => machine.open(input, now),
    offer: (input, elements, now) => machine.offer(input, elements, now),
    boundary: (input, kind, time, now) => machine.boundary(input, kind, time, now),
    alive: (input, now) => machine.alive(input, now),
    confirmKey: (input, kind, taskId, now) => machine.confirmKey(input, kind, taskId, now),
    forget: (kind, taskId, now) => machine.forget(kind, taskId, now),
    isAligned: (input) => machine.isAligned(input),
    isJoining: (kind) => machine.isJoining(kind),
    isLagging: (kind) => machine.isLagging(kind),
    missing: (input) => machine.missing(input),
    stats: () => machine.stats()
  }
}

/**
 * Options of `connections`.
 *
 * @category options
 * @since 0.2.0
 */
export interface ConnectionsOptions extends Options {
  /**
   * How many connections there are, all on the feed's own `Socket`. At least 1; a
   * fraction is rounded down. Defaults to 2, or to one for each socket.
   */
  readonly count?: number | undefined
  /**
   * The sockets of the connections after the first, which uses the feed's own
   * `Socket`: other endpoints of the same server, such as those of two regions.
   * Defaults to the feed's own `Socket` for all.
   */
  readonly sockets?: ReadonlyArray<Socket.Socket> | undefined
  /**
   * Assumes that a connection that delivers an element has delivered everything
   * that the server sent this long before. Only for a server that does not
   * acknowledge requests: acknowledgements prove the same without an assumption.
   * Defaults to no such assumption.
   */
  readonly skew?: Duration.Input | undefined
}

/**
 * Several connections for one feed. Pass it as the option `connections` of
 * `MeshClient` or `MeshStream.connect`.
 *
 * **When to use**
 *
 * Use it where a gap is a loss: an audit log, a relay, a gate. It costs the server
 * a second connection and all messages twice.
 *
 * **Details**
 *
 * - While one connection is up and confirmed, nothing is missing, and no `Resync`
 *   is emitted. A connection that is lost then is in `MeshClient.status` and in the
 *   metrics, not in the stream: `Disconnected` in the stream means that the stream
 *   is interrupted.
 * - Each connection reconnects by itself, with its own backoff, heartbeat and
 *   epoch. Two dials are at least a second apart. The epoch of the stream counts
 *   its own stretches.
 * - A connection that joins is aligned by acknowledged requests that change
 *   nothing: `unsubscribe` and `unsubscribeOutput` of a task that does not exist.
 *   When the other one is lost before that, a `Resync` with the reason `Unaligned`
 *   is emitted, for the tasks in question or for all.
 * - The stream fails when all connections have failed.
 *
 * **Example** (A client with two connections)
 *
 * ```ts
 * import * as Layer from "effect/Layer"
 * import * as MeshClient from "@makima-stream/core/MeshClient"
 * import * as Merge from "@makima-stream/core/Merge"
 *
 * // Layer<MeshClient, never, Socket>
 * const client = MeshClient.layer({ connections: Merge.connections() })
 * console.log(Layer.isLayer(client)) // true
 * ```
 *
 * @category connections
 * @since 0.2.0
 */
export const connections = (options?: ConnectionsOptions): Connections => {
  const sockets = options?.sockets ?? []
  const inputs = Math.max(1 + sockets.length, atLeast(1, options?.count ?? 2))
  const settings = { ...settingsOf(options, Infinity), inputs }
  return { group: (ackTimeout) => Feed.group({ settings, sockets }, ackTimeout) }
}
