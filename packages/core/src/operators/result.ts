/**
 * The result of a task's run, as an Effect.
 */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { dual } from "effect/Function"
import * as Option from "effect/Option"
import type * as Pull from "effect/Pull"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import type { NonEmptyReadonlyArray } from "effect/Array"
import type { MeshEvent, Restated } from "../MeshEvent.ts"
import type { TaskOutput, TaskUpdated } from "../ServerMessage.ts"
import { TaskId } from "../TaskId.ts"
import * as TaskStatus from "../TaskStatus.ts"
import { atLeast } from "../internal/bounds.ts"
import * as Versions from "../internal/projection/versions.ts"
import { arrived, monotonicMillis } from "../internal/time.ts"
import { isDataFirst, toPredicate } from "../internal/operators.ts"
import type { RestartOptions, Selector } from "./options.ts"

/**
 * The result of a task's run: the agent's last message (`content`), the cost of the
 * run in US dollars (`costUsd`) and its duration in milliseconds (`durationMs`), if
 * the server sent them.
 *
 * @category schemas
 * @since 0.1.0
 */
export const TaskResult = Schema.TaggedStruct("TaskResult", {
  taskId: TaskId,
  content: Schema.String,
  costUsd: Schema.optionalKey(Schema.Finite),
  durationMs: Schema.optionalKey(Schema.Int)
})

/**
 * The result of a task's run: see the schema of the same name.
 *
 * @category models
 * @since 0.1.0
 */
export interface TaskResult extends Schema.Schema.Type<typeof TaskResult> {}

/**
 * The task failed before it had a result, or its result is an error.
 *
 * **Details**
 *
 * Has one of these members:
 *
 * - `status`: the failing status, if it arrived first.
 * - `result`: the result that the agent marked as an error, with the cost and duration
 *   of the run.
 *
 * @category errors
 * @since 0.1.0
 */
export class TaskFailed extends Schema.TaggedError<TaskFailed>("@makima-stream/core/MeshStream/TaskFailed")(
  "TaskFailed",
  {
    taskId: TaskId,
    status: Schema.optionalKey(Schema.String),
    result: Schema.optionalKey(TaskResult)
  }
) {
  /** What happened, in one line. */
  override get message(): string {
    return this.status === undefined
      ? `Task ${this.taskId} ended with an error as its result`
      : `Task ${this.taskId} is ${this.status}`
  }
}

/**
 * The stream or the task ended without a result.
 *
 * **Details**
 *
 * `status` is the terminal status of the task. It is absent if the stream ended first.
 * In both cases the result may have been lost in a gap.
 *
 * @category errors
 * @since 0.1.0
 */
export class NoResult extends Schema.TaggedError<NoResult>("@makima-stream/core/MeshStream/NoResult")("NoResult", {
  taskId: TaskId,
  status: Schema.optionalKey(Schema.String)
}) {
  /** What happened, in one line. */
  override get message(): string {
    return this.status === undefined
      ? `The stream ended before task ${this.taskId} had a result`
      : `Task ${this.taskId} is ${this.status}, but no result arrived`
  }
}

/**
 * Options of `takeResult`.
 *
 * @category options
 * @since 0.1.0
 */
export interface TakeResultOptions extends RestartOptions {
  /** The statuses that end a task. Defaults to `TaskStatus.defaultTerminal`. */
  readonly terminal?: Selector<string> | undefined
  /**
   * The statuses of a failed task. They do not have to be in `terminal`. Defaults to
   * `TaskStatus.defaultFailed`.
   */
  readonly failed?: Selector<string> | undefined
  /**
   * How long to wait for a result after the terminal status of its task. Defaults to 5
   * seconds.
   */
  readonly endedTimeToLive?: Duration.Input | undefined
}

type Verdict = Effect.Effect<TaskResult, TaskFailed | NoResult>

/** The options with their defaults. `endedTimeToLive` is in milliseconds. */
interface Settings {
  readonly isTerminal: (status: string) => boolean
  readonly isFailed: (status: string) => boolean
  readonly endedTimeToLive: number
  readonly restartAfter: number
}

/** The task has a terminal status, and its result has not arrived yet. */
interface Ended {
  status: string
  /** The end of the wait, in monotonic milliseconds. */
  readonly until: number
}

