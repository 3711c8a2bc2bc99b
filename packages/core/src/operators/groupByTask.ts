/**
 * `groupByTask`: one fiber reads the feed and puts each event into the mailbox of
 * its task. `internal/taskGroups.ts` determines when a group ends.
 *
 * It does not use `Stream.groupByKey`, which cannot send an element to every group,
 * ends its groups without an error when the feed fails, queues any number of groups
 * before a consumer takes them, and has only one time to live.
 */
import type { NonEmptyReadonlyArray } from "effect/Array"
import * as Channel from "effect/Channel"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { dual } from "effect/Function"
import type * as Pull from "effect/Pull"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { MeshEvent } from "../MeshEvent.ts"
import type { TaskId } from "../TaskId.ts"
import * as TaskStatus from "../TaskStatus.ts"
import * as Mailbox from "../internal/queue/mailbox.ts"
import { atLeast } from "../internal/bounds.ts"
import * as Versions from "../internal/projection/versions.ts"
import * as TaskGroups from "../internal/taskGroups.ts"
import { arrived, monotonicMillis } from "../internal/time.ts"
import { isDataFirst, type NoUnknownOptions, toPredicate } from "../internal/operators.ts"
import type { RestartOptions, Selector } from "./options.ts"

/**
 * A task, and the stream of its events. See `groupByTask`.
 *
 * @category models
 * @since 0.2.0
 */
export interface TaskEvents<A, E = never> extends Readonly<[taskId: TaskId, events: Stream.Stream<A, E>]> {}

/**
 * Options of `groupByTask`.
 *
 * @category options
 * @since 0.1.0
 */
export interface GroupByTaskOptions extends RestartOptions {
  /**
   * The most events of one task that wait for its consumer. When a task has as many,
   * reading stops for all tasks. A fraction is rounded down; a value below 1 or `NaN`
   * counts as 1. Defaults to 256.
   */
  readonly capacity?: number | undefined
  /**
   * How long a task may be silent before its substream ends. The task's next event
   * starts a new substream. Defaults to 1 hour.
   */
  readonly idleTimeToLive?: Duration.Input | undefined
  /**
   * How long after the last event of an ended task its substream ends, since output
   * may follow the update that ends its task. With 0, the substream ends with that
   * update. Defaults to 5 seconds.
   */
  readonly endedTimeToLive?: Duration.Input | undefined
  /** The statuses that end a task. Defaults to `TaskStatus.defaultTerminal`. */
  readonly terminal?: Selector<string> | undefined
}

/** The type of `groupByTask`, which can be used without a call in a pipe, called with options, or called data-first. */
interface GroupByTask {
  <Arg extends Stream.Stream<MeshEvent, unknown, unknown> | GroupByTaskOptions = {}>(
    selfOrOptions?: Arg & NoUnknownOptions<Arg, GroupByTaskOptions>,
    options?: GroupByTaskOptions
  ): [Arg] extends [Stream.Stream<infer A, infer E, infer R>]
    ? Stream.Stream<TaskEvents<A, E>, E, R>
    : <A extends MeshEvent, E, R>(self: Stream.Stream<A, E, R>) => Stream.Stream<TaskEvents<A, E>, E, R>
}

