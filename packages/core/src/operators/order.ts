/**
 * Operators that compare an update with the previous update of the same task: they
 * find duplicates, gaps, and changes of the status.
 *
 * Each run of a stream has its own memory of the most recently updated tasks. A
 * forgotten task counts as new.
 */
import * as Effect from "effect/Effect"
import { dual } from "effect/Function"
import * as Stream from "effect/Stream"
import type { MeshEvent, Restated, Resync } from "../MeshEvent.ts"
import * as MeshMetrics from "../MeshMetrics.ts"
import type { TaskUpdated } from "../ServerMessage.ts"
import type { TaskId } from "../TaskId.ts"
import { isDataFirst, keptBy } from "../internal/operators.ts"
import type { Events, From, Kept, NoUnknownOptions } from "../internal/operators.ts"
import type { StatusRestated, StatusUpdated } from "./members.ts"
import type { KeepOptions, RestartOptions } from "./options.ts"
import { atLeast } from "../internal/bounds.ts"
import * as Versions from "../internal/projection/versions.ts"
import { defaultMaxTasks, Recent } from "../internal/queue/recent.ts"

/**
 * The memory bound of an operator that keeps a state for each task.
 *
 * @category options
 * @since 0.1.0
 */
export interface MaxTasksOptions {
  /**
   * How many tasks are remembered, at least 1. When there are more, the task that was
   * updated longest ago is forgotten, and counts as new at its next update. Defaults
   * to 10,000, which takes about 2 MB if ids are UUIDs.
   */
  readonly maxTasks?: number | undefined
}

const recent = <V>(options: MaxTasksOptions | undefined): Recent<TaskId, V> =>
  new Recent(options?.maxTasks ?? defaultMaxTasks)

const restartAfterOf = (options: RestartOptions | undefined): number =>
  atLeast(1, options?.restartAfter ?? Versions.defaultRestartAfter)

/**
 * Options of `dedupeUpdates` and `markGaps`.
 *
 * @category options
 * @since 0.2.0
 */
export interface OrderOptions extends MaxTasksOptions, RestartOptions {}

/** The type of `dedupeUpdates`, which can be used without a call in a pipe, called with options, or called data-first. */
interface DedupeUpdates {
  <Arg extends Events | OrderOptions = {}>(
    selfOrOptions?: Arg & NoUnknownOptions<Arg, OrderOptions>,
    options?: OrderOptions
  ): [Arg] extends [Stream.Stream<infer A, infer E, infer R>]
    ? Stream.Stream<A, E, R>
    : <A extends MeshEvent, E, R>(self: Stream.Stream<A, E, R>) => Stream.Stream<A, E, R>
}

/**
 * Drops updates that are not newer than an earlier update of the same task.
 *
 * **When to use**
 *
 * Use it if an update may arrive more than once, because of overlapping subscriptions
 * or merged feeds, and it must not be handled twice.
 *
 * **Details**
 *
 * - An update passes if its `version` is higher than every earlier version of its
 *   task. An update without a `version` always passes.
 * - All other events pass, including the lifecycle elements. So does a `Restated` of a
 *   `Repair`. Its version counts as passed.
 * - A `Resync` does not clear the memory. On the server, versions continue to grow
 *   during a gap, so an old version is still old after a gap.
 * - A server that was restored from a backup continues from a lower version. Its
 *   updates pass from the third on (`restartAfter`, see `RestartOptions`).
 * - Memory: a few numbers for each of the last `maxTasks` tasks. A duplicate of a
 *   forgotten task passes.
 *
 * **Gotchas**
 *
 * An update that arrives after a newer update of its task is dropped too, even if it
 * was not seen before.
 *
 * **Example** (An update that came twice)
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
 *   { _tag: "TaskUpdated", taskId, version: 1 },
 *   { _tag: "TaskUpdated", taskId, version: 1 },
 *   { _tag: "TaskUpdated", taskId, version: 2 }
 * ])
 *
 * const once = feed.pipe(MeshStream.dedupeUpdates)
 * console.log(Effect.runSync(Stream.runCollect(once)).length) // 2
 * ```
 *
 * @category order
 * @since 0.1.0
 */
export const dedupeUpdates: DedupeUpdates = dual(
  isDataFirst,
  <A extends MeshEvent, E, R>(self: Stream.Stream<A, E, R>, options?: OrderOptions): Stream.Stream<A, E, R> =>
    Stream.suspend(() => {
      const restartAfter = restartAfterOf(options)
      const versions = recent<Versions.Versions>(options)
      let connections = 0
      return Stream.filter(self, (event) => {
        if (event._tag !== "TaskUpdated" && event._tag !== "Restated") {
          if (Versions.isNewConnection(event)) connections++
          return true
        }
        if (event.version === undefined) return true
        const before = versions.get(event.taskId)
        const after = Versions.next(before, event.version, connections, restartAfter)
        if (after !== before) versions.set(event.taskId, after)
        return event._tag === "Restated" || Versions.isNewer(before, after)
      })
    })
)

