/**
 * Task histories as values: what a server would send, made from a seed.
 *
 * A workload is a list of messages with the time at which each is sent. It is
 * pure: the same options give the same list on every machine. `MockMeshServer`
 * plays one over real sockets; a test may as well walk through it by hand. For
 * a benchmark, which wants no end, there is `endless`.
 *
 * @since 0.1.0
 */
import * as Arr from "effect/Array"
import * as Result from "effect/Result"
import { encodeFrame, type TaskOutput, type TaskUpdated } from "@makima-stream/core/ServerMessage"
import * as TaskId from "@makima-stream/core/TaskId"
import * as Random from "./internal/random.ts"

/**
 * A message of a workload.
 *
 * @category models
 * @since 0.1.0
 */
export type Message = TaskUpdated | TaskOutput

/**
 * A message, and when it is sent: whole milliseconds from the start of the
 * workload.
 *
 * @category models
 * @since 0.1.0
 */
export interface Entry {
  /** When it is sent, in whole milliseconds from the start of the workload. */
  readonly at: number
  /** What is sent. */
  readonly message: Message
}

/**
 * Messages in the order in which they are sent: `at` never goes back.
 *
 * @category models
 * @since 0.1.0
 */
export type Workload = ReadonlyArray<Entry>

/**
 * What decides the names of the tasks.
 *
 * @category options
 * @since 0.1.0
 */
export interface TaskOptions {
  /** Whatever differs gives another workload. Default: 1. */
  readonly seed?: string | number
  /** How many tasks there are. Default: 24. */
  readonly tasks?: number
}

/**
 * The knobs of a workload. Ratios go from 0 (never) to 1 (always).
 *
 * @category options
 * @since 0.1.0
 */
export interface Options extends TaskOptions {
  /** How many tasks run at the same time. Default: 8. */
  readonly concurrency?: number
  /**
   * How many outputs each task has, exactly: pieces of messages, the first
   * `system` output and the last `result` included. At least 2. Default: 12.
   */
  readonly outputsPerTask?: number
  /** The share of the agent's messages that come in pieces before they come whole. Default: 0.3. */
  readonly partialRatio?: number
  /** The share of the agent's steps that use a tool. Default: 0.4. */
  readonly toolUseRatio?: number
  /** The share of the tasks that end as `failed` or `cancelled`. Default: 0.2. */
  readonly failureRatio?: number
  /** The share of the tasks that are `paused` or `blocked` on their way, and come back. Default: 0.3. */
  readonly pauseRatio?: number
  /** The mean time between two messages of one task, in milliseconds. Default: 50. */
  readonly meanIntervalMillis?: number
  /** The length of a whole message's text, in characters. Default: 80. */
  readonly contentSize?: number
}

/**
 * What a workload holds.
 *
 * @category models
 * @since 0.1.0
 */
export interface Summary {
  /** How many tasks. */
  readonly tasks: number
  /** How many messages. */
  readonly messages: number
  /** How many of them are updates. */
  readonly updates: number
  /** How many of them are outputs. */
  readonly outputs: number
  /** How many outputs are pieces of a message that is still being written. */
  readonly partials: number
  /** How many outputs there are of each `messageType`. */
  readonly messageTypes: Readonly<Record<string, number>>
  /** How many tasks there are of each last status. */
  readonly statuses: Readonly<Record<string, number>>
  /** The cost of all results together, in US dollars. */
  readonly costUsd: number
  /** When the last message is sent, in milliseconds from the start. */
  readonly durationMillis: number
}

const defaultTasks = 24

const names = (options: TaskOptions | undefined): { readonly seed: string; readonly tasks: number } => ({
  seed: String(options?.seed ?? 1),
  tasks: options?.tasks ?? defaultTasks
})

const hex = (value: number, digits: number): string => value.toString(16).padStart(digits, "0").slice(-digits)

