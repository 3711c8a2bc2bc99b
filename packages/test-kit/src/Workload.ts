/**
 * Generated task histories: the messages that a server would send, from a seed.
 *
 * A workload is a list of messages with the time at which each is sent. The same
 * options return the same list on every machine. `MockMeshServer` plays a workload
 * over real sockets; a test can also iterate over it. `endless` returns an infinite
 * sequence of messages, for a benchmark.
 *
 * @since 0.1.0
 */
import * as TaskId from "@makima-stream/core/TaskId"
import * as Bounds from "./internal/bounds.ts"
import * as Random from "./internal/random.ts"
import * as Endless from "./internal/workload/endless.ts"
import * as History from "./internal/workload/history.ts"
import type { Entry, Message } from "./internal/workload/history.ts"

export type {
  /**
   * A message, and when it is sent: whole milliseconds from the start of the
   * workload.
   *
   * @category models
   * @since 0.1.0
   */
  Entry,
  /**
   * A message of a workload.
   *
   * @category models
   * @since 0.1.0
   */
  Message
} from "./internal/workload/history.ts"

/**
 * Messages in the order in which they are sent: `at` never goes back.
 *
 * @category models
 * @since 0.1.0
 */
export type Workload = ReadonlyArray<Entry>

/**
 * Options that determine the ids of the tasks.
 *
 * @category options
 * @since 0.1.0
 */
export interface TaskOptions {
  /** The seed of the generator. Defaults to 1. */
  readonly seed?: string | number
  /** The number of tasks. Defaults to 24. */
  readonly tasks?: number
}

/**
 * Options of a workload.
 *
 * **Details**
 *
 * Ratios are clamped to the range from 0 (never) to 1 (always). Counts are rounded
 * down, and a count that is too small or `NaN` becomes the smallest valid one.
 *
 * @category options
 * @since 0.1.0
 */
export interface Options extends TaskOptions {
  /** How many tasks run at the same time, at least 1. Defaults to 8. */
  readonly concurrency?: number
  /**
   * The exact number of outputs of each task, including pieces of messages, the
   * first `system` output and the last `result`. At least 2. Defaults to 12.
   */
  readonly outputsPerTask?: number
  /** The share of the agent's messages that are sent in pieces before they are sent whole. Defaults to 0.3. */
  readonly partialRatio?: number
  /** The share of the agent's steps that use a tool. Defaults to 0.4. */
  readonly toolUseRatio?: number
  /** The share of the tasks that end as `failed` or `cancelled`. Defaults to 0.2. */
  readonly failureRatio?: number
  /** The share of the tasks that are `paused` or `blocked` before they continue. Defaults to 0.3. */
  readonly pauseRatio?: number
  /** The mean time between two messages of one task, in milliseconds. Defaults to 50. */
  readonly meanIntervalMillis?: number
  /** The length of a whole message's text, in characters. Defaults to 80. */
  readonly contentSize?: number
}

/**
 * Counts of a workload.
 *
 * @category models
 * @since 0.1.0
 */
export interface Summary {
  /** The number of tasks. */
  readonly tasks: number
  /** The number of messages. */
  readonly messages: number
  /** The number of updates. */
  readonly updates: number
  /** The number of outputs. */
  readonly outputs: number
  /** The number of outputs with `isPartial`. */
  readonly partials: number
  /** The number of outputs of each `messageType`. */
  readonly messageTypes: Readonly<Record<string, number>>
  /** The number of tasks of each last status. */
  readonly statuses: Readonly<Record<string, number>>
  /** The sum of the costs of all results, in US dollars. */
  readonly costUsd: number
  /** When the last message is sent, in milliseconds from the start. */
  readonly durationMillis: number
}

const defaultTasks = 24

const names = (options: TaskOptions | undefined): { readonly seed: string; readonly tasks: number } => ({
  seed: String(options?.seed ?? 1),
  tasks: Bounds.atLeast(0, options?.tasks ?? defaultTasks)
})

