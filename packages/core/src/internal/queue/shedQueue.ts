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
 *    oldest first.
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
 *    `accepted = taken + conflated + shed + size`, where `conflated + shed` is
 *    the sum over all marks, including those not taken yet. A lost mark counts as
 *    the events that it counted (see `lossOf`).
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
  /** Whether updates are conflated as soon as another one of the task arrives, or only when there is no room. */
  readonly conflate: "always" | "whenFull"
  /** What may be dropped when there is no room and nothing to conflate. */
  readonly shed: "nothing" | "partials" | "anything"
}

export interface ShedQueue<A extends MeshEvent> {
  readonly capacity: number
  /** How many events are queued, marks not counted. */
  readonly size: number
  /** How many updates were merged into other ones. */
  readonly conflated: number
  /** How many events were shed. */
  readonly shed: number
  /** Queues the event. Returns `full` and changes nothing if there is no room and nothing may be dropped. */
  readonly offer: (event: A) => "accepted" | "full"
  /** Takes all queued events, with marks where events are missing. */
  readonly takeAll: () => Array<A | Resync>
  /** Must be called with events that bypass the queue, since marks have the epoch of the last lifecycle element. */
  readonly observe: (events: ReadonlyArray<A>) => void
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

const firstOf = <T>(values: Iterable<T>): T | undefined => {
  for (const value of values) return value
  return undefined
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

const isUpdate = <A extends MeshEvent>(event: A): event is Extract<A, TaskUpdated> => event._tag === "TaskUpdated"

const merge = <A extends MeshEvent>(before: A, after: A): A =>
  isUpdate(before) && isUpdate(after) ? mergeUpdates(before, after) : after

export const make = <A extends MeshEvent>(options: Options): ShedQueue<A> => {
  const capacity = atLeast(1, options.capacity)
  const shedPartials = options.shed !== "nothing"
  const shedAnything = options.shed === "anything"
  const conflateAlways = options.conflate === "always"

  let slots: Array<Slot<A>> = []
  let size = 0
  let conflated = 0
  let shed = 0
  let epoch = 0
  // Each in the order of the queue.
  /** The newest update of each task. */
  const latest = new Map<TaskId, Slot<A>>()
  /** The other updates. */
  const superseded = new Set<Slot<A>>()
  // What may be shed. Empty if it may not.
  const partials = new Set<Slot<A>>()
  /** Whole outputs, server errors and unknown messages. */
  const wholes = new Set<Slot<A>>()
  const lifecycle = new Set<Slot<A>>()

  const append = (event: A): Slot<A> => {
    // There are as many events as slots at most, so this takes constant time, averaged.
    if (slots.length > 4 * capacity) slots = joinMarks(slots)
    const taskId = "taskId" in event ? event.taskId : undefined
    const slot: Slot<A> = { event, dropped: 0, taskId, epoch, newer: undefined }
    slots.push(slot)
    size++
    return slot
  }

  /** Removes an event and leaves a mark in its place. */
  const drop = (slot: Slot<A>): void => {
    if (slot.event === undefined) return
    slot.dropped = lossOf(slot.event)
    slot.event = undefined
    size--
  }

  const conflateOldest = (): boolean => {
    const slot = firstOf(superseded)
    if (slot?.event === undefined) return false
    if (slot.newer?.event !== undefined) slot.newer.event = merge(slot.event, slot.newer.event)
    superseded.delete(slot)
    drop(slot)
    conflated++
    return true
  }

  const shedFirst = (candidates: Set<Slot<A>>): boolean => {
    const slot = firstOf(candidates)
    if (slot === undefined) return false
    candidates.delete(slot)
    drop(slot)
    shed += slot.dropped
    return true
  }

  /** Only called when nothing can be conflated, so each queued update is the only one of its task. */
  const shedUpdate = (): boolean => {
    const taskId = firstOf(latest.keys())
    const slot = taskId === undefined ? undefined : latest.get(taskId)
    if (taskId === undefined || slot === undefined) return false
    latest.delete(taskId)
    return shedFirst(new Set([slot]))
  }

  /** Handles an event for which there is no room: sheds it and marks its place, if that is allowed. */
  const refuse = (event: A, mayShed: boolean): "accepted" | "full" => {
    if (!mayShed) return "full"
    drop(append(event))
    shed++
    return "accepted"
  }

  // Each kind of event displaces only events of equal or lower priority.
  const roomForPartial = (): boolean => size < capacity || conflateOldest() || shedFirst(partials)
  const roomForWhole = (): boolean => roomForPartial() || shedFirst(wholes)
  const roomForUpdate = (): boolean => roomForWhole() || (shedAnything && shedUpdate())
  const roomForLifecycle = (): boolean => roomForUpdate() || shedFirst(lifecycle)

  const setLatest = (taskId: TaskId, slot: Slot<A>): void => {
    // Deleting first keeps the map in the order of the queue.
    latest.delete(taskId)
    latest.set(taskId, slot)
  }

  const offerUpdate = (event: Extract<A, TaskUpdated>): "accepted" | "full" => {
    const known = latest.get(event.taskId)
    const isOlder = known?.event !== undefined && isUpdate(known.event) && isLate(known.event, event)
    if (known?.event !== undefined && (conflateAlways || (size >= capacity && superseded.size === 0))) {
      conflated++
      const merged = merge(known.event, event)
      if (isOlder) {
        known.event = merged
        drop(append(event))
        return "accepted"
      }
      // The older update is removed first, so there is room even in a full queue.
      drop(known)
      setLatest(event.taskId, append(merged))
      return "accepted"
    }
    if (!roomForUpdate()) return refuse(event, shedAnything)
    const slot = append(event)
    if (isOlder) {
      slot.newer = known
      superseded.add(slot)
      return "accepted"
    }
    if (known !== undefined) {
      known.newer = slot
      superseded.add(known)
    }
    setLatest(event.taskId, slot)
    return "accepted"
  }

  const offer = (event: A): "accepted" | "full" => {
    switch (event._tag) {
      case "TaskUpdated":
        // The tag shows that it is an update, but the type parameter is not narrowed.
        return offerUpdate(event as Extract<A, TaskUpdated>)
      case "TaskOutput":
        if (event.isPartial === true) {
          if (!roomForPartial()) return refuse(event, shedPartials)
          const slot = append(event)
          if (shedPartials) partials.add(slot)
          return "accepted"
        }
        break
      case "Connected":
      case "Disconnected":
      case "Resync":
      case "Repaired":
      case "RepairFailed": {
        if (!roomForLifecycle()) return "full"
        epoch = event.epoch
        const slot = append(event)
        if (shedAnything) lifecycle.add(slot)
        return "accepted"
      }
    }
    if (!roomForWhole()) return refuse(event, shedAnything)
    const slot = append(event)
    if (shedAnything) wholes.add(slot)
    return "accepted"
  }

  return {
    capacity,
    get size() {
      return size
    },
    get conflated() {
      return conflated
    },
    get shed() {
      return shed
    },
    offer,
    takeAll() {
      const taken = joinMarks(slots).map((slot) => slot.event ?? toResync(slot))
      slots = []
      size = 0
      for (const each of [latest, superseded, partials, wholes, lifecycle]) each.clear()
      return taken
    },
    observe(events) {
      for (const event of events) {
        if ("epoch" in event) epoch = event.epoch
      }
    }
  }
}