/** Shaped like a UUID of version 4; its last group is the task's number, which keeps ids apart and logs readable. */
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
 * Use to subscribe to the output of the tasks before the server plays them.
 *
 * **Details**
 *
 * The ids are shaped like UUIDs, depend on the seed, and end with the task's
 * number, from 1.
 *
 * **Example** (Everything about every task of a workload)
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
 * - A message in pieces is a run of outputs with `isPartial`, each with the
 *   next piece of the text and nothing of the ones before it (a delta), and then
 *   the whole text in one output without `isPartial`. No other message of the
 *   task stands between them.
 * - A `result` has `costUsd`, a whole multiple of 1/1024 dollar, so that costs
 *   add up to the same sum in any order, and `durationMs` since the task first
 *   ran.
 * - `concurrency` tasks run at the same time, interleaved; when one ends the
 *   next starts. A task's messages depend on the seed and its number alone, so
 *   more tasks leave the earlier ones as they were.
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
  const knobs: Knobs = {
    outputs: Math.max(2, options?.outputsPerTask ?? 12),
    partialRatio: options?.partialRatio ?? 0.3,
    toolUseRatio: options?.toolUseRatio ?? 0.4,
    failureRatio: options?.failureRatio ?? 0.2,
    pauseRatio: options?.pauseRatio ?? 0.3,
    meanInterval: options?.meanIntervalMillis ?? 50,
    contentSize: options?.contentSize ?? 80
  }
  // When each of the tasks that may run at the same time has ended, and the next may start.
  const lanes = Array.from({ length: Math.max(1, options?.concurrency ?? 8) }, () => 0)
  const workload: Array<Entry> = []
  for (let index = 0; index < tasks; index++) {
    const random = Random.make(`${seed}/history/${index}`)
    const free = Math.min(...lanes)
    const history = makeHistory(makeTaskId(seed, index), random, knobs, free)
    lanes[lanes.indexOf(free)] = history.at(-1)?.at ?? free
    workload.push(...history)
  }
  // The sort is stable, so messages of one task that share a millisecond keep their order.
  return workload.sort((a, b) => a.at - b.at)
}

interface Knobs {
  readonly outputs: number
  readonly partialRatio: number
  readonly toolUseRatio: number
  readonly failureRatio: number
  readonly pauseRatio: number
  readonly meanInterval: number
  readonly contentSize: number
}

type OutputBody = Omit<TaskOutput, "_tag" | "taskId">

const makeHistory = (
  taskId: TaskId.TaskId,
  random: Random.Random,
  knobs: Knobs,
  start: number
): ReadonlyArray<Entry> => {
  const history: Array<Entry> = []
  let now = start
  let version = 0
  let number = 0

  const wait = (mean: number = knobs.meanInterval): void => {
    now += Math.round(random.exponential(mean))
  }
  const update = (status: string, updatedBy: string, ...alsoUpdated: ReadonlyArray<string>): void => {
    wait()
    history.push({
      at: now,
      message: {
        _tag: "TaskUpdated",
        taskId,
        version: ++version,
        status,
        updatedFields: ["status", ...alsoUpdated],
        updatedBy
      }
    })
  }
  const output = (body: OutputBody): void => {
    number++
    history.push({ at: now, message: { _tag: "TaskOutput", taskId, ...body } })
  }
  const text = (): string => makeText(random, knobs.contentSize, `${number + 1}`)

  const assistant = (room: number): void => {
    const content = text()
    if (room > 2 && random.chance(knobs.partialRatio)) {
      const pieces = Math.min(room - 1, 2 + random.below(3))
      for (let piece = 0; piece < pieces; piece++) {
        wait(knobs.meanInterval / 4)
        const [from, to] = [piece, piece + 1].map((n) => Math.floor((content.length * n) / pieces))
        output({ messageType: "assistant", content: content.slice(from, to), isPartial: true })
      }
    } else {
      wait()
    }
    output({ messageType: "assistant", content })
  }
  const tool = (): void => {
    const [toolName, field] = pick(random, tools)
    wait()
    output({ messageType: "tool_use", content: "", toolName, toolInput: { [field]: text(), timeout: 120_000 } })
    wait()
    const isError = random.chance(0.1)
    output({ messageType: "tool_result", content: text(), toolName, ...(isError ? { isError } : {}) })
  }
  const rest = (): void => {
    if (random.chance(0.5)) {
      update("paused", "user", "pausedAt")
    } else {
      update("blocked", "supervisor", "blockedBy")
    }
    update("running", "daemon")
  }

  update("pending", "user", "name", "plan")
  update("starting", "supervisor", "daemonId")
  update("running", "daemon", "startedAt")
  const runningSince = now
  // Where in the output the task rests, if it does.
  const restAfter = random.chance(knobs.pauseRatio) ? 1 + random.below(knobs.outputs - 1) : undefined
  let rested = false

  wait()
  output({ messageType: "system", content: text() })
  while (number < knobs.outputs - 1) {
    if (restAfter !== undefined && !rested && number >= restAfter) {
      rest()
      rested = true
    }
    const room = knobs.outputs - 1 - number
    if (room > 1 && random.chance(knobs.toolUseRatio)) {
      tool()
    } else {
      assistant(room)
    }
  }
  if (restAfter !== undefined && !rested) rest()

  const failed = random.chance(knobs.failureRatio)
  wait()
  output({
    messageType: "result",
    content: text(),
    costUsd: (1 + random.below(2048)) / 1024,
    durationMs: now - runningSince,
    ...(failed ? { isError: true } : {})
  })
  if (failed) {
    if (random.chance(0.7)) {
      update("failed", "daemon", "errorMessage", "completedAt")
    } else {
      update("cancelled", "user", "completedAt")
    }
  } else if (random.chance(0.7)) {
    update("done", "daemon", "completedAt")
  } else {
    update("merged", "supervisor", "mergedAt", "completedAt")
  }
  return history
}

