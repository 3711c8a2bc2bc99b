/**
 * The options of the client and of its consumers, and their normalised forms.
 * Durations are normalised by `millis`, with their defaults.
 */
import * as Duration from "effect/Duration"
import type * as MeshSession from "../../MeshSession.ts"
import type { Repair } from "../../Repair.ts"
import type * as ReconnectPolicy from "../../ReconnectPolicy.ts"
import * as TaskStatus from "../../TaskStatus.ts"
import type { Selector } from "../../operators/options.ts"
import { toPredicate } from "../operators.ts"
import { atLeast, oneOf } from "../bounds.ts"
import type { Connections } from "../session/connections.ts"
import type { Extension } from "../session/extension.ts"
import { defaultMaxTasks } from "../queue/recent.ts"
import type * as ShedQueue from "../queue/shedQueue.ts"

/**
 * What happens when the queue of a consumer is full.
 *
 * **Details**
 *
 * | policy | blocks other consumers | what it may lose |
 * | --- | --- | --- |
 * | `suspend` | yes, while its queue is full | nothing |
 * | `conflate` | only while its queue is full of events that it may not lose | older updates of a task, merged into a newer one; partial outputs |
 * | `shed` | never | what `conflate` loses; then whole outputs, then updates, then connection events, oldest first |
 * | `sliding` | never | the oldest event |
 * | `dropping` | never | the newest event |
 * | `fail` | never | everything after the overflow: its stream fails with `ConsumerOverflow` |
 *
 * Every lost event is counted in a `Resync` with reason `Overflow` at the place of
 * the event. A lost mark that stands for no event leaves an `Overflow` that does not
 * count it. A queue never contains more than `capacity` events; these marks are not
 * counted.
 *
 * @category options
 * @since 0.1.0
 */
export type Overflow = "suspend" | "conflate" | "shed" | "sliding" | "dropping" | "fail"

/** What the queue of a consumer loses when it is full; `undefined` for nothing. The first policy is the default. */
export const policies: { readonly [P in Overflow]: Pick<ShedQueue.Options, "conflate" | "shed"> | undefined } = {
  suspend: undefined,
  conflate: { conflate: "whenFull", shed: "partials" },
  shed: { conflate: "whenFull", shed: "anything" },
  sliding: { conflate: "never", shed: "anything" },
  dropping: { conflate: "never", shed: "newest" },
  fail: undefined
}

/**
 * Options of one consumer.
 *
 * @category options
 * @since 0.1.0
 */
export interface ConsumerOptions {
  /** What happens when the queue is full. Defaults to `suspend`. Any other string is a defect. */
  readonly overflow?: Overflow | undefined
  /**
   * How many events the queue can contain. A fraction is rounded down; a value below
   * 1 or `NaN` counts as 1. Defaults to 256. With `suspend`, reading stops at 64
   * queued events while no other consumer waits for events.
   */
  readonly capacity?: number | undefined
  /**
   * The name of the consumer in warnings. Defaults to a description of what it
   * consumes, such as `updates` or `output of 7f1c`.
   */
  readonly name?: string | undefined
}

/**
 * Options of `everything`.
 *
 * @category options
 * @since 0.1.0
 */
export interface EverythingOptions extends ConsumerOptions {
  /**
   * Which output the stream contains in addition to all updates: that of each live
   * task that the client knows (`discovered`), or none (`none`). Defaults to
   * `discovered`.
   */
  readonly output?: "discovered" | "none" | undefined
  /** The statuses that end a task. Defaults to `TaskStatus.defaultTerminal`. */
  readonly terminal?: Selector<string> | undefined
  /**
   * How long the output of a task stays subscribed after the task has ended.
   * Defaults to 30 seconds.
   */
  readonly endedTimeToLive?: Duration.Input | undefined
  /**
   * How long a live task may be silent after a reconnect before its output is
   * unsubscribed, since its end may have been lost while there was no connection. Time
   * without a connection does not count. The task is followed again at its next
   * update. At least 1 millisecond. Defaults to 15 minutes.
   */
  readonly staleAfter?: Duration.Input | undefined
  /**
   * The most live tasks that are followed. When there are more, the task that has
   * been silent for longest is unsubscribed. A fraction is rounded down; a value below
   * 1 or `NaN` counts as 1. Defaults to 10,000.
   */
  readonly maxTasks?: number | undefined
}

