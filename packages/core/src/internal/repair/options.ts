/** The options of a repair, and their normalised form. */
import * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import type { Selector } from "../../operators/options.ts"
import { toPredicate } from "../operators.ts"
import * as ReconnectPolicy from "../../ReconnectPolicy.ts"
import * as TaskStatus from "../../TaskStatus.ts"
import { atLeast, oneOf } from "../bounds.ts"
import { defaultMaxTasks } from "../queue/recent.ts"
import type { Ask, TaskSnapshot } from "./machine.ts"

/**
 * Options of a repair.
 *
 * @category options
 * @since 0.2.0
 */
export interface Options<R = never> {
  /**
   * Returns the states of all tasks, or of some. It may return more or fewer tasks than
   * requested. It runs again for each attempt.
   */
  readonly fetch: (ask: Ask) => Effect.Effect<ReadonlyArray<TaskSnapshot>, unknown, R>
  /**
   * Whether a snapshot contains every existing task that was requested. If so, a known
   * task that is absent from it is `gone`. A list that is filtered, limited, or paginated
   * while it changes is not complete. Defaults to `false`.
   */
  readonly complete?: boolean | undefined
  /**
   * Whether the first mark (`Started`, or a `JoinedLate` before the first update) causes
   * a fetch, which returns the tasks that were already running. Defaults to `true`.
   */
  readonly initial?: boolean | undefined
  /**
   * The interval of additional fetches of all tasks while the connection is up, from the
   * start of the last fetch. At least `minInterval`. Defaults to none.
   */
  readonly every?: Duration.Input | undefined
  /**
   * A fetch begins after a random time up to this one, so that many clients that lost one
   * server do not fetch at the same time. Defaults to 1 second.
   */
  readonly spread?: Duration.Input | undefined
  /** The shortest time between the starts of two fetches. Defaults to 1 second. */
  readonly minInterval?: Duration.Input | undefined
  /** How long one attempt may take. `"Infinity"` for no limit. Defaults to 30 seconds. */
  readonly timeout?: Duration.Input | undefined
  /**
   * The schedule by which a failed attempt is repeated. When it ends, the repair has
   * failed. Attempts are made only while the connection is up. Defaults to
   * `ReconnectPolicy.schedule`, 5 times: after about 2, 4, 8, 16 and 30 seconds.
   */
  readonly retry?: Schedule.Schedule<unknown, unknown> | undefined
  /**
   * What happens when a repair has failed: `mark` emits a `RepairFailed` and continues,
   * `fail` emits it and fails the stream with the reason `SnapshotFailed`. Defaults to
   * `mark`.
   */
  readonly onFailure?: "mark" | "fail" | undefined
  /**
   * The most tasks that are remembered, at least 1. When there are more, a task that was
   * not updated for a long time is forgotten, and then counts as new. Should be more than
   * the number of tasks in a snapshot: otherwise each snapshot restates some of them again.
   * Defaults to 10,000.
   */
  readonly maxTasks?: number | undefined
  /**
   * The statuses that end a task. A task that has ended may be absent from a snapshot.
   * Defaults to `TaskStatus.defaultTerminal`.
   */
  readonly terminal?: Selector<string> | undefined
}

/** Normalised options. Times in milliseconds. */
export interface Settings<R> {
  readonly fetch: Options<R>["fetch"]
  readonly complete: boolean
  readonly initial: boolean
  readonly everyMillis: number
  readonly spreadMillis: number
  readonly minIntervalMillis: number
  readonly timeoutMillis: number
  readonly retry: Schedule.Schedule<unknown, unknown>
  readonly fails: boolean
  readonly maxTasks: number
  readonly isTerminal: (status: string) => boolean
}

const millis = (name: string, input: Duration.Input, isValid: (millis: number) => boolean): number => {
  const value = Duration.toMillis(input)
  if (isValid(value)) return value
  throw new TypeError(`Repair: ${name} is ${value} ms, which is not valid`)
}

const isTime = (value: number): boolean => value >= 0 && value < Infinity
const isPositive = (value: number): boolean => value > 0

export const settings = <R>(options: Options<R>): Settings<R> => {
  const minIntervalMillis = millis("minInterval", options.minInterval ?? "1 second", isTime)
  return {
    fetch: options.fetch,
    complete: options.complete === true,
    initial: options.initial !== false,
    everyMillis: Math.max(minIntervalMillis, millis("every", options.every ?? Duration.infinity, isPositive)),
    spreadMillis: millis("spread", options.spread ?? "1 second", isTime),
    minIntervalMillis,
    timeoutMillis: millis("timeout", options.timeout ?? "30 seconds", isPositive),
    retry: options.retry ?? Schedule.upTo(ReconnectPolicy.schedule, { times: 5 }),
    fails: oneOf("onFailure", options.onFailure, ["mark", "fail"]) === "fail",
    maxTasks: atLeast(1, options.maxTasks ?? defaultMaxTasks),
    isTerminal: toPredicate(options.terminal ?? TaskStatus.defaultTerminal)
  }
}
