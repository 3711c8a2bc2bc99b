/**
 * Merges several feeds of one server into one feed, which has a gap only where all of
 * them have one.
 *
 * Usually a connection breaks, not the server. Two connections to one server deliver
 * the same messages, so nothing is missing while one of them is connected.
 *
 * `connections` makes the option of `MeshClient` and `MeshStream.connect` for several
 * connections. `make` makes the pure state machine, without a clock and connections.
 *
 * @since 0.2.0
 */
import { isReadonlyArrayNonEmpty, type NonEmptyReadonlyArray } from "effect/Array"
import type * as Cause from "effect/Cause"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { dual } from "effect/Function"
import type * as Socket from "effect/socket/Socket"
import * as Stream from "effect/Stream"
import { atLeast } from "./internal/bounds.ts"
import * as Feed from "./internal/merge/feed.ts"
import { Machine, type Settings, type Stats } from "./internal/merge/machine.ts"
import type { Message } from "./internal/merge/same.ts"
import { monotonicMillis } from "./internal/time.ts"
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
   * Counts of a merge.
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
   * The assumed largest delay of an input: when an input delivers an element, it has
   * delivered everything that the server sent this long before. With `Infinity`, nothing
   * is assumed, and only acknowledged boundaries align inputs. Defaults to 1 second.
   *
   * **Gotchas**
   *
   * If an input is later than that and its messages have equal contents, it can be aligned
   * incorrectly, without a mark.
   */
  readonly skew?: Duration.Input | undefined
  /**
   * The most messages of one task and kind that are kept for an input that has not
   * delivered them, or that is not aligned yet. An input that is further behind is
   * aligned again. At least 1. Defaults to 1,024.
   */
  readonly window?: number | undefined
  /** The same bound in bytes. At least 1. Defaults to 4 MiB. */
  readonly windowBytes?: number | undefined
  /** The most messages that are kept in total. At least 1. Defaults to 65,536. */
  readonly capacity?: number | undefined
  /** The same bound in bytes. At least 1. Defaults to 64 MiB. */
  readonly capacityBytes?: number | undefined
  /**
   * The most tasks of each kind that are remembered. At least 1. A task for which all
   * inputs are at the same place is forgotten first. Defaults to 10,000.
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
  /** The number of inputs. At least 1. Defaults to 2. */
  readonly inputs?: number | undefined
  /** The epoch of the previous connection. Defaults to 0. */
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
 * The messages of a task that were emitted and that an input has not delivered.
 *
 * @category models
 * @since 0.2.0
 */
