/**
 * A `Filter` in the form that engines use: sets for an index, and a predicate that
 * equals the operators.
 */
import * as Predicate from "effect/Predicate"
import {
  isLifecycle,
  isRepaired,
  isRepairFailed,
  isRestated,
  isResync,
  isTaskOutput,
  isTaskUpdated
} from "@makima-stream/core/MeshEvent"
import type { MeshEvent } from "@makima-stream/core/MeshEvent"
import type { Selector } from "@makima-stream/core/MeshStream"
import type { TaskId } from "@makima-stream/core/TaskId"
import type { Filter } from "../MeshLog.ts"

/**
 * A filter, normalised.
 *
 * **Details**
 *
 * `isWanted` decides. With `tasks`, `kind`, `messageTypes` and `keepsMarks` an index can
 * skip events that are certainly unwanted: of another task, of the wrong kind, output of
 * another type, and lifecycle elements.
 *
 * @category models
 * @since 0.2.0
 */
export interface Wanted {
  /** The tasks, if they are known. Marks without a task are wanted too, if marks are kept. */
  readonly tasks: ReadonlySet<TaskId> | undefined
  /** The only kind of data that is wanted: updates with `Restated`, or output. */
  readonly kind: "updates" | "output" | undefined
  /** The only message types that are wanted, if they are known. */
  readonly messageTypes: ReadonlySet<string> | undefined
  /** Whether lifecycle elements may be wanted. */
  readonly keepsMarks: boolean
  /** Whether an event is wanted. */
  readonly isWanted: (event: MeshEvent) => boolean
}

/**
 * Normalises a filter. Returns `undefined` if everything is wanted.
 *
 * **Example** (What an index can use)
 *
 * ```ts
 * import * as LogEngine from "@makima-stream/log/LogEngine"
 *
 * const wanted = LogEngine.toWanted({ messageTypes: ["result"] })
 * console.log(wanted?.kind, wanted?.keepsMarks) // output false
 * ```
 *
 * @category filters
 * @since 0.2.0
 */
export const toWanted = (filter: Filter | undefined): Wanted | undefined => {
  if (filter === undefined) return undefined
  const { keep, messageTypes, tasks } = filter
  if (filter.kind !== undefined && filter.kind !== "updates" && filter.kind !== "output") {
    throw new TypeError('The option "kind" must be "updates" or "output"')
  }
  const isKept = keptBy(keep)
  const kinds = [filter.kind, messageTypes === undefined ? undefined : ("output" as const)].filter(
    (kind) => kind !== undefined
  )
  if (tasks === undefined && kinds.length === 0) return undefined
  const isKind = kinds.map((kind) => (kind === "updates" ? isUpdate : isTaskOutput))
  const taskSet = toSet(tasks)
  const typeSet = toSet(messageTypes)
  const isTask = toPredicate(tasks, taskSet)
  const isType = toPredicate(messageTypes, typeSet)
  return {
    tasks: taskSet,
    kind: kinds[0],
    messageTypes: typeSet,
    keepsMarks: keep !== undefined,
    isWanted: (event) => {
      const taskId = taskOf(event)
      if (isLifecycle(event)) {
        return isKept(event) && (isTask === undefined || taskId === undefined || isTask(taskId))
      }
      if (isTask !== undefined && (taskId === undefined || !isTask(taskId))) return false
      for (const is of isKind) if (!is(event)) return false
      return isType === undefined || (event._tag === "TaskOutput" && isType(event.messageType))
    }
  }
}

/** Whether an event is an update or a `Restated`. */
const isUpdate = (event: MeshEvent): boolean => isTaskUpdated(event) || isRestated(event)

/** The task that an event names. */
export const taskOf = (event: MeshEvent): TaskId | undefined => ("taskId" in event ? event.taskId : undefined)

const keptBy = (keep: Filter["keep"]): ((event: MeshEvent) => boolean) => {
  switch (keep) {
    case undefined:
      return () => false
    case "resync":
      return (event) => isResync(event) || isRepaired(event) || isRepairFailed(event)
    case "lifecycle":
      return isLifecycle
    default:
      keep satisfies never
      throw new TypeError('The option "keep" must be "resync" or "lifecycle"')
  }
}

const toSet = <T extends string>(selector: Selector<T> | undefined): ReadonlySet<T> | undefined => {
  if (selector === undefined || Predicate.isFunction(selector)) return undefined
  return Predicate.isString(selector) ? new Set([selector]) : new Set(selector)
}

const toPredicate = <T extends string>(
  selector: Selector<T> | undefined,
  set: ReadonlySet<T> | undefined
): ((value: T) => boolean) | undefined => {
  if (Predicate.isFunction(selector)) return selector
  return set === undefined ? undefined : (value) => set.has(value)
}
