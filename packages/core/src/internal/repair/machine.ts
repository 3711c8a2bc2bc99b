/**
 * The state machine of `Repair`: the known states of tasks, and the tasks to fetch.
 * Synchronous, without Effect, clock or randomness: the driver decides when a fetch begins.
 *
 * The driver calls `observe` with every batch before it passes it on, `begin` when
 * a fetch begins, and then once `apply` or `fail`.
 *
 * Invariants:
 *
 * 1. A fetch begins only while the connection has its mark: after a `Connected` or a
 *    `Disconnected`, `begin` is not allowed until the next `Resync`.
 * 2. A mark that names a task wants that task, any other mark wants all tasks. A
 *    subscription of output wants nothing, because output cannot be repaired.
 * 3. A versioned snapshot of a task is restated only if its version is above the
 *    highest one that passed. A snapshot without a version is restated only if no live
 *    update of the task has passed since the fetch began, and only if it contains
 *    something new. So a snapshot that is applied twice restates nothing.
 * 4. A task is `gone` only if the snapshot is complete and the fetch asked for the
 *    task, the task is known, and no live update of it has passed since the fetch
 *    began. Its highest version is kept.
 * 5. At most one fetch runs. The wants of marks during a fetch are combined into one
 *    want for the next fetch. So there are at most as many fetches as marks, not
 *    counting periodic fetches.
 * 6. `Repaired` names only marks that were observed before its fetch began. It counts
 *    those that came since as `open`.
 * 7. A want whose fetch failed is kept and part of the next fetch, but does not begin
 *    one. So after a `Repaired` without `open` marks, no gap of updates is open.
 * 8. At most `maxTasks` tasks are known, and at most `maxNamed` are wanted by name: a
 *    want of more tasks wants all.
 */
import { identity } from "effect/Function"
import type { MeshEvent, Repaired, RepairFailed, Restated, Resync, ResyncReasonTag } from "../../MeshEvent.ts"
import type { TaskId } from "../../TaskId.ts"
import * as Versions from "../projection/versions.ts"

/** The state of one task at one moment. */
export interface TaskSnapshot {
  readonly taskId: TaskId
  readonly version?: number | undefined
  readonly status?: string | undefined
  readonly updatedFields?: ReadonlyArray<string> | undefined
  readonly costUsd?: number | undefined
}

/** The tasks that a fetch requests. */
export type Ask = { readonly _tag: "All" } | { readonly _tag: "Tasks"; readonly taskIds: ReadonlyArray<TaskId> }

export interface Options {
  /** Whether a task that is absent from a snapshot does not exist. */
  readonly complete: boolean
  /** Whether the first mark wants a snapshot. */
  readonly initial: boolean
  readonly maxTasks: number
  readonly isTerminal: (status: string) => boolean
}

/** The tasks that the marks since the last fetch want. */
interface Want {
  all: boolean
  readonly tasks: Set<TaskId>
  readonly reasons: Set<ResyncReasonTag>
  unconfirmed: number
}

interface Fetch {
  readonly ask: Ask
  readonly want: Want
  readonly epoch: number
  /** The number of marks since it began. */
  open: number
}

/** The known state of a task. */
interface Task {
  versions: { -readonly [K in keyof Versions.Versions]: Versions.Versions[K] } | undefined
  status: string | undefined
  costUsd: number | undefined
  /** The `updatedFields` of the last snapshot that was restated. */
  fields: ReadonlyArray<string> | undefined
  /** The number of the fetch before or during which the last live update passed. */
  updatedIn: number
  /** The same for the last live update that has a status and no version. */
  statusIn: number
  isGone: boolean
  /** Whether it was used since it became the next one to be forgotten. */
  isUsed: boolean
}

/** The most tasks that a fetch requests by name. */
export const maxNamed = 1000

const noWant = (): Want => ({ all: false, tasks: new Set(), reasons: new Set(), unconfirmed: 0 })

const add = (want: Want, other: Want): void => {
  want.all ||= other.all
  for (const taskId of other.tasks) want.tasks.add(taskId)
  for (const reason of other.reasons) want.reasons.add(reason)
  want.unconfirmed += other.unconfirmed
}

const askOf = ({ all, tasks }: Want): Ask =>
  all || tasks.size > maxNamed ? { _tag: "All" } : { _tag: "Tasks", taskIds: [...tasks] }

export class Machine {
  readonly #options: Options
  /** Returns an equal task id, of which a lookup is cheaper: see `taskIds.ts`. */
  readonly #intern: (taskId: TaskId) => TaskId
  readonly #tasks = new Map<TaskId, Task>()
  #epoch = 0
  /** Whether a fetch may begin on this connection. */
  #isMarked = true
  /** The number of marks of a new connection. */
  #connections = 0
  /** How many fetches have begun. */
  #fetches = 0
  #fetch: Fetch | undefined
  /** The tasks to fetch. */
  #due: Want | undefined
  /** The tasks that failed fetches did not repair. */
  #failed: Want | undefined