export interface Missing {
  readonly taskId: TaskId
  /** Whether they are updates or output. */
  readonly kind: Kind
  /** The messages, in order; `undefined` if the input is not aligned for this task. */
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
   * An input is about to request its interest, so messages from before now are not its
   * own. Optional: without it the input begins with its first element, and is aligned
   * later.
   */
  readonly open: (input: number, now: number) => void
  /**
   * Elements arrived on an input. Returns the elements of the merged feed. A
   * `Disconnected` ends an input; a `Started`, `Reconnected` or `JoinedLate` confirms its
   * interest.
   */
  readonly offer: (input: number, elements: ReadonlyArray<MeshEvent>, now: number) => ReadonlyArray<MeshEvent>
  /**
   * An input has delivered everything of a kind that the server sent before `time`,
   * because the acknowledgement of a request that was sent at `time` arrived. Must be
   * called at the place of the acknowledgement among the elements. Returns the elements of
   * the merged feed.
   */
  readonly boundary: (input: number, kind: Kind, time: number, now: number) => ReadonlyArray<MeshEvent>
  /** An input received a frame without an element. With `skew`, this is a boundary. Returns the elements of the merged feed. */
  readonly alive: (input: number, now: number) => ReadonlyArray<MeshEvent>
  /** An input has ended, without a `Disconnected`. Returns the elements of the merged feed. */
  readonly end: (input: number, now: number) => ReadonlyArray<MeshEvent>
  /** The server has confirmed the request for one task on an input, as a part of the input's interest. */
  readonly confirmKey: (input: number, kind: Kind, taskId: TaskId, now: number) => void
  /** A task is not wanted any more. */
  readonly forget: (kind: Kind, taskId: TaskId, now: number) => void
  /** Whether an input is aligned for all tasks, so that it can replace the others. */
  readonly isAligned: (input: number) => boolean
  /** Whether an input is confirmed and not aligned yet, so that boundaries of all inputs help. */
  readonly isJoining: (kind: Kind) => boolean
  /** Whether an input has not delivered yet what another input has delivered, so that boundaries of all inputs help. */
  readonly isLagging: (kind: Kind) => boolean
  /** The messages that were emitted and that an input has not delivered, by task. Omits tasks without such messages. */
  readonly missing: (input: number) => ReadonlyArray<Missing>
  /** Returns how much the merge holds, and how often it could not align its inputs. */
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
 * Use it if one of the inputs is not a connection, such as a log that is compared with a
 * feed. For several connections, use `connections`.
 *
 * **Details**
 *
 * The first copy of a message is emitted when it arrives; the others are compared with it
 * and dropped. The messages of an input that joins are kept until its place is proven, by
 * an acknowledged `boundary` of each input or, without acknowledgements, by received
 * frames and `skew`. If the last aligned input ends while another one is not aligned, a
 * `Resync` with the reason `Unaligned` is emitted, and the feed continues with the other
 * input.
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
    end: (input, now) => machine.end(input, now),
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
   * The number of connections, all on the feed's own `Socket`. At least 1; a fraction is
   * rounded down. Defaults to 2, or to one for each socket.
   */
  readonly count?: number | undefined
  /**
   * The sockets of the connections after the first, which uses the feed's own
   * `Socket`: other endpoints of the same server, such as those of two regions.
   * Defaults to the feed's own `Socket` for all.
   */
  readonly sockets?: ReadonlyArray<Socket.Socket> | undefined
  /**
   * Assumes that a connection that delivers an element has delivered everything that the
   * server sent this long before. Only for a server that does not acknowledge requests:
   * acknowledgements prove the same without an assumption. Defaults to no assumption.
   */
  readonly skew?: Duration.Input | undefined
}

/**
 * Makes the value of the option `connections` of `MeshClient` and `MeshStream.connect`:
 * several connections for one feed.
 *
 * **When to use**
 *
 * Use it if a gap is not acceptable: for an audit log, a relay or a gate. The server
 * then has a second connection, and sends all messages twice.
 *
 * **Details**
 *
 * - While one connection is up and confirmed, nothing is missing, and no `Resync` is
 *   emitted. The loss of another connection is visible in `MeshClient.status` and in the
 *   metrics, but not in the stream: a `Disconnected` in the stream means that all
 *   connections are lost.
 * - Each connection reconnects by itself, with its own backoff, heartbeat and
 *   epoch. Two dials are at least a second apart. The epoch of the stream counts
 *   its own stretches.
 * - A connection that joins is aligned by acknowledged requests that change nothing:
 *   `unsubscribe` and `unsubscribeOutput` of a task that does not exist. If the other
 *   connection is lost before that, a `Resync` with the reason `Unaligned` is emitted, for
 *   the affected tasks or for all.
 * - A connection that gives up, because its reason or the end of its schedule allows no retry, is
 *   dialled again after 5 minutes, or at `MeshClient.reconnect`, while another one has not
 *   given up. Meanwhile its status is `Failed`. The stream fails when all have given up.
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

/**
 * Merges two streams of events that come from one server: a message of both is
 * emitted once, and a gap of one is filled by the other.
 *
 * **When to use**
 *
 * Use it for streams from elsewhere, such as those of two clients or of two relays.
 * For two connections of one program use `connections`: it aligns them by
 * acknowledgements, and needs no assumption like `skew`.
 *
 * **Details**
 *
 * - Both streams must have their `Connected`, `Disconnected` and `Resync`, and the
 *   same interest. A stream is aligned when it is confirmed and both streams have
 *   delivered an element more than `skew` later.
 * - Both are read when the consumer has taken the elements before.
 * - When a stream ends or fails, the other one continues. The merged stream ends when
 *   both have ended, and then fails if one of them has failed.
 *
 * **Gotchas**
 *
 * `skew` must cover everything that delays one stream and not the other, queues
 * included. See `Options`. If nothing bounds the delay, use `Infinity`: then only updates with
 * versions are aligned, and the loss of a stream is marked for every other task.
 *
 * **Example** (Two streams of one server)
 *
 * ```ts
 * import * as Effect from "effect/Effect"
 * import * as Stream from "effect/Stream"
 * import * as Merge from "@makima-stream/core/Merge"
 * import type { MeshEvent } from "@makima-stream/core/MeshEvent"
 * import { TaskId } from "@makima-stream/core/TaskId"
 *
 * const one = (epoch: number): Stream.Stream<MeshEvent> =>
 *   Stream.make<[MeshEvent, MeshEvent, MeshEvent]>(
 *     { _tag: "Connected", epoch, at: 0 },
 *     { _tag: "Resync", epoch, reason: { _tag: "Started" } },
 *     { _tag: "TaskUpdated", taskId: TaskId.make("7f1c"), version: 1 }
 *   )
 *
 * const program = Stream.runCollect(Merge.merge(one(1), Stream.drain(one(1))))
 * Effect.runPromise(program).then((events) => console.log(events.length)) // 3
 * ```
 *
 * @category combinators
 * @since 0.2.0
 */