const hex = (value: number, digits: number): string => value.toString(16).padStart(digits, "0").slice(-digits)

/** Makes an id in the form of a UUID version 4. Its last group is the task's number, for uniqueness and readable logs. */
const makeTaskId = (seed: string, index: number): TaskId.TaskId => {
  const random = Random.make(`${seed}/task`)
  const [first, second, third] = [random.bits(), random.bits(), random.bits()]
  const variant = "89ab".charAt(third >>> 30)
  return TaskId.make(
    `${hex(first, 8)}-${hex(second >>> 16, 4)}-4${hex(second, 3)}-${variant}${hex(third, 3)}-${hex(index + 1, 12)}`
  )
}

/**
 * The tasks of a workload, or of an endless one, in the order in which they
 * start.
 *
 * **When to use**
 *
 * Use it to subscribe to the output of the tasks before the server plays them.
 *
 * **Details**
 *
 * The ids are shaped like UUIDs, depend on the seed, and end with the task's
 * number, from 1.
 *
 * **Example** (An interest in every task of a workload)
 *
 * ```ts
 * import * as Interest from "@makima-stream/core/Interest"
 * import * as Workload from "@makima-stream/test-kit/Workload"
 *
 * const interest = Interest.task(Workload.taskIds({ seed: 7, tasks: 3 }))
 * console.log(interest.output.size) // 3
 * ```
 *
 * @category getters
 * @since 0.1.0
 */
export const taskIds = (options?: TaskOptions): ReadonlyArray<TaskId.TaskId> => {
  const { seed, tasks } = names(options)
  return Array.from({ length: tasks }, (_, index) => makeTaskId(seed, index))
}

/**
 * Makes a workload.
 *
 * **Details**
 *
 * - Each task goes `pending`, `starting`, `running`, perhaps `paused` or
 *   `blocked` and back to `running`, and ends as `done`, `merged`, `failed` or
 *   `cancelled`. Its `version` starts at 1 and grows by exactly 1 with each
 *   update; every update has `updatedFields` and `updatedBy`.
 * - Its outputs start with a `system` message and end with one `result`, right
 *   before the last update. Between them are `assistant` messages and pairs of
 *   `tool_use` and `tool_result`.
 * - A message in pieces is a sequence of outputs with `isPartial`, each with only
 *   the next piece of the text (a delta), followed by one output with the whole text
 *   without `isPartial`. No other message of the task is between them.
 * - A `result` has `costUsd`, a whole multiple of 1/1024 dollar, so that costs
 *   add up to the same sum in any order, and `durationMs` since the task first
 *   ran.
 * - `concurrency` tasks run at the same time, interleaved; when one ends the
 *   next starts. A task's messages depend only on the seed and its number, so a
 *   larger number of tasks does not change the earlier ones.
 *
 * **Example** (The same seed, the same workload)
 *
 * ```ts
 * import * as Workload from "@makima-stream/test-kit/Workload"
 *
 * const workload = Workload.make({ seed: "nightly", tasks: 2, outputsPerTask: 5 })
 * console.log(Workload.summary(workload).outputs) // 10
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (options?: Options): Workload => {
  const { seed, tasks } = names(options)
  const settings: History.Settings = {
    outputs: Bounds.atLeast(2, options?.outputsPerTask ?? 12),
    partialRatio: ratio(options?.partialRatio ?? 0.3),
    toolUseRatio: ratio(options?.toolUseRatio ?? 0.4),
    failureRatio: ratio(options?.failureRatio ?? 0.2),
    pauseRatio: ratio(options?.pauseRatio ?? 0.3),
    meanInterval: Bounds.notNegative(options?.meanIntervalMillis ?? 50),
    contentSize: Bounds.atLeast(0, options?.contentSize ?? 80)
  }
  // The end time of the last task on each of the concurrent lanes, when the next task may start.
  const lanes = Array.from({ length: Math.min(Bounds.atLeast(1, options?.concurrency ?? 8), tasks) }, () => 0)
  const workload: Array<Entry> = []
  for (let index = 0; index < tasks; index++) {
    const random = Random.make(`${seed}/history/${index}`)
    const lane = earliest(lanes)
    const history = History.make(makeTaskId(seed, index), random, settings, lanes[lane] ?? 0)
    lanes[lane] = history.at(-1)?.at ?? 0
    // Not `push(...history)`: a history may have more entries than a call can have arguments.
    for (const entry of history) workload.push(entry)
  }
  // The sort is stable, so messages of one task that share a millisecond keep their order.
  return workload.sort((a, b) => a.at - b.at)
}

const ratio = (value: number): number => Math.min(1, Bounds.notNegative(value))

/** The index of the smallest number. */
const earliest = (times: ReadonlyArray<number>): number => {
  let index = 0
  for (const [n, time] of times.entries()) if (time < (times[index] ?? 0)) index = n
  return index
}

