/**
 * The subjects of a feed in the log, and which of them a filter needs.
 *
 * ```
 * mk.<feed>.t.<task>.u           updates, each newer than all before it
 * mk.<feed>.t.<task>.l           late updates: older than an earlier one
 * mk.<feed>.t.<task>.r           restatements
 * mk.<feed>.t.<task>.m           marks of one task
 * mk.<feed>.t.<task>.o.<type>    output
 * mk.<feed>.t.<task>.p.<type>    partial output
 * mk.<feed>.m                    marks and other elements without a task
 * mk.<feed>.e                    errors and unknown messages
 * mk.<feed>.c                    parts of events that are too large for one message
 * mk.<feed>.f.<lease>            a lease has a new holder
 * ```
 *
 * The status of a task is not in the subject, because the last message of a task's
 * `u` has to be its newest update.
 */
import { isLifecycle, type MeshEvent } from "@makima-stream/core/MeshEvent"
import { token, type Wanted } from "@makima-stream/log/LogEngine"

/** The subjects of one feed. */
export interface Subjects {
  /** Matches every subject of the feed. */
  readonly all: string
  readonly marks: string
  readonly parts: string
  readonly fence: (lease: string) => string
  /** Matches the newest update of every task. */
  readonly updates: string
  readonly updatesOf: (taskId: string) => string
  /** The subject of an event. `isLate`: whether an update is older than an earlier one. */
  readonly of: (event: MeshEvent, isLate: boolean) => string
  /** One subject that matches all wanted events. It may match more. */
  readonly filter: (wanted: Wanted | undefined) => string
  /** Whether `filter` does not match the marks without a task. */
  readonly missesMarks: (wanted: Wanted | undefined) => boolean
}

export const make = (feed: string): Subjects => {
  const root = `mk.${token(feed)}`
  const task = (taskId: string) => `${root}.t.${token(taskId)}`
  const filter = (wanted: Wanted | undefined): string => {
    if (wanted === undefined) return `${root}.>`
    const taskId = only(wanted.tasks)
    const ofTask = taskId === undefined ? `${root}.t.*` : task(taskId)
    // The marks of a task have a subject like its updates, so a reader of output that keeps marks needs all of the task.
    if (wanted.keepsMarks) return taskId === undefined ? `${root}.>` : `${ofTask}.>`
    const type = only(wanted.messageTypes)
    if (type !== undefined) return `${ofTask}.*.${token(type)}`
    if (wanted.kind === "output") return `${ofTask}.*.*`
    if (wanted.kind === "updates") return `${ofTask}.*`
    return taskId === undefined ? `${root}.t.>` : `${ofTask}.>`
  }
  return {
    all: `${root}.>`,
    marks: `${root}.m`,
    parts: `${root}.c`,
    fence: (lease) => `${root}.f.${token(lease)}`,
    updates: `${root}.t.*.u`,
    updatesOf: (taskId) => `${task(taskId)}.u`,
    of(event, isLate) {
      switch (event._tag) {
        case "TaskUpdated":
          return `${task(event.taskId)}.${isLate ? "l" : "u"}`
        case "TaskOutput":
          return `${task(event.taskId)}.${event.isPartial === true ? "p" : "o"}.${token(event.messageType)}`
        case "Restated":
          return `${task(event.taskId)}.r`
        default:
          if ("taskId" in event && event.taskId !== undefined) return `${task(event.taskId)}.m`
          return isLifecycle(event) ? `${root}.m` : `${root}.e`
      }
    },
    filter,
    missesMarks: (wanted) => wanted?.keepsMarks === true && filter(wanted) !== `${root}.>`
  }
}

/** The member of a set with one member; otherwise `undefined`. */
const only = <A>(set: ReadonlySet<A> | undefined): A | undefined => {
  if (set?.size !== 1) return undefined
  const [first] = set
  return first
}
