/**
 * A bounded queue of events that knows which of them a slow consumer can do
 * without: the state machine behind `sheddingBuffer`, `conflateUpdates` and the
 * queues of single consumers. Synchronous, no Effect, no clock.
 *
 * Two kinds of event may be given up, and each that is leaves a mark:
 *
 * - an update of a task while a newer one of the same task is held: *conflated*,
 *   what it said goes over into the newer one (`mergeUpdates`);
 * - a partial output: *shed*.
 *
 * Invariants:
 *
 * 1. `size` never passes `capacity`. Marks are not counted: there is at most one
 *    between two events, so `takeAll` gives at most `2 * capacity + 1` elements.
 * 2. Nothing but updates and partial outputs is ever given up.
 * 3. What is taken stands in the order of the offers. A merged update stands
 *    where the newer one was offered, so that no status overtakes the outputs
 *    that came before it.
 * 4. A mark stands exactly where its events stood, and
 *    `accepted = taken + conflated + shed + size`, where `conflated + shed` is
 *    the sum over all marks, those not taken yet included.
 * 5. Every operation but `takeAll` takes constant time, but for the merging of
 *    `updatedFields`.
 */
import type { MeshEvent, Resync } from "../../MeshEvent.ts"
import type { TaskUpdated } from "../../ServerMessage.ts"
import type { TaskId } from "../../TaskId.ts"
import { atLeast } from "../bounds.ts"

export interface Options {
  /** How many events are held at most. Rounded down; what is not at least 1 means 1. */
  readonly capacity: number
  /** Whether an older update goes as soon as a newer one of its task comes, or only when there is no room. */
  readonly conflate: "always" | "whenFull"
  /** Whether partial outputs go when there is no room and nothing to conflate. */
  readonly shedPartials: boolean
}

export interface ShedQueue<A extends MeshEvent> {
  readonly capacity: number
  /** How many events are held, marks not counted. */
  readonly size: number
  /** How many updates went over into newer ones so far. */
  readonly conflated: number
  /** How many partial outputs were given up so far. */
  readonly shed: number
  /** Takes the event in, or changes nothing because there is no room and nothing may be given up for it. */
  readonly offer: (event: A) => "accepted" | "full"
  /** Everything that is held, with the marks where something is missing. */
  readonly takeAll: () => Array<A | Resync>
  /** Notes events that reach the consumer past the queue: marks carry the epoch of the last lifecycle element. */
  readonly observe: (events: ReadonlyArray<A>) => void
}

interface Mark {
  readonly dropped: number
  /** The task, where all the events missing here are of one. */
  readonly taskId: TaskId | undefined
  readonly epoch: number
}

interface Node<A> {
  event: A
  readonly taskId: TaskId | undefined
  readonly epoch: number
  prev: Node<A> | undefined
  next: Node<A> | undefined
  /** What is missing right before this event. */
  mark: Mark | undefined
  /** The next update of the same task. */
  newer: Node<A> | undefined
  /** The next in its line: of superseded updates, or of partial outputs. A node is in one of them at most. */
  behind: Node<A> | undefined
}

/** First in, first out, without memory of what has gone: the nodes themselves are the links. */
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

/** Marks that touch are one. Between losses of two epochs stands a lifecycle element, so the epochs are equal. */
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

/**
 * One update that says what two said: each member as the newer one has it, or
 * as the older one has it where the newer has none; `updatedFields` of both,
 * without repeats.
 */
export const mergeUpdates = <U extends TaskUpdated>(older: U, newer: U): U => {
  const merged = { ...older, ...newer }
  return older.updatedFields === undefined || newer.updatedFields === undefined
    ? merged
    : { ...merged, updatedFields: [...new Set([...older.updatedFields, ...newer.updatedFields])] }
}

const isUpdate = <A extends MeshEvent>(event: A): event is Extract<A, TaskUpdated> => event._tag === "TaskUpdated"

const merge = <A extends MeshEvent>(older: A, newer: A): A =>
  isUpdate(older) && isUpdate(newer) ? mergeUpdates(older, newer) : newer

export const make = <A extends MeshEvent>(options: Options): ShedQueue<A> => {
  const capacity = atLeast(1, options.capacity)
  const { shedPartials } = options
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

  /** Takes a node out and leaves a mark in its place. */
  const drop = (node: Node<A>): void => {
    const mark = joinMarks(node.mark, { dropped: 1, taskId: node.taskId, epoch: node.epoch })
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

  const shedOldest = (): boolean => {
    const node = leave(partials)
    if (node === undefined) return false
    drop(node)
    shed++
    return true
  }

  const offer = (event: A): "accepted" | "full" => {
    switch (event._tag) {
      case "TaskUpdated": {
        const older = latest.get(event.taskId)
        if (older !== undefined && (conflateAlways || (size >= capacity && superseded.first === undefined))) {
          // Its predecessor goes before it comes, so there is room even where there was none.
          drop(older)
          conflated++
          latest.set(event.taskId, append(merge(older.event, event)))
          return "accepted"
        }
        if (size >= capacity && !makeRoom()) return "full"
        const node = append(event)
        if (older !== undefined) {
          older.newer = node
          join(superseded, older)
        }
        latest.set(event.taskId, node)
        return "accepted"
      }
      case "TaskOutput": {
        const isPartial = event.isPartial === true
        if (size >= capacity && !makeRoom()) {
          if (!isPartial || !shedPartials) return "full"
          tailMark = joinMarks(tailMark, { dropped: 1, taskId: event.taskId, epoch })
          shed++
          return "accepted"
        }
        const node = append(event)
        if (isPartial && shedPartials) join(partials, node)
        return "accepted"
      }
      default:
        if (size >= capacity && !makeRoom()) return "full"
        if ("epoch" in event) epoch = event.epoch
        append(event)
        return "accepted"
    }
  }

  const makeRoom = (): boolean => conflateOldest() || shedOldest()

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
      return taken
    },
    observe(events) {
      for (const event of events) {
        if ("epoch" in event) epoch = event.epoch
      }
    }
  }
}