/**
 * Splits the feed into a substream for each task.
 *
 * **When to use**
 *
 * Use it to process each task separately and concurrently, for example with one log
 * file or one worker for each task. For one or a few known tasks, use `filterTask`.
 *
 * **Details**
 *
 * Emits a pair of id and substream when an event first names a task. Every event that
 * names a task is in the substream of that task, in the order of the feed.
 *
 * An event without a task (`Connected`, `Disconnected`, a `Resync` of everything,
 * `ServerError`, `UnknownMessage`) goes to every live substream, and is dropped if
 * there is none. A `Resync` that names a task goes only to that task, and starts its
 * substream like any other event.
 *
 * A substream ends
 *
 * - `endedTimeToLive` after the last event of its task, if the task has a terminal
 *   status; a newer update to a non-terminal status cancels this (the higher version
 *   decides: see `RestartOptions`);
 * - when its task was silent for `idleTimeToLive`;
 * - when the feed ends.
 *
 * Its consumer receives the buffered events first. A later event starts a new
 * substream of the same task. A failure of the feed fails every live substream and
 * the outer stream, so a substream that ends without a failure is complete.
 *
 * Each substream is for one consumer. If the consumer stops early or is
 * interrupted, the rest of this substream is dropped and the others continue.
 *
 * Memory: at most `capacity` events for each live task. When 16 new substreams have
 * not been taken, reading stops.
 *
 * **Gotchas**
 *
 * - The buffer of a substream without a consumer fills up, and then reading stops for
 *   all tasks. Consume all substreams concurrently (`concurrency: "unbounded"`). With
 *   fewer consumers than live tasks, reading stops until one of the substreams was
 *   silent for `idleTimeToLive`. To exclude tasks, put `filterTask` before
 *   `groupByTask`, not after it.
 * - Time passes while reading is stopped. If a consumer stalls for longer than
 *   `idleTimeToLive`, its substream ends after the buffered events, and later events
 *   are in a new substream.
 * - A late update of a task whose substream has ended starts a new substream.
 *
 * **Example** (The output of each task)
 *
 * ```ts
 * import * as Effect from "effect/Effect"
 * import * as Stream from "effect/Stream"
 * import * as MeshStream from "@makima-stream/core/MeshStream"
 * import * as TaskId from "@makima-stream/core/TaskId"
 *
 * const said = (task: string, content: string) =>
 *   ({ _tag: "TaskOutput", taskId: TaskId.make(task), messageType: "assistant", content }) as const
 *
 * const program = Stream.make(said("a", "one"), said("b", "two"), said("a", "three")).pipe(
 *   MeshStream.groupByTask,
 *   Stream.mapEffect(
 *     ([taskId, events]) =>
 *       Effect.map(Stream.runCollect(events), (outputs) => `${taskId}: ${outputs.map((o) => o.content)}`),
 *     { concurrency: "unbounded" }
 *   ),
 *   Stream.runCollect
 * )
 * console.log(await Effect.runPromise(program)) // ["a: one,three", "b: two"]
 * ```
 *
 * @category shape
 * @since 0.1.0
 */
export const groupByTask: GroupByTask = dual(
  isDataFirst,
  <A extends MeshEvent, E, R>(
    self: Stream.Stream<A, E, R>,
    options?: GroupByTaskOptions
  ): Stream.Stream<TaskEvents<A, E>, E, R> => {
    const settings = settingsOf(options)
    return Stream.transformPull(self, (pull, scope) => groupPull(pull, scope, settings))
  }
)

/** The options with their defaults. */
const settingsOf = (options: GroupByTaskOptions | undefined): TaskGroups.Settings => ({
  capacity: atLeast(1, options?.capacity ?? 256),
  idleTimeToLive: Duration.toMillis(options?.idleTimeToLive ?? "1 hour"),
  endedTimeToLive: Duration.toMillis(options?.endedTimeToLive ?? "5 seconds"),
  isTerminal: toPredicate(options?.terminal ?? TaskStatus.defaultTerminal),
  restartAfter: atLeast(1, options?.restartAfter ?? Versions.defaultRestartAfter)
})

/** The most substreams that wait to be taken. */
const maxWaiting = 16