export const merge: {
  /** Merges a stream with another one. */
  <E, R, E2, R2>(
    self: Stream.Stream<MeshEvent, E, R>,
    that: Stream.Stream<MeshEvent, E2, R2>,
    options?: Options
  ): Stream.Stream<MeshEvent, E | E2, R | R2>
  /** Returns a function that merges a stream with another one. */
  <E2, R2>(
    that: Stream.Stream<MeshEvent, E2, R2>,
    options?: Options
  ): <E, R>(self: Stream.Stream<MeshEvent, E, R>) => Stream.Stream<MeshEvent, E | E2, R | R2>
} = dual(
  (args) => Stream.isStream(args[1]),
  <E, R, E2, R2>(
    self: Stream.Stream<MeshEvent, E, R>,
    that: Stream.Stream<MeshEvent, E2, R2>,
    options?: Options
  ): Stream.Stream<MeshEvent, E | E2, R | R2> =>
    Stream.suspend(() => {
      const machine = make(options)
      let failure: Cause.Cause<E | E2> | undefined
      const input = <E3 extends E | E2, R3>(
        stream: Stream.Stream<MeshEvent, E3, R3>,
        number: number
      ): Stream.Stream<Delivery, never, R3> =>
        Stream.chunks(stream).pipe(
          Stream.map((elements) => ({ number, elements })),
          Stream.catchCause((cause) => {
            failure = cause
            return Stream.empty
          }),
          Stream.concat(Stream.succeed({ number, elements: undefined }))
        )
      const merged = Stream.merge(input(self, 0), input(that, 1)).pipe(
        Stream.mapEffect(({ elements, number }) =>
          Effect.clockWith((clock) => {
            const now = monotonicMillis(clock)
            return Effect.succeed(
              elements === undefined ? machine.end(number, now) : machine.offer(number, elements, now)
            )
          })
        ),
        Stream.filter(isReadonlyArrayNonEmpty),
        Stream.flattenArray
      )
      return Stream.concat(
        merged,
        Stream.suspend(() => (failure === undefined ? Stream.empty : Stream.failCause(failure)))
      )
    })
)

/** The next elements of one of two streams; none if it has ended. */
interface Delivery {
  readonly number: number
  readonly elements: NonEmptyReadonlyArray<MeshEvent> | undefined
}
