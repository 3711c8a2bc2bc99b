/**
 * `groupByTask`: one fiber reads the feed and puts each event into the mailbox of
 * its task.
 *
 * It does not use `Stream.groupByKey`, which cannot send an element to every group,
 * ends its groups without an error when the feed fails, queues any number of groups
 * before a consumer takes them, and has only one time to live.
 *
 * Invariants: a task has at most one live group; each live group is in either `idle`
 * or `ending`, which are ordered by the time of the last event, oldest first; a
 * group's mailbox is ended exactly when the group stops being live.
 */
import type { NonEmptyReadonlyArray } from "effect/Array"
import * as Cause from "effect/Cause"
import * as Channel from "effect/Channel"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { dual } from "effect/Function"
import * as Latch from "effect/Latch"
import type * as Pull from "effect/Pull"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { MeshEvent } from "../MeshEvent.ts"
import type { TaskId } from "../TaskId.ts"
import * as TaskStatus from "../TaskStatus.ts"
import * as Mailbox from "../internal/queue/mailbox.ts"
import { arrived } from "../internal/arrived.ts"
import { atLeast } from "../internal/bounds.ts"
import * as Versions from "../internal/projection/versions.ts"
import { monotonicMillis } from "../internal/time.ts"
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
export const groupByTask: {
  /** Splits the feed into a substream for each task: see `groupByTask`. */
  <Arg extends Stream.Stream<MeshEvent, unknown, unknown> | GroupByTaskOptions = {}>(
    selfOrOptions?: Arg & NoUnknownOptions<Arg, GroupByTaskOptions>,
    options?: GroupByTaskOptions
  ): [Arg] extends [Stream.Stream<infer A, infer E, infer R>]
    ? Stream.Stream<TaskEvents<A, E>, E, R>
    : <A extends MeshEvent, E, R>(self: Stream.Stream<A, E, R>) => Stream.Stream<TaskEvents<A, E>, E, R>
} = dual(
  isDataFirst,
  <A extends MeshEvent, E, R>(
    self: Stream.Stream<A, E, R>,
    options?: GroupByTaskOptions
  ): Stream.Stream<TaskEvents<A, E>, E, R> => {
    const settings = settingsOf(options)
    return Stream.transformPull(self, (pull, scope) => deal(pull, scope, settings))
  }
)

/** The options with their defaults. Durations are in milliseconds. */
interface Settings {
  readonly capacity: number
  readonly idleTimeToLive: number
  readonly endedTimeToLive: number
  readonly isTerminal: (status: string) => boolean
  readonly restartAfter: number
}

const settingsOf = (options: GroupByTaskOptions | undefined): Settings => ({
  capacity: atLeast(1, options?.capacity ?? 256),
  idleTimeToLive: Duration.toMillis(options?.idleTimeToLive ?? "1 hour"),
  endedTimeToLive: Duration.toMillis(options?.endedTimeToLive ?? "5 seconds"),
  isTerminal: toPredicate(options?.terminal ?? TaskStatus.defaultTerminal),
  restartAfter: atLeast(1, options?.restartAfter ?? Versions.defaultRestartAfter)
})

interface Group<A, E> {
  readonly taskId: TaskId
  readonly box: Mailbox.Mailbox<A, A, E>
  /** The time of the last event, in monotonic milliseconds. */
  heardAt: number
  isEnding: boolean
  versions: Versions.Versions | undefined
}

/** The most substreams that wait to be taken. */
const maxWaiting = 16