/** Ends the stream when the wait is over and everything that had arrived was read. */
const waitOf = ({ until }: Ended, clock: Clock.Clock): Pull.Pull<never> =>
  Effect.sleep(Math.max(0, Math.ceil(until - monotonicMillis(clock)))).pipe(
    Effect.andThen(arrived),
    Effect.andThen(Cause.done())
  )

const defaultEndedTimeToLive = Duration.seconds(5)

const toResult = ({ content, costUsd, durationMs, taskId }: TaskOutput): TaskResult => ({
  _tag: "TaskResult",
  taskId,
  content,
  ...(costUsd === undefined ? {} : { costUsd }),
  ...(durationMs === undefined ? {} : { durationMs })
})

/**
 * Runs the stream until the result of a task arrives.
 *
 * **When to use**
 *
 * Use it to wait for a task's answer, in a script or a CI gate. Request both the
 * output and the updates of the task (`Interest.task`): without updates, a failure
 * without a result is not noticed.
 *
 * **Details**
 *
 * Succeeds with the first whole output of the message type `result` of the task.
 * Fails with
 *
 * - `TaskFailed` if a failing status arrives first, or if the result is marked as an
 *   error (`isError`);
 * - `NoResult` if the stream ends first, if the task reaches another terminal status
 *   and no result arrives within `endedTimeToLive`, or if a `Repair` says that the task
 *   is `gone`;
 * - the error of the stream.
 *
 * A result usually arrives before the terminal status of its task, so the wait for a
 * late result is short. A newer update to a non-terminal status (the task was started
 * again) cancels the wait; the higher version decides (see `RestartOptions`).
 * Everything that had arrived when the wait was over is read before it ends, even if
 * the process was stopped meanwhile.
 *
 * Lifecycle elements and events of other tasks are ignored. The stream is closed as
 * soon as the result is known.
 *
 * **Gotchas**
 *
 * A result that was lost in a gap never arrives. If the terminal status of the task
 * arrives after the gap, or a `Repair` restates it, the wait ends with `NoResult`. If the
 * status was lost too, the wait does not end: limit it with `Effect.timeout`. A task
 * that runs again has another result; each call returns one result.
 *
 * **Example** (Waiting for an answer)
 *
 * ```ts
 * import * as Effect from "effect/Effect"
 * import * as Stream from "effect/Stream"
 * import * as MeshEvent from "@makima-stream/core/MeshEvent"
 * import * as MeshStream from "@makima-stream/core/MeshStream"
 * import * as TaskId from "@makima-stream/core/TaskId"
 *
 * const taskId = TaskId.make("7f1c")
 * const feed = Stream.fromIterable<MeshEvent.MeshEvent>([
 *   { _tag: "TaskOutput", taskId, messageType: "result", content: "42", costUsd: 0.25, durationMs: 1200 },
 *   { _tag: "TaskUpdated", taskId, status: "done" }
 * ])
 *
 * const program = feed.pipe(
 *   MeshStream.takeResult(taskId),
 *   Effect.map((result) => `${result.content} for $${result.costUsd}`),
 *   Effect.catchTag("TaskFailed", (error) => Effect.succeed(error.message))
 * )
 * Effect.runPromise(program).then(console.log) // 42 for $0.25
 * ```
 *
 * @category ends
 * @since 0.1.0
 */
export const takeResult: {
  <E, R>(
    self: Stream.Stream<MeshEvent, E, R>,
    taskId: TaskId,
    options?: TakeResultOptions
  ): Effect.Effect<TaskResult, E | TaskFailed | NoResult, R>
  (
    taskId: TaskId,
    options?: TakeResultOptions
  ): <E, R>(self: Stream.Stream<MeshEvent, E, R>) => Effect.Effect<TaskResult, E | TaskFailed | NoResult, R>
} = dual(
  isDataFirst,
  <E, R>(
    self: Stream.Stream<MeshEvent, E, R>,
    taskId: TaskId,
    options?: TakeResultOptions
  ): Effect.Effect<TaskResult, E | TaskFailed | NoResult, R> => {
    const settings: Settings = {
      isTerminal: toPredicate(options?.terminal ?? TaskStatus.defaultTerminal),
      isFailed: toPredicate(options?.failed ?? TaskStatus.defaultFailed),
      endedTimeToLive: Duration.toMillis(options?.endedTimeToLive ?? defaultEndedTimeToLive),
      restartAfter: atLeast(1, options?.restartAfter ?? Versions.defaultRestartAfter)
    }
    return Effect.suspend(() => {
      const task = new Task(taskId, settings)
      return Effect.flatMap(
        Stream.runHead(verdictsOf(self, task)),
        Option.match({
          onNone: (): Verdict => Effect.fail(new NoResult({ taskId, ...task.status() })),
          onSome: (verdict) => verdict
        })
      )
    })
  }
)

