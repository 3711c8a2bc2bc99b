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

interface Mark {
  readonly dropped: number
  /** The task, if all events missing here belong to one task. */
  readonly taskId: TaskId | undefined
  readonly epoch: number
}

interface Node<A> {
  event: A
  readonly taskId: TaskId | undefined
  readonly epoch: number
  prev: Node<A> | undefined
  next: Node<A> | undefined
  /** The events missing right before this one. */
  mark: Mark | undefined
  /** The update of the same task that it is merged into if it must go. */
  newer: Node<A> | undefined
  /** The next node in its line. A node is in at most one line. */
  behind: Node<A> | undefined
}

/** A first-in, first-out list without allocations: the nodes themselves are the links. */
interface Line<A> {
  first: Node<A> | undefined
  last: Node<A> | undefined
}

const join = (line: Line<unknown>, node: Node<unknown>): void => {
  if (line.last === undefined) line.first = node
  else line.last.behind = node
  line.last = node
}

const leave = <A>(line: Line<A>): Node<A> | undefined => {
  const node = line.first
  if (node === undefined) return undefined
  line.first = node.behind
  if (line.first === undefined) line.last = undefined
  node.behind = undefined
  return node
}

const clear = (line: Line<unknown>): void => {
  line.first = undefined
  line.last = undefined
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
const joinMarks = (a: Mark | undefined, b: Mark | undefined): Mark | undefined => {
  if (a === undefined) return b
  if (b === undefined) return a
  return { dropped: a.dropped + b.dropped, taskId: a.taskId === b.taskId ? a.taskId : undefined, epoch: b.epoch }
}

const toResync = ({ dropped, taskId, epoch }: Mark): Resync => ({
  _tag: "Resync",
  epoch,
  ...(taskId === undefined ? {} : { taskId }),
  reason: { _tag: "Overflow", dropped }
})

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

  let head: Node<A> | undefined
  let tail: Node<A> | undefined
  let tailMark: Mark | undefined
  let size = 0
  let conflated = 0
  let shed = 0
  let epoch = 0
  const latest = new Map<TaskId, Node<A>>()
  const superseded: Line<A> = { first: undefined, last: undefined }
  const partials: Line<A> = { first: undefined, last: undefined }
  /** Whole outputs, server errors and unknown messages. Empty unless they may be shed. */
  const wholes: Line<A> = { first: undefined, last: undefined }

  const append = (event: A): Node<A> => {
    const node: Node<A> = {
      event,
      taskId: "taskId" in event ? event.taskId : undefined,
      epoch,
      prev: tail,
      next: undefined,
      mark: tailMark,
      newer: undefined,
      behind: undefined
    }
    tailMark = undefined
    if (tail === undefined) head = node
    else tail.next = node
    tail = node
    size++
    return node
  }

  /** Removes a node and leaves a mark in its place. */
  const drop = (node: Node<A>): void => {
    const mark = joinMarks(node.mark, { dropped: lossOf(node.event), taskId: node.taskId, epoch: node.epoch })
    const { prev, next } = node
    if (prev === undefined) head = next
    else prev.next = next
    if (next === undefined) {
      tail = prev
      tailMark = joinMarks(mark, tailMark)
    } else {
      next.prev = prev
      next.mark = joinMarks(mark, next.mark)
    }
    size--
  }

  const conflateOldest = (): boolean => {
    const node = leave(superseded)
    if (node === undefined || node.newer === undefined) return false
    node.newer.event = merge(node.event, node.newer.event)
    drop(node)
    conflated++
    return true
  }

  const shedFirst = (line: Line<A>): boolean => {
    const node = leave(line)
    if (node === undefined) return false
    drop(node)
    shed++
    return true
  }

  /** Only called when nothing can be conflated, so each queued update is the only one of its task. */
  const shedUpdate = (): boolean => {
    for (const [taskId, node] of latest) {
      latest.delete(taskId)
      drop(node)
      shed++
      return true
    }
    return false
  }

  const shedHead = (): boolean => {
    if (head === undefined) return false
    shed += lossOf(head.event)
    drop(head)
    return true
  }

  /** Marks the loss of an event that is not queued. */
  const markLoss = (event: A): void => {
    tailMark = joinMarks(tailMark, { dropped: 1, taskId: "taskId" in event ? event.taskId : undefined, epoch })
  }

  /** Handles an event for which there is no room: sheds it and marks its place, if that is allowed. */
  const refuse = (event: A, mayShed: boolean): "accepted" | "full" => {
    if (!mayShed) return "full"
    markLoss(event)
    shed++
    return "accepted"
  }

  // Each kind of event displaces only events of equal or lower priority.
  const roomForPartial = (): boolean => size < capacity || conflateOldest() || shedFirst(partials)
  const roomForWhole = (): boolean => roomForPartial() || shedFirst(wholes)
  const roomForUpdate = (): boolean => roomForWhole() || (shedAnything && shedUpdate())
  const roomForLifecycle = (): boolean => roomForUpdate() || (shedAnything && shedHead())

  const setLatest = (taskId: TaskId, node: Node<A>): void => {
    // Deleting first keeps the map in the order of the queue.
    latest.delete(taskId)
    latest.set(taskId, node)
  }

  const offerUpdate = (event: Extract<A, TaskUpdated>): "accepted" | "full" => {
    const known = latest.get(event.taskId)
    const isOlder = known !== undefined && isUpdate(known.event) && isLate(known.event, event)
    if (known !== undefined && (conflateAlways || (size >= capacity && superseded.first === undefined))) {
      conflated++
      if (isOlder) {
        known.event = merge(known.event, event)
        markLoss(event)
        return "accepted"
      }
      // The older update is removed first, so there is room even in a full queue.
      drop(known)
      setLatest(event.taskId, append(merge(known.event, event)))
      return "accepted"
    }
    if (!roomForUpdate()) return refuse(event, shedAnything)
    const node = append(event)
    if (isOlder) {
      node.newer = known
      join(superseded, node)
      return "accepted"
    }
    if (known !== undefined) {
      known.newer = node
      join(superseded, known)
    }
    setLatest(event.taskId, node)
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
          const node = append(event)
          if (shedPartials) join(partials, node)
          return "accepted"
        }
        break
      case "Connected":
      case "Disconnected":
      case "Resync":
      case "Repaired":
      case "RepairFailed":
        if (!roomForLifecycle()) return "full"
        epoch = event.epoch
        append(event)
        return "accepted"
    }
    if (!roomForWhole()) return refuse(event, shedAnything)
    const node = append(event)
    if (shedAnything) join(wholes, node)
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
      const taken: Array<A | Resync> = []
      for (let node = head; node !== undefined; node = node.next) {
        if (node.mark !== undefined) taken.push(toResync(node.mark))
        taken.push(node.event)
      }
      if (tailMark !== undefined) taken.push(toResync(tailMark))
      head = undefined
      tail = undefined
      tailMark = undefined
      size = 0
      latest.clear()
      clear(superseded)
      clear(partials)
      clear(wholes)
      return taken
    },
    observe(events) {
      for (const event of events) {
        if ("epoch" in event) epoch = event.epoch
      }
    }
  }
}
