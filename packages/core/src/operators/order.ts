/**
 * Operators that compare an update with the one before it of the same task:
 * what came twice, what is missing in between, what says nothing new.
 *
 * Each run of a stream has a memory of its own, of the tasks that were updated
 * last; a task that was forgotten counts as new.
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
 * The bound of an operator that remembers something of each task.
 *
 * @category options
 * @since 0.1.0
 */
export interface MaxTasks {
  /**
   * How many tasks are remembered, at least 1. When there are more, the one that
   * was updated longest ago is forgotten, and counts as new when it comes
   * again. Default: 10,000, which is some 2 MB where ids are UUIDs.
   */
  readonly maxTasks?: number | undefined
}

const recent = <V>(options: MaxTasks | undefined): Recent<TaskId, V> => new Recent(options?.maxTasks ?? defaultMaxTasks)

const restartAfterOf = (options: RestartOptions | undefined): number =>
  atLeast(1, options?.restartAfter ?? Versions.defaultRestartAfter)

/**
 * Options of `dedupeUpdates` and `markGaps`.
 *
 * @category options
 * @since 0.2.0
 */
export interface OrderOptions extends MaxTasks, RestartOptions {}

/**
 * Drops the updates whose `version` was already passed, task by task.
 *
 * **When to use**
 *
 * Use it where an update may come more than once, as with overlapping
 * subscriptions or several feeds merged into one, and doing something twice
 * would hurt.
 *
 * **Details**
 *
 * - An update passes if its `version` is higher than every version of its task
 *   so far. An update without a `version` passes: nothing tells whether it came
 *   before.
 * - Every other event passes, `Connected`, `Disconnected` and `Resync` included.
 * - A `Resync` does not clear the memory. Versions go on growing on the server
 *   during a gap, so an old version after a gap is still an old one.
 * - A server that was restored from a backup counts from a lower version again.
 *   Its updates pass from the third on (`restartAfter`, see `RestartOptions`).
 * - What is remembered: a few numbers for each of the last `maxTasks` tasks. A
 *   duplicate of a task that was forgotten passes.
 *
 * **Gotchas**
 *
 * An update that was overtaken by a newer one of its task is dropped as well:
 * its version was passed. Before an update with a lower version is acted on, ask
 * whether it should be.
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
export const dedupeUpdates: <Arg extends Events | OrderOptions = {}>(
  selfOrOptions?: Arg & NoUnknownOptions<Arg, OrderOptions>,
  options?: OrderOptions
) => [Arg] extends [Stream.Stream<infer A, infer E, infer R>]
  ? Stream.Stream<A, E, R>
  : <A extends MeshEvent, E, R>(self: Stream.Stream<A, E, R>) => Stream.Stream<A, E, R> = dual(
  isDataFirst,
  <A extends MeshEvent, E, R>(self: Stream.Stream<A, E, R>, options?: OrderOptions): Stream.Stream<A, E, R> =>
    Stream.suspend(() => {
      const restartAfter = restartAfterOf(options)
      const versions = recent<Versions.Versions>(options)
      let connections = 0
      return Stream.filter(self, (event) => {
        if (event._tag !== "TaskUpdated") {
          if (Versions.isNewConnection(event)) connections++
          return true
        }
        if (event.version === undefined) return true
        const before = versions.get(event.taskId)
        const after = Versions.next(before, event.version, connections, restartAfter)
        if (after !== before) versions.set(event.taskId, after)
        return Versions.isNewer(before, after)
      })
    })
)

interface Passed {
  versions: Versions.Versions
  /** How many gaps in all tasks had been marked when this version passed. */
  gaps: number
}

/** Less than any count of gaps: a gap of this task alone was marked since its version passed. */
const marked = -1

/**
 * Whether updates may be missing at a mark. `Started` opens the first connection,
 * before which there is nothing to miss, and a subscription to output says nothing of
 * updates.
 */
const isGapOfUpdates = ({ reason }: Resync): boolean =>
  reason._tag === "Subscribed" ? reason.kind === "updates" : reason._tag !== "Started"