/** Reads the feed. Returns the pull of the new groups. */
const groupPull = Effect.fnUntraced(function* <A extends MeshEvent, E>(
  upstream: Pull.Pull<NonEmptyReadonlyArray<A>, E>,
  scope: Scope.Scope,
  settings: TaskGroups.Settings
) {
  const clock = yield* Clock.Clock
  const out = Mailbox.make<TaskEvents<A, E>, TaskEvents<A, E>, E>(Mailbox.boundedQueue(maxWaiting))
  const groups = new TaskGroups.TaskGroups<A, E>(settings)

  for (const queue of groups.queues) {
    if (Number.isFinite(queue.timeToLive)) {
      yield* Effect.forkIn(Effect.forever(sweep(groups, queue, clock), { disableYield: true }), scope)
    }
  }
  yield* upstream.pipe(
    Effect.flatMap(dispatcher(groups, out, clock)),
    Effect.forever({ disableYield: true }),
    Effect.onExit((exit) =>
      Effect.sync(() => {
        if (exit._tag !== "Failure") return
        groups.endAll(exit.cause)
        out.end(exit.cause)
      })
    ),
    Effect.forkIn(scope)
  )
  return out.pull
})

/** Returns a function that puts the events of a batch into the mailboxes of their tasks. */
const dispatcher = <A extends MeshEvent, E>(
  groups: TaskGroups.TaskGroups<A, E>,
  out: Mailbox.Mailbox<TaskEvents<A, E>, TaskEvents<A, E>, E>,
  clock: Clock.Clock
) => {
  /** The groups with new events whose consumers were not woken yet. */
  const touched = new Set<TaskGroups.Group<A, E>>()
  let now = 0

  const wakeAll = (): void => {
    out.wake()
    const boxes = [...touched]
    touched.clear()
    for (const { box } of boxes) box.wake()
  }

  /** Wakes every consumer with new events, then waits. */
  const wait = (room: Effect.Effect<void>): Effect.Effect<void> => {
    wakeAll()
    return Effect.map(room, () => {
      now = monotonicMillis(clock)
    })
  }

  const start = Effect.fnUntraced(function* (taskId: TaskId) {
    const group = groups.make(taskId)
    const entry: TaskEvents<A, E> = [taskId, toStream(group.box)]
    while (!out.offer(entry)) yield* wait(out.room)
    groups.add(group)
    return group
  })

  return Effect.fnUntraced(function* (batch: NonEmptyReadonlyArray<A>) {
    now = monotonicMillis(clock)
    for (const event of batch) {
      groups.observe(event)
      const taskId = "taskId" in event ? event.taskId : undefined
      if (taskId === undefined) {
        for (const group of groups.all()) {
          while (!group.box.offer(event)) yield* wait(group.box.room)
          touched.add(group)
        }
        continue
      }
      let group = groups.get(taskId) ?? (yield* start(taskId))
      while (!group.box.offer(event)) {
        yield* wait(group.box.room)
        // The group may have ended during the wait.
        group = groups.get(taskId) ?? (yield* start(taskId))
      }
      touched.add(group)
      groups.hear(group, event, now)
    }
    wakeAll()
  })
}

/** Waits until the first group of a queue may end, and ends those that were silent for its time to live. */
const sweep = <A extends MeshEvent, E>(
  groups: TaskGroups.TaskGroups<A, E>,
  queue: TaskGroups.Queue<A, E>,
  clock: Clock.Clock
): Effect.Effect<void> =>
  Effect.suspend(() => {
    const [first] = queue.members
    if (first === undefined) {
      queue.filled.closeUnsafe()
      return queue.filled.await
    }
    const time = monotonicMillis(clock)
    const left = first.heardAt + queue.timeToLive - time
    // Whole milliseconds, so that a rounding error does not cause repeated sleeps of 0 ms.
    if (left > 0) return Effect.sleep(Math.ceil(left))
    return Effect.map(arrived, () => groups.sweep(queue, time))
  })

const toStream = <A, E>(box: Mailbox.Mailbox<A, A, E>): Stream.Stream<A, E> =>
  Stream.fromChannel(
    Channel.fromTransform((_, scope) => Effect.as(Scope.addFinalizer(scope, Effect.sync(box.leave)), box.pull))
  )