/**
 * Options of a client.
 *
 * @category options
 * @since 0.1.0
 */
export interface Options extends MeshSession.Options {
  /** How the client reconnects. Defaults to `ReconnectPolicy.defaults`. */
  readonly policy?: ReconnectPolicy.Options | undefined
  /**
   * Several connections instead of one, so that the loss of one leaves no gap: see
   * `Merge.connections`. Defaults to one connection.
   */
  readonly connections?: Connections | undefined
  /**
   * Decodes messages that the protocol does not define into elements of the streams, for example
   * the marks of a gateway: `GatewayMessages.extension`. Defaults to
   * none: such a message is an `UnknownMessage`.
   *
   * @since 0.2.0
   */
  readonly extension?: Extension | undefined
  /**
   * Closes gaps of updates with snapshots, for all consumers: `Repair.make(…)`. Defaults
   * to none.
   */
  readonly repair?: Repair | undefined
  /**
   * How long a subscription stays active after its last consumer has left. A consumer
   * that joins within this time causes no request. Defaults to 5 seconds.
   */
  readonly subscriptionIdleTimeToLive?: Duration.Input | undefined
  /** How long the connection stays open after the last consumer has left. Defaults to 30 seconds. */
  readonly connectionIdleTimeToLive?: Duration.Input | undefined
  /** Whether the client dials at once and stays connected without consumers. Defaults to `false`. */
  readonly keepAlive?: boolean | undefined
  /** How long `close` may take before the connection is cut. Defaults to 5 seconds. */
  readonly closeTimeout?: Duration.Input | undefined
  /**
   * How long one consumer may block the others before the client logs a warning
   * that names it and counts it in `MeshMetrics.consumerStalls`. `"Infinity"`
   * turns the warning off. Defaults to 5 seconds.
   */
  readonly stallWarning?: Duration.Input | undefined
}

/** A duration in milliseconds, at least `min`. */
export const millis = (input: Duration.Input | undefined, byDefault: Duration.Input, min = 0): number =>
  Math.max(min, Duration.toMillis(input ?? byDefault))

/** Normalised options of a consumer. */
export interface ConsumerSettings {
  readonly name: string
  readonly overflow: Overflow
  readonly capacity: number
}

export const consumerSettings = (defaultName: string, options: ConsumerOptions = {}): ConsumerSettings => ({
  name: options.name ?? defaultName,
  // The type of `Object.keys` is wider.
  overflow: oneOf("overflow", options.overflow, Object.keys(policies) as [Overflow, ...Array<Overflow>]),
  capacity: atLeast(1, options.capacity ?? 256)
})

/** Normalised options of discovery. Times in milliseconds. */
export interface DiscoverySettings {
  readonly isTerminal: (status: string) => boolean
  readonly endedMillis: number
  readonly staleMillis: number
  readonly maxTasks: number
}

/** `undefined` if the consumer receives no output. */
export const discoverySettings = (options: EverythingOptions = {}): DiscoverySettings | undefined =>
  oneOf("output", options.output, ["discovered", "none"]) === "none"
    ? undefined
    : {
        isTerminal: toPredicate(options.terminal ?? TaskStatus.defaultTerminal),
        endedMillis: millis(options.endedTimeToLive, "30 seconds"),
        // With 0, every task would be unsubscribed at each reconnect.
        staleMillis: millis(options.staleAfter, "15 minutes", 1),
        maxTasks: atLeast(1, options.maxTasks ?? defaultMaxTasks)
      }