/**
 * Puts a `Resync` with the reason `VersionGap` before an update whose `version`
 * jumped.
 *
 * **When to use**
 *
 * Use it to notice what the server itself left out, or what a proxy lost, while
 * the connection stood. It is a second signal: `Resync` after a reconnect comes
 * without it.
 *
 * **Details**
 *
 * - When an update's `version` is more than one above the highest version of its
 *   task so far, a `Resync` comes right before it. It names the task, and its
 *   reason holds `lastVersion` and `version`.
 * - A gap is marked once: there is no second `Resync` where one that concerns
 *   the task (it names that task, or none) already stands between the two
 *   updates, as after a reconnect. So a second `markGaps` adds nothing. `Started`
 *   and `Subscribed` of output do not count: no update is missing there.
 * - Where a restored server counts from a lower version again, its updates are
 *   compared from the third on (`restartAfter`, see `RestartOptions`).
 * - The `Resync` has the epoch of the last `Connected` or `Resync` before it,
 *   and 0 where there was none.
 * - Every event passes, and none is held. Updates without a `version`, and those
 *   with one that was already passed, are not compared.
 * - What is remembered: two numbers for each of the last `maxTasks` tasks. The
 *   first update of a task that was forgotten cannot show a gap.
 *
 * **Gotchas**
 *
 * Put it before any operator that drops updates: what such an operator drops
 * would be marked as a gap. And a lost update that no later one of its task
 * follows is never noticed by its version.
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
export const markGaps: <Arg extends Events | OrderOptions = {}>(
  selfOrOptions?: Arg & NoUnknownOptions<Arg, OrderOptions>,
  options?: OrderOptions
) => [Arg] extends [Stream.Stream<infer A, infer E, infer R>]
  ? Stream.Stream<A | Resync, E, R>
  : <A extends MeshEvent, E, R>(self: Stream.Stream<A, E, R>) => Stream.Stream<A | Resync, E, R> = dual(
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
            // The batch itself goes on where nothing is put in, which is nearly always.
            let out: Array<A | Resync> | undefined
            for (let i = 0; i < batch.length; i++) {
              const event: MeshEvent = batch[i]
              if (event._tag === "TaskUpdated" && event.version !== undefined) {
                const { taskId, version } = event
                const last = state.passed.get(taskId)
                const versions = Versions.next(last?.versions, version, state.connections, state.restartAfter)
                if (last === undefined) {
                  state.passed.set(taskId, { versions, gaps: state.gaps })
                } else {
                  const lastVersion = last.versions.highest
                  if (version > lastVersion + 1 && last.gaps === state.gaps) {
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
export interface StatusChangesOptions extends MaxTasks, RestartOptions, KeepOptions {}

/** What is remembered of a task. */
interface Known {
  versions: Versions.Versions | undefined
  status: string | undefined
}

/**
 * Keeps the updates that change their task's status: equal statuses of a task in
 * a row pass once.
 *
 * **When to use**
 *
 * Use it before whatever may happen once for each change, such as a message to a
 * person: an update of another field repeats the status.
 *
 * **Details**
 *
 * - The first update of a task that says a status passes, and then each one
 *   whose status is another than the last.
 * - Every other event is dropped, as are updates that say no status. `Connected`
 *   and `Disconnected` are dropped, and so is `Resync`, unless `keep`
 *   asks for it.
 * - The highest version decides: an update that arrives after a newer one of its
 *   task is dropped. An update without a `version` counts as newer (see
 *   `RestartOptions`).
 * - A `Resync` does not clear the memory: a status that is the same after a gap
 *   as before it does not pass again.
 * - What is remembered: the status and the version of each of the last `maxTasks`
 *   tasks. A task that was forgotten passes with its next status, whatever it is.
 *
 * **Gotchas**
 *
 * The status may have changed and changed back inside a gap. Keep `Resync` where
 * that matters.
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
export const statusChanges: <Arg extends Events | StatusChangesOptions = {}, O extends StatusChangesOptions = {}>(
  selfOrOptions?: Arg & NoUnknownOptions<Arg, StatusChangesOptions>,
  options?: O & NoUnknownOptions<O, StatusChangesOptions>
) => [Arg] extends [Stream.Stream<infer A, infer E, infer R>]
  ? Stream.Stream<From<A, TaskUpdated, StatusUpdated> | From<A, Restated, StatusRestated> | Extract<A, Kept<O>>, E, R>
  : <A extends MeshEvent, E, R>(
      self: Stream.Stream<A, E, R>
    ) => Stream.Stream<
      From<A, TaskUpdated, StatusUpdated> | From<A, Restated, StatusRestated> | Extract<A, Kept<Arg>>,
      E,
      R
    > = dual(isDataFirst, <E, R>(self: Stream.Stream<MeshEvent, E, R>, options?: StatusChangesOptions) =>
  Stream.suspend(() => {
    const tasks = recent<Known>(options)
    const restartAfter = restartAfterOf(options)
    let connections = 0
    const isKept = keptBy(options)
    return Stream.filter(self, (event) => {
      if (event._tag !== "TaskUpdated") {
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
