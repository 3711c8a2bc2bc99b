/**
 * A bounded queue of events that drops the events that a slow consumer needs least:
 * the state machine of `sheddingBuffer`, `conflateUpdates` and the queues of single
 * consumers. Synchronous, no Effect, no clock.
 *
 * It loses events in this order, and each loss leaves a mark:
 *
 * 1. an update while another update of the same task is queued: it is *conflated*,
 *    that is, merged into the other one (`mergeUpdates`);
 * 2. with `shed: "partials"` or `"anything"`, a partial output: *shed*;
 * 3. with `shed: "anything"`, other data (whole outputs, server errors, unknown
 *    messages, `Restated`), then updates of different tasks, then lifecycle elements, the
 *    oldest first. An event displaces only events of its own rank or a lower one.
 *
 * With `conflate: "never"`, all events have the same rank, so `shed: "anything"` loses the oldest one. With `shed: "newest"`, it
 * loses the arriving event.
 *
 * Invariants:
 *
 * 1. `size` never exceeds `capacity`. Marks are not counted: there is at most one
 *    between two events, so `takeAll` returns at most `2 * capacity + 1` elements.
 * 2. Nothing is lost that the options do not allow. With `shed: "anything"`, an
 *    offer is never refused.
 * 3. Events are taken in the order of the offers. A merged update takes the place of
 *    the newer one, so that no status overtakes the outputs before it.
 * 4. A mark stands exactly at the place of the lost events, and
 *    `accepted = taken + lost + size`, where `lost` is the sum over all marks,
 *    including those not taken yet. A lost mark counts as the events that it counted
 *    (see `lossOf`).
 * 5. Every operation except `takeAll` takes constant time, apart from merging
 *    `updatedFields`.
 */
import type { MeshEvent, Resync } from "../../MeshEvent.ts"
import type { TaskUpdated } from "../../ServerMessage.ts"
import type { TaskId } from "../../TaskId.ts"
import { atLeast } from "../bounds.ts"
import { resync } from "../resync.ts"

export interface Options {
  /** The most events that are queued. A fraction is rounded down; a value below 1 or `NaN` counts as 1. */
  readonly capacity: number
  /** Whether updates are conflated as soon as another one of the task arrives, only when there is no room, or never. */
  readonly conflate: "always" | "whenFull" | "never"
  /** What may be dropped when there is no room and nothing to conflate. `oldest` and `newest` make no difference between events. */
  readonly shed: "nothing" | "partials" | "anything" | "newest"
}

export interface ShedQueue<A extends MeshEvent> {
  readonly capacity: number
  /** How many events are queued, marks not counted. */
  size: number
  /** How many events were lost: conflated or shed. */
  lost: number
  /** Queues the event. Returns `false` and changes nothing if there is no room and nothing may be dropped. */
  readonly offer: (event: A) => boolean
  /** Takes all queued events, with marks where events are missing. */
  readonly takeAll: () => Array<A | Resync>
  /** The epoch of the last lifecycle element, which marks have. Must be set when one bypasses the queue. */
  epoch: number
}

/** The place of an event in the queue. */
interface Slot<A> {
  /** `undefined` once the event is lost: the slot is then a mark. */
  event: A | undefined
  /** How many events are missing here. */
  dropped: number
  /** The task, if everything here belongs to one task. */
  taskId: TaskId | undefined
  epoch: number
  /** The update of the same task that it is merged into if it must go. */
  newer: Slot<A> | undefined
}

/**
 * How many events are lost with an event. Marks are not counted, but for those that
 * stand for events: an `Overflow` counts as its own events, a `BadFrame` as one.
 */
export const lossOf = (event: MeshEvent): number => {
  if (event._tag !== "Resync" || event.reason._tag === "BadFrame") return 1
  return event.reason._tag === "Overflow" ? event.reason.dropped : 0
}

/** Joins adjacent marks. Their epochs differ only if the `Connected` between them was lost too. */
const joinMarks = <A extends MeshEvent>(slots: ReadonlyArray<Slot<A>>): Array<Slot<A>> => {
  const joined: Array<Slot<A>> = []
  let last: Slot<A> | undefined
  for (const slot of slots) {
    if (slot.event === undefined && last !== undefined && last.event === undefined) {
      last.dropped += slot.dropped
      last.epoch = slot.epoch
      if (last.taskId !== slot.taskId) last.taskId = undefined
    } else {
      joined.push(slot)
      last = slot
    }
  }
  return joined
}

const toResync = ({ dropped, epoch, taskId }: Slot<unknown>): Resync =>
  resync(epoch, { _tag: "Overflow", dropped }, 0, taskId)

/** Whether an update is older than one that arrived before it. An update without a version counts as newer. */
const isLate = (before: TaskUpdated, after: TaskUpdated): boolean =>
  before.version !== undefined && after.version !== undefined && after.version < before.version