/**
 * Counts the messages of a workload.
 *
 * **Example** (The expected total of a cost meter)
 *
 * ```ts
 * import * as Workload from "@makima-stream/test-kit/Workload"
 *
 * const { tasks, costUsd } = Workload.summary(Workload.make({ tasks: 3 }))
 * console.log(tasks, costUsd > 0) // 3 true
 * ```
 *
 * @category getters
 * @since 0.1.0
 */
export const summary = (workload: Workload): Summary => {
  const last = new Map<TaskId.TaskId, string>()
  const tasks = new Set<TaskId.TaskId>()
  const messageTypes: Record<string, number> = {}
  let outputs = 0
  let partials = 0
  let costUsd = 0
  for (const { message } of workload) {
    tasks.add(message.taskId)
    if (message._tag === "TaskUpdated") {
      if (message.status !== undefined) last.set(message.taskId, message.status)
      continue
    }
    outputs++
    if (message.isPartial === true) partials++
    costUsd += message.costUsd ?? 0
    messageTypes[message.messageType] = (messageTypes[message.messageType] ?? 0) + 1
  }
  const statuses: Record<string, number> = {}
  for (const status of last.values()) statuses[status] = (statuses[status] ?? 0) + 1
  return {
    tasks: tasks.size,
    messages: workload.length,
    updates: workload.length - outputs,
    outputs,
    partials,
    messageTypes,
    statuses,
    costUsd,
    durationMillis: workload.at(-1)?.at ?? 0
  }
}

/**
 * Returns an infinite sequence of messages for a benchmark: four outputs for each
 * update, each a frame of 150 to 250 bytes.
 *
 * **Details**
 *
 * Each message belongs to a random task. Tasks never end: they alternate between
 * `running`, `paused` and `blocked`, with a `version` that starts at 1 and grows by
 * 1. There is no `result`. Every iterator starts from the beginning with the same
 * messages.
 *
 * **Gotchas**
 *
 * The sequence is infinite: take a number of messages, and never collect all of it.
 *
 * **Example** (The first thousand)
 *
 * ```ts
 * import * as Iterable from "effect/Iterable"
 * import * as Workload from "@makima-stream/test-kit/Workload"
 *
 * const messages = Array.from(Iterable.take(Workload.endless({ tasks: 4 }), 1000))
 * console.log(messages.filter((message) => message._tag === "TaskUpdated").length) // 200
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const endless = (options?: TaskOptions): Iterable<Message> => ({
  *[Symbol.iterator]() {
    const { seed, tasks } = names(options)
    const [first = makeTaskId(seed, 0), ...others] = Array.from({ length: tasks }, (_, index) =>
      makeTaskId(seed, index)
    )
    yield* Endless.make(Random.make(`${seed}/endless`), [first, ...others])
  }
})