const tools: Arr.NonEmptyReadonlyArray<readonly [name: string, field: string]> = [
  ["Bash", "command"],
  ["Read", "file_path"],
  ["Edit", "file_path"],
  ["Grep", "pattern"]
]

// Not all of it is ASCII, and some of it must be escaped in JSON: sizes in characters and in bytes differ on the wire.
const words = `The agent reads the plan, opens "packages/core", runs the tests — two fail — and looks for the reason: \
naïve retries. マキマ says: "make it honest". It writes a fix, a test that was red before, and a line for the changelog.
`

/** A text of exactly `size` characters, which starts with `label` where that fits. */
const makeText = (random: Random.Random, size: number, label: string): string => {
  const start = words.slice(random.below(words.length)).replace(/^\S*\s/, "")
  return `${label} ${start}${words.repeat(Math.ceil(size / words.length))}`.slice(0, size)
}

const pick = <A>(random: Random.Random, [first, ...others]: Arr.NonEmptyReadonlyArray<A>): A =>
  others[random.below(others.length + 1) - 1] ?? first

/**
 * Counts what a workload holds.
 *
 * **Example** (What a cost meter must arrive at)
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
 * Messages without end, for a benchmark: four outputs to one update, each a
 * frame of 150 to 250 bytes.
 *
 * **Details**
 *
 * The tasks take turns at random and never end: each moves between `running`,
 * `paused` and `blocked`, with a `version` that starts at 1 and grows by 1.
 * There is no `result`. Every iterator that is taken starts anew, with the same
 * messages.
 *
 * **Gotchas**
 *
 * Never collect it: take what is needed.
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
    const random = Random.make(`${seed}/endless`)
    const all = Arr.makeBy(tasks, (index) => ({ taskId: makeTaskId(seed, index), version: 0 }))

    const update = (): TaskUpdated => {
      const task = pick(random, all)
      return {
        _tag: "TaskUpdated",
        taskId: task.taskId,
        version: ++task.version,
        status: pick(random, ["running", "paused", "blocked"]),
        updatedFields: ["status", "progressSummary", "lastOutputAt"],
        updatedBy: "supervisor"
      }
    }
    const output = (body: OutputBody): (() => TaskOutput) => {
      const overhead = frameSize({ _tag: "TaskOutput", taskId: makeTaskId(seed, 0), ...body })
      return () => {
        const from = random.below(words.length)
        const content = ascii.slice(from, from + 170 + random.below(81) - overhead)
        return { _tag: "TaskOutput", taskId: pick(random, all).taskId, ...body, content }
      }
    }
    const round = [
      output({ messageType: "assistant", content: "" }),
      output({ messageType: "tool_use", content: "", toolName: "Bash", toolInput: { command: "test" } }),
      output({ messageType: "tool_result", content: "", toolName: "Bash" }),
      output({ messageType: "assistant", content: "", isPartial: true }),
      update
    ]
    while (true) for (const next of round) yield next()
  }
})

// A character of it is a byte of a frame.
const ascii = words.replaceAll(/[^ -~]|"/g, "-").repeat(3)

const frameSize = (message: Message): number => Result.getOrThrow(encodeFrame(message)).length
