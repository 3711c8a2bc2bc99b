/**
 * What a writer knows of the end of the stream: the last sequence, the leases that it has
 * checked since, and the newest version of tasks.
 *
 * All of it is true only until another process appends. The next append is then refused
 * with a conflict, and the writer forgets everything and reads it again.
 */
import { isNewerUpdate, leaseTerm, type Cell, type Fence } from "@makima-stream/log/LogEngine"
import { Fenced, LogError } from "@makima-stream/log/LogError"
import type { NewEvent } from "@makima-stream/log/MeshLog"
import type { MeshEvent } from "@makima-stream/core/MeshEvent"
import type { TaskId } from "@makima-stream/core/TaskId"
import type { JetStreamManager, MsgRequest, StoredMsg } from "@nats-io/jetstream"
import { marksHeader, versionHeader } from "./message.ts"
import type { Subjects } from "./subjects.ts"

/** The end of the stream. */
export interface Tail {
  /** The sequence of the last message. */
  seq: number
  /** The number of marks without a task. */
  marks: number
}

export interface Options {
  readonly jsm: JetStreamManager
  readonly stream: string
  readonly subjects: Subjects
}

export class Known {
  readonly #options: Options
  #tail: Tail | undefined
  /** The term of each lease that was checked after the tail was read. */
  readonly #checked = new Map<string, number>()
  /** The highest version of tasks, as of the tail. */
  readonly #versions = new Map<TaskId, number | undefined>()

  constructor(options: Options) {
    this.#options = options
  }

  /** Forgets everything, because another process may have appended. */
  forget(): void {
    this.#tail = undefined
    this.#checked.clear()
    this.#versions.clear()
  }

  /** Forgets the versions, because another process may have stored an event with an id of this one. */
  forgetVersions(): void {
    this.#versions.clear()
  }

  /** Returns the end of the stream. Reads it if it is not known. */
  async tail(): Promise<Tail> {
    return (this.#tail ??= await this.#readTail())
  }

  async #readTail(): Promise<Tail> {
    const { jsm, stream, subjects } = this.#options
    const { state } = await jsm.streams.info(stream)
    const last = state.messages === 0 ? null : await this.#get({ seq: state.last_seq })
    // The message of a lease has no count.
    const count =
      last?.header.get(marksHeader) || (await this.#get({ last_by_subj: subjects.marks }))?.header.get(marksHeader)
    return { seq: state.last_seq, marks: Number(count ?? "") }
  }

  #get(query: MsgRequest): Promise<StoredMsg | null> {
    return this.#options.jsm.streams.getMessage(this.#options.stream, query)
  }

  /** Whether a lease was checked after the tail was read. */
  isChecked({ name, term }: Fence): boolean {
    return this.#checked.get(name) === term
  }

  /** Checks the cell of a lease. Throws `Fenced` if the lease has another term, or no owner. */
  check({ name, term }: Fence, cell: Cell | undefined): void {
    if (cell === undefined || leaseTerm(cell.value) !== term) {
      throw new LogError({ reason: new Fenced({ lease: name, term }) })
    }
    this.#checked.set(name, term)
  }

  /** Reads the highest versions of the tasks of a batch. */
  async readVersions(events: ReadonlyArray<NewEvent>): Promise<void> {
    const unknown = new Set<TaskId>()
    for (const { event } of events) {
      if (event._tag === "TaskUpdated" && !this.#versions.has(event.taskId)) unknown.add(event.taskId)
    }
    await Promise.all(
      Array.from(unknown, async (taskId) => {
        const last = await this.#get({ last_by_subj: this.#options.subjects.updatesOf(taskId) })
        const version = last?.header.get(versionHeader) ?? ""
        this.#versions.set(taskId, version === "" ? undefined : Number(version))
      })
    )
  }

  /** Takes an event that is appended next. Returns the highest version of its task, and whether it is older than that. */
  take(event: MeshEvent): { readonly version: number | undefined; readonly isLate: boolean } {
    if (event._tag !== "TaskUpdated") return { version: undefined, isLate: false }
    const newest = this.#versions.get(event.taskId)
    const isLate = !isNewerUpdate(event.version, newest)
    const version = isLate ? newest : (event.version ?? newest)
    this.#versions.set(event.taskId, version)
    return { version, isLate }
  }
}