const deal = Effect.fnUntraced(function* <A extends MeshEvent, E>(
  upstream: Pull.Pull<NonEmptyReadonlyArray<A>, E>,
  scope: Scope.Scope,
  { capacity, endedTimeToLive, idleTimeToLive, isTerminal, restartAfter }: Settings
) {
  type Entry = TaskEvents<A, E>

  const clock = yield* Clock.Clock

  const out = Mailbox.make<Entry, Entry, E>(Mailbox.boundedQueue(maxWaiting))
  const groups = new Map<TaskId, Group<A, E>>()
  const touched = new Set<Group<A, E>>()
  const idle = queueOf<A, E>(idleTimeToLive)
  const ending = queueOf<A, E>(endedTimeToLive)

  const end = (group: Group<A, E>, cause: Cause.Cause<E | Cause.Done>): void => {
    groups.delete(group.taskId)
    idle.members.delete(group)
    ending.members.delete(group)
    group.box.end(cause)
  }

  const endAll = (cause: Cause.Cause<E | Cause.Done>): void => {
    for (const group of groups.values()) end(group, cause)
    out.end(cause)
  }

  const wakeAll = (): void => {
    out.wake()
    const boxes = [...touched]
    touched.clear()
    for (const { box } of boxes) box.wake()
  }

  let now = 0
  /** The number of marks of a new connection so far. */
  let connections = 0

  /** Wakes every consumer with new events, then waits. */
  const wait = (room: Effect.Effect<void>): Effect.Effect<void> => {
    wakeAll()
    return Effect.map(room, () => {
      now = monotonicMillis(clock)
    })
  }

  const start = Effect.fnUntraced(function* (taskId: TaskId) {
    const group: Group<A, E> = {
      taskId,
      box: Mailbox.make(Mailbox.boundedQueue(capacity)),
      heardAt: -Infinity,
      isEnding: false,
      versions: undefined
    }
    const entry: Entry = [taskId, toStream(group.box)]
    while (!out.offer(entry)) yield* wait(out.room)
    groups.set(taskId, group)
    return group
  })

  /** An update without a version counts as the newest. */
  const isNewest = (group: Group<A, E>, version: number | undefined): boolean => {
    if (version === undefined) return true
    const before = group.versions
    group.versions = Versions.next(before, version, connections, restartAfter)
    return Versions.isNewer(before, group.versions)
  }

  const hear = (group: Group<A, E>, event: A): void => {
    touched.add(group)
    const wasEnding = group.isEnding
    if (event._tag === "Restated" && event.gone === true) {
      group.isEnding = true
    } else if (
      (event._tag === "TaskUpdated" || event._tag === "Restated") &&
      isNewest(group, event.version) &&
      event.status !== undefined
    ) {
      group.isEnding = isTerminal(event.status)
    }
    if (group.isEnding && endedTimeToLive === 0) return end(group, done)
    // Once for each batch and group, because all events of a batch have the same time.
    if (group.heardAt === now && group.isEnding === wasEnding) return
    group.heardAt = now
    idle.members.delete(group)
    ending.members.delete(group)
    const queue = group.isEnding ? ending : idle
    queue.members.add(group)
    queue.filled.openUnsafe()
  }

  const dealBatch = Effect.fnUntraced(function* (batch: NonEmptyReadonlyArray<A>) {
    now = monotonicMillis(clock)
    for (const event of batch) {
      if (Versions.isNewConnection(event)) connections++
      const taskId = "taskId" in event ? event.taskId : undefined
      if (taskId === undefined) {
        for (const group of groups.values()) {
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
      hear(group, event)
    }
    wakeAll()
  })

  /** Ends the groups of a queue that were silent for its time to live. */
  const sweep = (queue: Queue<A, E>): Effect.Effect<void> =>
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
      return Effect.map(arrived, () => {
        for (const group of queue.members) {
          if (group.heardAt + queue.timeToLive > time) break
          end(group, done)
        }
      })
    })

  for (const queue of [idle, ending]) {
    if (Number.isFinite(queue.timeToLive)) {
      yield* Effect.forkIn(Effect.forever(sweep(queue), { disableYield: true }), scope)
    }
  }
  yield* upstream.pipe(
    Effect.flatMap(dealBatch),
    Effect.forever({ disableYield: true }),
    Effect.onExit((exit) => Effect.sync(() => exit._tag === "Failure" && endAll(exit.cause))),
    Effect.forkIn(scope)
  )
  return out.pull
})

const done: Cause.Cause<Cause.Done> = Cause.fail(Cause.Done())

/** Groups that end after the same time of silence. The first one is the next to end. */
interface Queue<A, E> {
  readonly timeToLive: number
  readonly members: Set<Group<A, E>>
  readonly filled: Latch.Latch
}

const queueOf = <A, E>(timeToLive: number): Queue<A, E> => ({
  timeToLive,
  members: new Set(),
  filled: Latch.makeUnsafe(false)
})

const toStream = <A, E>(box: Mailbox.Mailbox<A, A, E>): Stream.Stream<A, E> =>
  Stream.fromChannel(
    Channel.fromTransform((_, scope) => Effect.as(Scope.addFinalizer(scope, Effect.sync(box.leave)), box.pull))
  )