interface Passed {
  versions: Versions.Versions
  /** The number of marked gaps of all tasks when this version passed. */
  gaps: number
}

/** Below any count of gaps: a gap of only this task was marked after its version passed. */
const marked = -1

/**
 * Whether updates may be missing at a mark. Before `Started`, which opens the first
 * connection, nothing can be missing. A subscription to output does not affect updates.
 */
const isGapOfUpdates = ({ reason }: Resync): boolean =>
  reason._tag === "Subscribed" ? reason.kind === "updates" : reason._tag !== "Started"

/** The type of `markGaps`, which can be used without a call in a pipe, called with options, or called data-first. */
interface MarkGaps {
  <Arg extends Events | OrderOptions = {}>(
    selfOrOptions?: Arg & NoUnknownOptions<Arg, OrderOptions>,
    options?: OrderOptions
  ): [Arg] extends [Stream.Stream<infer A, infer E, infer R>]
    ? Stream.Stream<A | Resync, E, R>
    : <A extends MeshEvent, E, R>(self: Stream.Stream<A, E, R>) => Stream.Stream<A | Resync, E, R>
}

/**
 * Emits a `Resync` with the reason `VersionGap` before an update whose `version`
 * jumped.
 *
 * **When to use**
 *
 * Use it to detect updates that the server skipped, or that a proxy lost, during a
 * connection. It is a second signal: a `Resync` after a reconnect does not need it.
 *
 * **Details**
 *
 * - If the `version` of an update is more than one above the highest version of its
 *   task, a `Resync` is emitted before it. It names the task, and its reason has
 *   `lastVersion` and `version`.
 * - A gap is marked once: no `Resync` is added if a `Resync` that names this task or no
 *   task is already between the two updates, for example after a reconnect. So a
 *   second `markGaps` adds nothing. `Started` and `Subscribed` of output do not count,
 *   because no update is missing there.
 * - If a restored server continues from a lower version, its updates are compared from
 *   the third on (`restartAfter`, see `RestartOptions`).
 * - The `Resync` has the epoch of the last `Connected` or `Resync` before it, or 0 if
 *   there was none.
 * - All events pass at once. Updates without a `version`, and late updates, are not
 *   compared.
 * - A `Restated` of a `Repair` shows no gap. Its version counts as the last one.
 * - Memory: two numbers for each of the last `maxTasks` tasks. The first update of a
 *   forgotten task cannot show a gap.
 *
 * **Gotchas**
 *
 * Put it before any operator that drops updates, since dropped updates would be marked
 * as a gap. The loss of the last update of a task leaves no jump and is not detected.
 *
 * **Example** (Two updates are missing)
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
 *   { _tag: "TaskUpdated", taskId, version: 1 },
 *   { _tag: "TaskUpdated", taskId, version: 4 }
 * ])
 *
 * const marked = feed.pipe(MeshStream.markGaps)
 * console.log(Effect.runSync(Stream.runCollect(marked)).map((event) => event._tag))
 * // ["TaskUpdated", "Resync", "TaskUpdated"]
 * ```
 *
 * @category order
 * @since 0.1.0
 */
export const markGaps: MarkGaps = dual(
  isDataFirst,
  <A extends MeshEvent, E, R>(self: Stream.Stream<A, E, R>, options?: OrderOptions): Stream.Stream<A | Resync, E, R> =>
    Stream.unwrap(
      Effect.map(Effect.context<never>(), (context) =>
        Stream.mapAccumArray(
          self,
          () => ({
            restartAfter: restartAfterOf(options),
            passed: recent<Passed>(options),
            gaps: 0,
            connections: 0,
            epoch: 0
          }),
          (state, batch) => {
            // Without a mark, which is the common case, the batch itself is emitted.
            let out: Array<A | Resync> | undefined
            for (let i = 0; i < batch.length; i++) {
              const event: MeshEvent = batch[i]
              if ((event._tag === "TaskUpdated" || event._tag === "Restated") && event.version !== undefined) {
                const { taskId, version } = event
                const last = state.passed.get(taskId)
                const versions = Versions.next(last?.versions, version, state.connections, state.restartAfter)
                if (last === undefined) {
                  state.passed.set(taskId, { versions, gaps: state.gaps })
                } else {
                  const lastVersion = last.versions.highest
                  if (version > lastVersion + 1 && last.gaps === state.gaps && event._tag === "TaskUpdated") {
                    MeshMetrics.recordGap("VersionGap", context)
                    out ??= batch.slice(0, i)
                    out.push({
                      _tag: "Resync",
                      epoch: state.epoch,
                      taskId,
                      reason: { _tag: "VersionGap", lastVersion, version }
                    })
                  }
                  if (Versions.isNewer(last.versions, versions)) last.gaps = state.gaps
                  last.versions = versions
                  state.passed.set(taskId, last)
                }
              } else if (event._tag === "Connected") {
                state.epoch = event.epoch
              } else if (event._tag === "Resync") {
                state.epoch = event.epoch
                if (Versions.isNewConnection(event)) state.connections++
                if (!isGapOfUpdates(event)) {
                  // No update is missing here.
                } else if (event.taskId === undefined) {
                  state.gaps++
                } else {
                  const last = state.passed.get(event.taskId)
                  if (last !== undefined) last.gaps = marked
                }
              }
              out?.push(batch[i])
            }
            return [state, out ?? batch]
          }
        )
      )
    )
)