/**
 * Merges two updates of a task, in the order of their arrival. The update with the
 * higher version wins, or the later one if a version is missing: each member comes
 * from the winner, or from the other update if the winner does not have it.
 * `updatedFields` is the union of both.
 */
export const mergeUpdates = <U extends TaskUpdated>(before: U, after: U): U => {
  const merged = isLate(before, after) ? { ...after, ...before } : { ...before, ...after }
  return before.updatedFields === undefined || after.updatedFields === undefined
    ? merged
    : { ...merged, updatedFields: [...new Set([...before.updatedFields, ...after.updatedFields])] }
}

const isUpdate = <A extends MeshEvent>(event: A | undefined): event is Extract<A, TaskUpdated> =>
  event?._tag === "TaskUpdated"

/** The rank of an event: events of the lowest rank are shed first. */
const rankOf = (event: MeshEvent): number => {
  if ("epoch" in event) return 3
  if (event._tag === "TaskUpdated") return 2
  return event._tag === "TaskOutput" && event.isPartial === true ? 0 : 1
}

export const make = <A extends MeshEvent>(options: Options): ShedQueue<A> => {
  const { conflate, shed } = options
  const capacity = atLeast(1, options.capacity)
  const hasRanks = conflate !== "never"
  /** Events of this rank and higher ones are not shed. */
  const keptRank = { nothing: 0, partials: 1, anything: 4, newest: 0 }[shed]

  let slots: Array<Slot<A>> = []
  // Each in the order of the queue.
  /** The newest update of each task. */
  const latest = new Map<unknown, Slot<A>>()
  /** The other updates, which are merged into newer ones. */
  const superseded = new Map<unknown, Slot<A>>()
  /** The events that may be shed, by rank. */
  const queued: ReadonlyArray<Map<unknown, Slot<A>>> = [new Map(), new Map(), latest, new Map()].slice(0, keptRank)

  const append = (event: A): Slot<A> => {
    // There are as many events as slots at most, so this takes constant time, averaged.
    if (slots.length > 4 * capacity) slots = joinMarks(slots)
    if ("epoch" in event) self.epoch = event.epoch
    const taskId = hasRanks && "taskId" in event ? event.taskId : undefined
    const slot: Slot<A> = { event, dropped: 0, taskId, epoch: self.epoch, newer: undefined }
    slots.push(slot)
    self.size++
    return slot
  }

  /** Removes an event, which is merged into its newer update if there is one, and leaves a mark in its place. */
  const drop = (slot: Slot<A>): void => {
    const { event, newer } = slot
    if (event === undefined) return
    if (newer !== undefined && isUpdate(event) && isUpdate(newer.event)) newer.event = mergeUpdates(event, newer.event)
    slot.dropped = lossOf(event)
    self.lost += slot.dropped
    slot.event = undefined
    self.size--
  }

  const dropOldest = (candidates: Map<unknown, Slot<A>>): boolean => {
    for (const [key, slot] of candidates) {
      candidates.delete(key)
      drop(slot)
      return true
    }
    return false
  }

  /** Makes room for an event. It displaces only events of its own rank or a lower one. */
  const makeRoom = (rank: number): boolean =>
    self.size < capacity || [superseded, ...queued.slice(0, rank + 1)].some(dropOldest)

  /** Queues an update, and returns whether another update of its task is queued. */
  const appendUpdate = (event: Extract<A, TaskUpdated>): boolean => {
    const slot = append(event)
    const known = latest.get(event.taskId)
    if (isUpdate(known?.event) && isLate(known.event, event)) {
      slot.newer = known
      superseded.set(slot, slot)
      return true
    }
    // Deleting first keeps the map in the order of the queue.
    latest.delete(event.taskId)
    latest.set(event.taskId, slot)
    if (known === undefined) return false
    known.newer = slot
    superseded.set(known, known)
    return true
  }

  const self: ShedQueue<A> = {
    epoch: 0,
    capacity,
    size: 0,
    lost: 0,
    offer(event) {
      const rank = hasRanks ? rankOf(event) : 0
      const isConflated = hasRanks && isUpdate(event)
      // There is always room for an update of a queued task, because the two can be merged.
      if (!(isConflated && latest.has(event.taskId)) && !makeRoom(rank)) {
        if (rank >= keptRank && shed !== "newest") return false
        drop(append(event))
      } else if (isConflated) {
        if (appendUpdate(event) && (self.size > capacity || conflate === "always")) dropOldest(superseded)
      } else {
        const slot = append(event)
        queued[rank]?.set(slot, slot)
      }
      return true
    },
    takeAll() {
      const taken = joinMarks(slots).map((slot) => slot.event ?? toResync(slot))
      slots = []
      self.size = 0
      for (const each of [latest, superseded, ...queued]) each.clear()
      return taken
    }
  }
  return self
}
