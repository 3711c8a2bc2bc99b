/**
 * The partitions of one member of a consumer: a pure state machine.
 *
 * The tasks of a consumer are divided into partitions by a hash. A member that owns a
 * partition delivers the entries of its tasks in order.
 *
 * Invariants, for each partition that is owned:
 *
 * - `delivered` is the position up to which every entry of the partition has been
 *   delivered or skipped. It never decreases.
 * - `outstanding` are the delivered entries that are not acknowledged, all at or
 *   below `delivered`, in order.
 * - `settled()` is below the first of `outstanding`, so every entry at or below it has
 *   been acknowledged. `done` are acknowledged positions above it.
 */
import type { Entry } from "../MeshLog.ts"
import { taskOf } from "./filter.ts"

/** The stored state of a partition. */
export interface Stored {
  /** Every entry of the partition up to here has been acknowledged. */
  readonly position: number
  /** Acknowledged positions above it. */
  readonly done: ReadonlyArray<number>
}

/** A partition that this member owns. */
export interface Owned {
  readonly index: number
  /** The revision of its cell. */
  revision: number
  /** The last stored state. */
  stored: Stored
  delivered: number
  readonly outstanding: Set<number>
  readonly done: Set<number>
  /** Whether it will be passed to another member: nothing more is delivered. */
  draining: boolean
}

/** A partition that has just been claimed. */
export const owned = (index: number, revision: number, stored: Stored): Owned => ({
  index,
  revision,
  stored,
  delivered: stored.position,
  outstanding: new Set(),
  done: new Set(stored.done),
  draining: false
})

/** The position up to which everything is acknowledged. */
export const settled = ({ delivered, outstanding }: Owned): number => {
  for (const first of outstanding) return first - 1
  return delivered
}

/** The state to store. */
export const toStored = (partition: Owned): Stored => {
  const position = settled(partition)
  for (const done of partition.done) if (done <= position) partition.done.delete(done)
  return { position, done: Array.from(partition.done).sort((a, b) => a - b) }
}

/** Whether the state to store differs from the stored one. */
export const isDirty = (partition: Owned): boolean => {
  const { done, position } = toStored(partition)
  return position !== partition.stored.position || done.length !== partition.stored.done.length
}

/** The partition of a task: FNV-1a over the UTF-16 units, the same in every process. */
export const partitionOf = (taskId: string, partitions: number): number => {
  let hash = 0x811c9dc5
  for (let i = 0; i < taskId.length; i++) hash = Math.imul(hash ^ taskId.charCodeAt(i), 0x01000193)
  return (hash >>> 0) % partitions
}

/** The partitions of one member. */
export interface Assignment {
  readonly owned: Map<number, Owned>
  /** The owned partitions of each entry that is not acknowledged. */
  readonly waiting: Map<number, ReadonlyArray<Owned>>
  readonly partitions: number
}

export const make = (partitions: number): Assignment => ({ owned: new Map(), waiting: new Map(), partitions })

/** The partitions that deliver. */
const active = ({ owned }: Assignment): ReadonlyArray<Owned> =>
  Array.from(owned.values()).filter(({ draining }) => !draining)

/** The position after which the member has to read; `undefined` if no partition delivers. */
export const readAfter = (assignment: Assignment): number | undefined => {
  const positions = active(assignment).map(({ delivered }) => delivered)
  return positions.length === 0 ? undefined : Math.min(...positions)
}

/**
 * Handles the next entries of a reader that started at or before `readAfter`. Returns the
 * entries to deliver, which are now outstanding.
 */
export const deliver = (assignment: Assignment, entries: ReadonlyArray<Entry>): Array<Entry> => {
  const delivering = active(assignment)
  const wanted: Array<Entry> = []
  for (const entry of entries) {
    const { position } = entry
    const taskId = taskOf(entry.event)
    const index = taskId === undefined ? undefined : partitionOf(taskId, assignment.partitions)
    const receivers: Array<Owned> = []
    for (const partition of delivering) {
      if (position <= partition.delivered) continue
      partition.delivered = position
      if (index !== undefined && index !== partition.index) continue
      if (!partition.done.has(position)) receivers.push(partition)
    }
    if (receivers.length === 0) continue
    for (const { outstanding } of receivers) outstanding.add(position)
    assignment.waiting.set(position, receivers)
    wanted.push(entry)
  }
  return wanted
}

/** Records that entries have been handled. */
export const acknowledge = (assignment: Assignment, positions: Iterable<number>): void => {
  for (const position of positions) {
    for (const { done, outstanding } of assignment.waiting.get(position) ?? []) {
      if (outstanding.delete(position)) done.add(position)
    }
    assignment.waiting.delete(position)
  }
}

/** Forgets a partition that now belongs to another member. */
export const forget = (assignment: Assignment, partition: Owned): void => {
  assignment.owned.delete(partition.index)
  for (const position of partition.outstanding) {
    const others = (assignment.waiting.get(position) ?? []).filter((other) => other !== partition)
    if (others.length === 0) assignment.waiting.delete(position)
    else assignment.waiting.set(position, others)
  }
}