/**
 * Options of `statusChanges`.
 *
 * @category options
 * @since 0.1.0
 */
export interface StatusChangesOptions extends MaxTasksOptions, RestartOptions, KeepOptions {}

/** The remembered state of a task. */
interface Known {
  versions: Versions.Versions | undefined
  status: string | undefined
}

/** The type of `statusChanges`, which can be used without a call in a pipe, called with options, or called data-first. */
interface StatusChanges {
  <Arg extends Events | StatusChangesOptions = {}, O extends StatusChangesOptions = {}>(
    selfOrOptions?: Arg & NoUnknownOptions<Arg, StatusChangesOptions>,
    options?: O & NoUnknownOptions<O, StatusChangesOptions>
  ): [Arg] extends [Stream.Stream<infer A, infer E, infer R>]
    ? Stream.Stream<From<A, TaskUpdated, StatusUpdated> | From<A, Restated, StatusRestated> | Extract<A, Kept<O>>, E, R>
    : <A extends MeshEvent, E, R>(
        self: Stream.Stream<A, E, R>
      ) => Stream.Stream<
        From<A, TaskUpdated, StatusUpdated> | From<A, Restated, StatusRestated> | Extract<A, Kept<Arg>>,
        E,
        R
      >
}

/**
 * Keeps the updates that change their task's status. Consecutive updates of a task
 * with the same status pass once.
 *
 * **When to use**
 *
 * Use it before an action that must happen once for each change, such as a
 * notification. An update of another field repeats the status.
 *
 * **Details**
 *
 * - The first update of a task with a status passes, and then each update whose status
 *   differs from the previous one. A `Restated` of a `Repair` counts as an update.
 * - All other events are dropped, and updates without a status. Lifecycle elements are
 *   dropped unless `keep` selects them.
 * - The highest version decides: an update that arrives after a newer update of its
 *   task is dropped. An update without a `version` counts as newer (see
 *   `RestartOptions`).
 * - A `Resync` does not clear the memory: a status that is the same before and after a
 *   gap does not pass again.
 * - Memory: the status and the version of each of the last `maxTasks` tasks. The next
 *   status of a forgotten task passes.
 *
 * **Gotchas**
 *
 * The status may have changed and changed back during a gap. Keep `Resync` if that
 * matters.
 *
 * **Example** (One message for each failure)
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
 *   { _tag: "TaskUpdated", taskId, version: 1, status: "failed", updatedFields: ["status"] },
 *   { _tag: "TaskUpdated", taskId, version: 2, status: "failed", updatedFields: ["name"] }
 * ])
 *
 * // Stream<StatusUpdated | StatusRestated>
 * const failures = feed.pipe(MeshStream.statusChanges, MeshStream.filterStatus("failed"))
 * console.log(Effect.runSync(Stream.runCollect(failures)).length) // 1
 * ```
 *
 * @category order
 * @since 0.1.0
 */
export const statusChanges: StatusChanges = dual(
  isDataFirst,
  <E, R>(self: Stream.Stream<MeshEvent, E, R>, options?: StatusChangesOptions) =>
    Stream.suspend(() => {
      const tasks = recent<Known>(options)
      const restartAfter = restartAfterOf(options)
      let connections = 0
      const isKept = keptBy(options)
      return Stream.filter(self, (event) => {
        if (event._tag !== "TaskUpdated" && event._tag !== "Restated") {
          if (Versions.isNewConnection(event)) connections++
          return isKept?.(event) === true
        }
        const { status, taskId, version } = event
        const known = tasks.get(taskId) ?? { versions: undefined, status: undefined }
        const before = known.versions
        if (version !== undefined) known.versions = Versions.next(before, version, connections, restartAfter)
        tasks.set(taskId, known)
        if (version !== undefined && known.versions !== undefined && !Versions.isNewer(before, known.versions)) {
          return false
        }
        if (status === undefined || status === known.status) return false
        known.status = status
        return true
      })
    })
)