/** What is known of the task, from the events so far. */
class Task {
  readonly #taskId: TaskId
  readonly #settings: Settings
  ended: Ended | undefined
  #versions: Versions.Versions | undefined
  /** The number of marks of a new connection so far. */
  #connections = 0

  constructor(taskId: TaskId, settings: Settings) {
    this.#taskId = taskId
    this.#settings = settings
  }

  /** The terminal status of the task, if it has one. */
  status(): { readonly status?: string } {
    return this.ended === undefined ? {} : { status: this.ended.status }
  }

  /** Returns the verdict, once an event decides it. */
  judge(event: MeshEvent, clock: Clock.Clock): Verdict | undefined {
    if (Versions.isNewConnection(event)) this.#connections++
    if (!("taskId" in event) || event.taskId !== this.#taskId) return undefined
    switch (event._tag) {
      case "TaskOutput":
        return this.#judgeOutput(event)
      case "Restated":
        return event.gone === true
          ? Effect.fail(new NoResult({ taskId: this.#taskId, status: this.ended?.status ?? "gone" }))
          : this.#judgeStatus(event, clock)
      case "TaskUpdated":
        return this.#judgeStatus(event, clock)
      default:
        return undefined
    }
  }

  #judgeOutput(output: TaskOutput): Verdict | undefined {
    if (output.messageType !== "result" || output.isPartial === true) return undefined
    const result = toResult(output)
    return output.isError === true
      ? Effect.fail(new TaskFailed({ taskId: this.#taskId, result }))
      : Effect.succeed(result)
  }

  #judgeStatus({ status, version }: TaskUpdated | Restated, clock: Clock.Clock): Verdict | undefined {
    const { endedTimeToLive, isFailed, isTerminal } = this.#settings
    if (!this.#isNewest(version) || status === undefined) return undefined
    if (isFailed(status)) return Effect.fail(new TaskFailed({ taskId: this.#taskId, status }))
    if (!isTerminal(status)) this.ended = undefined
    // An update that repeats the terminal status does not extend the wait.
    else if (this.ended !== undefined) this.ended.status = status
    else this.ended = { status, until: monotonicMillis(clock) + endedTimeToLive }
    return undefined
  }

  /** Whether an update is the newest. An update without a version counts as the newest. */
  #isNewest(version: number | undefined): boolean {
    if (version === undefined) return true
    const before = this.#versions
    this.#versions = Versions.next(before, version, this.#connections, this.#settings.restartAfter)
    return Versions.isNewer(before, this.#versions)
  }
}

/** Reads the feed until there is a verdict, or until the wait for a late result is over. */
const verdictsOf = <E, R>(self: Stream.Stream<MeshEvent, E, R>, task: Task): Stream.Stream<Verdict, E, R> =>
  Stream.transformPull(self, (pull) =>
    Effect.map(Clock.Clock, (clock) => {
      /** Reads until there is a verdict, or another state than `state`. */
      const readWhile = (state: Ended | undefined): Pull.Pull<Verdict | undefined, E> =>
        Effect.flatMap(pull, (batch) => {
          for (const event of batch) {
            const verdict = task.judge(event, clock)
            if (verdict !== undefined) return Effect.succeed(verdict)
          }
          return task.ended === state ? readWhile(state) : Effect.succeed(undefined)
        })

      const loop: Pull.Pull<NonEmptyReadonlyArray<Verdict>, E> = Effect.suspend(() => {
        const state = task.ended
        const read = readWhile(state)
        return Effect.flatMap(
          state === undefined || state.until === Infinity ? read : Effect.raceFirst(read, waitOf(state, clock)),
          (verdict) => (verdict === undefined ? loop : Effect.succeed([verdict] as const))
        )
      })
      return loop
    })
  )
