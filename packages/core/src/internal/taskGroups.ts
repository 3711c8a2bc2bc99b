/**
 * The live groups of `groupByTask`: which tasks have one, and when each ends.
 *
 * Invariants: a task has at most one live group; each live group is in either `idle`
 * or `ending`, which are ordered by the time of the last event, oldest first; a
 * group's mailbox is ended exactly when the group stops being live.
 */
import * as Cause from "effect/Cause"
import * as Latch from "effect/Latch"
import type { MeshEvent } from "../MeshEvent.ts"
import type { TaskId } from "../TaskId.ts"
import * as Versions from "./projection/versions.ts"
import * as Mailbox from "./queue/mailbox.ts"

/** Durations are in milliseconds. */
export interface Settings {
  readonly capacity: number
  readonly idleTimeToLive: number
  readonly endedTimeToLive: number
  readonly isTerminal: (status: string) => boolean
  readonly restartAfter: number
}

export interface Group<A, E> {
  readonly taskId: TaskId
  readonly box: Mailbox.Mailbox<A, A, E>
  /** The time of the last event, in monotonic milliseconds. */
  heardAt: number
  isEnding: boolean
  versions: Versions.Versions | undefined
}

/** Groups that end after the same time of silence. The first one is the next to end. */
export interface Queue<A, E> {
  readonly timeToLive: number
  readonly members: Set<Group<A, E>>
  /** Open while it has members. */
  readonly filled: Latch.Latch
}

const queueOf = <A, E>(timeToLive: number): Queue<A, E> => ({
  timeToLive,
  members: new Set(),
  filled: Latch.makeUnsafe(false)
})

const done: Cause.Cause<Cause.Done> = Cause.fail(Cause.Done())

export class TaskGroups<A extends MeshEvent, E> {
  readonly #settings: Settings
  readonly #groups = new Map<TaskId, Group<A, E>>()
  readonly #idle: Queue<A, E>
  readonly #ending: Queue<A, E>
  /** The number of marks of a new connection so far. */
  #connections = 0

  constructor(settings: Settings) {
    this.#settings = settings
    this.#idle = queueOf(settings.idleTimeToLive)
    this.#ending = queueOf(settings.endedTimeToLive)
  }

  get queues(): ReadonlyArray<Queue<A, E>> {
    return [this.#idle, this.#ending]
  }

  /** The live groups. */
  all(): Iterable<Group<A, E>> {
    return this.#groups.values()
  }

  get(taskId: TaskId): Group<A, E> | undefined {
    return this.#groups.get(taskId)
  }

  /** Makes a group. It is live when it is added. */
  make(taskId: TaskId): Group<A, E> {
    return {
      taskId,
      box: Mailbox.make(Mailbox.boundedQueue(this.#settings.capacity)),
      heardAt: -Infinity,
      isEnding: false,
      versions: undefined
    }
  }

  add(group: Group<A, E>): void {
    this.#groups.set(group.taskId, group)
  }

  /** Counts the new connections among all events. */
  observe(event: A): void {
    if (Versions.isNewConnection(event)) this.#connections++
  }

  /** A group has an event of its task. Ends the group at once if its task has ended and `endedTimeToLive` is 0. */
  hear(group: Group<A, E>, event: A, now: number): void {
    const wasEnding = group.isEnding
    if (event._tag === "Restated" && event.gone === true) {
      group.isEnding = true
    } else if (
      (event._tag === "TaskUpdated" || event._tag === "Restated") &&
      this.#isNewest(group, event.version) &&
      event.status !== undefined
    ) {
      group.isEnding = this.#settings.isTerminal(event.status)
    }
    if (group.isEnding && this.#settings.endedTimeToLive === 0) return this.#end(group, done)
    // Once for each batch and group, because all events of a batch have the same time.
    if (group.heardAt === now && group.isEnding === wasEnding) return
    group.heardAt = now
    this.#idle.members.delete(group)
    this.#ending.members.delete(group)
    const queue = group.isEnding ? this.#ending : this.#idle
    queue.members.add(group)
    queue.filled.openUnsafe()
  }

  /** Ends the groups of a queue that were silent for its time to live at `time`. */
  sweep({ members, timeToLive }: Queue<A, E>, time: number): void {
    for (const group of members) {
      if (group.heardAt + timeToLive > time) break
      this.#end(group, done)
    }
  }

  endAll(cause: Cause.Cause<E | Cause.Done>): void {
    for (const group of this.#groups.values()) this.#end(group, cause)
  }

  #end(group: Group<A, E>, cause: Cause.Cause<E | Cause.Done>): void {
    this.#groups.delete(group.taskId)
    this.#idle.members.delete(group)
    this.#ending.members.delete(group)
    group.box.end(cause)
  }

  /** Whether an update is the newest. An update without a version counts as the newest. */
  #isNewest(group: Group<A, E>, version: number | undefined): boolean {
    if (version === undefined) return true
    const before = group.versions
    group.versions = Versions.next(before, version, this.#connections, this.#settings.restartAfter)
    return Versions.isNewer(before, group.versions)
  }
}