  constructor(options: Options, intern: (taskId: TaskId) => TaskId = identity) {
    this.#options = options
    this.#intern = intern
  }

  /** Whether a fetch is needed and none runs. */
  get isDue(): boolean {
    return this.#due !== undefined && this.#fetch === undefined
  }

  /** Whether a fetch runs. */
  get isFetching(): boolean {
    return this.#fetch !== undefined
  }

  /** Whether a fetch, or another attempt at it, may begin now. */
  get mayBegin(): boolean {
    return this.#isMarked && (this.#due !== undefined || this.#fetch !== undefined)
  }

  /** Whether the known states include everything that the server sent up to the last mark. */
  get isSettled(): boolean {
    return this.#isMarked && this.#fetches > 0 && (this.#fetch ?? this.#due ?? this.#failed) === undefined
  }

  /** Records events of the feed. */
  observe<A extends { readonly _tag: string }>(events: ReadonlyArray<A | MeshEvent>): void {
    for (let n = 0; n < events.length; n++) {
      // The tag says which elements are events. The client's own elements have other tags.
      const event = events[n] as MeshEvent
      const { _tag } = event
      // Most events are output, which does not change the state of its task.
      if (_tag === "TaskOutput") continue
      switch (event._tag) {
        case "TaskUpdated":
          this.#observeUpdate(this.#intern(event.taskId), event.version, event.status)
          break
        case "Restated":
          this.#remember(this.#task(event.taskId), event)
          break
        case "Connected":
          this.#epoch = event.epoch
          this.#isMarked = false
          break
        case "Disconnected":
          if (this.#isMarked && this.#fetch !== undefined) this.#fetch.open++
          this.#isMarked = false
          break
        case "Resync":
          this.#observeMark(event)
          break
      }
    }
  }

  /** Requests all tasks, without a mark. */
  refresh(): void {
    this.#due ??= noWant()
    this.#due.all = true
  }

  /**
   * Begins a fetch of the tasks that are due, or another attempt of the running fetch. An
   * attempt includes tasks that have become due in the meantime.
   */
  begin(): Ask {
    const want = noWant()
    for (const part of [this.#failed, this.#fetch?.want, this.#due]) if (part !== undefined) add(want, part)
    this.#failed = undefined
    this.#due = undefined
    this.#fetches++
    const ask = askOf(want)
    this.#fetch = { ask, want, epoch: this.#epoch, open: 0 }
    return ask
  }

  /** Ends the fetch with a snapshot. Returns the elements to emit; the last one is a `Repaired`. */
  apply(snapshot: ReadonlyArray<TaskSnapshot>): ReadonlyArray<Restated | Repaired> {
    const fetch = this.#end()
    if (fetch === undefined) return []
    const out: Array<Restated | Repaired> = []
    const present = new Set<TaskId>()
    for (const item of snapshot) {
      present.add(item.taskId)
      const task = this.#tasks.get(item.taskId)
      if (task !== undefined && !this.#isNews(task, item)) continue
      const restated = restatedOf(item)
      this.#remember(task ?? this.#task(item.taskId), restated)
      out.push(restated)
    }
    let absent = 0
    for (const [taskId, task] of this.#asked(fetch.ask)) {
      if (task.isGone || present.has(taskId) || task.updatedIn === this.#fetches) continue
      if (this.#options.complete) {
        task.isGone = true
        out.push(knowledgeOf(taskId, task))
      } else if (task.status === undefined || !this.#options.isTerminal(task.status)) {
        absent++
      }
    }
    const { epoch, open, want } = fetch
    const { reasons, unconfirmed } = want
    out.push({ _tag: "Repaired", epoch, reasons: [...reasons], restated: out.length, unconfirmed, absent, open })
    return out
  }

  /** Ends the fetch without a snapshot. */
  fail(attempts: number, error: string): RepairFailed {
    const fetch = this.#end()
    if (fetch !== undefined) this.#failed = fetch.want
    return {
      _tag: "RepairFailed",
      epoch: fetch?.epoch ?? this.#epoch,
      reasons: [...(fetch?.want.reasons ?? [])],
      attempts,
      error
    }
  }

  /** The known states of some tasks, or of all, without tasks that are gone. */
  known(taskIds?: Iterable<TaskId>): Array<Restated> {
    const known: Array<Restated> = []
    const add = (taskId: TaskId, task: Task | undefined): void => {
      if (task !== undefined && !task.isGone) known.push(knowledgeOf(taskId, task))
    }
    if (taskIds === undefined) for (const [taskId, task] of this.#tasks) add(taskId, task)
    else for (const taskId of taskIds) add(taskId, this.#tasks.get(taskId))
    return known
  }

  #end(): Fetch | undefined {
    const fetch = this.#fetch
    this.#fetch = undefined
    return fetch
  }

  #observeUpdate(taskId: TaskId, version: number | undefined, status: string | undefined): void {
    const task = this.#tasks.get(taskId) ?? this.#add(taskId)
    task.isUsed = true
    task.updatedIn = this.#fetches
    if (version !== undefined) {
      if (!this.#passes(task, version)) return
    } else if (status !== undefined) {
      task.statusIn = this.#fetches
    }
    task.isGone = false
    if (status !== undefined) task.status = status
  }

  /** Records a version. Returns whether it is the newest. */
  #passes(task: Task, version: number): boolean {
    const before = task.versions
    if (before === undefined || before.lower !== undefined || version <= before.highest) {
      const after = Versions.next(before, version, this.#connections)
      if (after !== before) task.versions = { ...after }
      return Versions.isNewer(before, after)
    }
    // In place: most updates are the newest of their task.
    before.highest = version
    before.connections = this.#connections
    return true
  }

  #observeMark(mark: Resync): void {
    const { reason, taskId, unconfirmed = 0 } = mark
    this.#epoch = mark.epoch
    this.#isMarked = true
    if (Versions.isNewConnection(mark)) {
      this.#connections++
      // The mark counts all keys of its connection.
      for (const want of [this.#due, this.#failed]) if (want !== undefined) want.unconfirmed = 0
    }
    if (reason._tag === "Subscribed" && reason.kind === "output") return
    if (this.#fetch !== undefined) this.#fetch.open++
    const isFirst = reason._tag === "Started" || reason._tag === "JoinedLate"
    if (isFirst && !this.#options.initial && this.#tasks.size === 0) return
    this.#due ??= noWant()
    this.#due.reasons.add(reason._tag)
    this.#due.unconfirmed += unconfirmed
    if (taskId === undefined) this.#due.all = true
    else if (this.#due.tasks.size <= maxNamed) this.#due.tasks.add(taskId)
  }

  #isNews(task: Task, { costUsd, status, updatedFields, version }: TaskSnapshot): boolean {
    if (version !== undefined && task.versions !== undefined) {
      // A status without a version that passed since the fetch began may be newer than the snapshot.
      return version > task.versions.highest && task.statusIn !== this.#fetches
    }
    if (task.updatedIn === this.#fetches) return false
    return (
      version !== undefined ||
      task.isGone ||
      (status !== undefined && status !== task.status) ||
      (costUsd !== undefined && costUsd !== task.costUsd) ||
      (updatedFields !== undefined && !isSame(updatedFields, task.fields))
    )
  }

  #remember(task: Task, { costUsd, gone, status, updatedFields, version }: Restated): void {
    task.isUsed = true
    task.isGone = gone === true
    if (version !== undefined && (task.versions === undefined || version > task.versions.highest)) {
      task.versions = { highest: version, connections: this.#connections }
    }
    if (status !== undefined) task.status = status
    if (costUsd !== undefined) task.costUsd = costUsd
    task.fields = updatedFields
  }

  #asked(ask: Ask): Iterable<readonly [TaskId, Task]> {
    if (ask._tag === "All") return this.#tasks
    return ask.taskIds.flatMap((taskId) => {
      const task = this.#tasks.get(taskId)
      return task === undefined ? [] : [[taskId, task] as const]
    })
  }

  #task(taskId: TaskId): Task {
    return this.#tasks.get(taskId) ?? this.#add(taskId)
  }

  #add(taskId: TaskId): Task {
    const task: Task = {
      versions: undefined,
      status: undefined,
      costUsd: undefined,
      fields: undefined,
      updatedIn: -1,
      statusIn: -1,
      isGone: false,
      isUsed: true
    }
    this.#tasks.set(taskId, task)
    if (this.#tasks.size > this.#options.maxTasks) this.#forget()
    return task
  }

  /** Forgets the oldest task that was not used since it was the oldest. Takes constant time on average. */
  #forget(): void {
    for (const [taskId, task] of this.#tasks) {
      this.#tasks.delete(taskId)
      if (!task.isUsed) return
      task.isUsed = false
      this.#tasks.set(taskId, task)
    }
  }
}

const isSame = (a: ReadonlyArray<string>, b: ReadonlyArray<string> | undefined): boolean =>
  b !== undefined && a.length === b.length && a.every((field, index) => field === b[index])

const restatedOf = ({ costUsd, status, taskId, updatedFields, version }: TaskSnapshot): Restated => ({
  _tag: "Restated",
  taskId,
  ...(version === undefined ? {} : { version }),
  ...(status === undefined ? {} : { status }),
  ...(updatedFields === undefined ? {} : { updatedFields }),
  ...(costUsd === undefined ? {} : { costUsd })
})

/** The known state of a task, as an element. */
const knowledgeOf = (taskId: TaskId, { costUsd, isGone, status, versions }: Task): Restated => ({
  _tag: "Restated",
  taskId,
  ...(versions === undefined ? {} : { version: versions.highest }),
  ...(isGone ? { gone: true as const } : restFields(status, costUsd))
})

const restFields = (status: string | undefined, costUsd: number | undefined) => ({
  ...(status === undefined ? {} : { status }),
  ...(costUsd === undefined ? {} : { costUsd })
})
