/**
 * The sequences of a merge that have an object: one of each kind of a task, from its
 * first message on. A sequence without anything to remember is forgotten when there
 * are `maxTasks`.
 *
 * `sequence.ts` aligns the inputs in one of them; `machine.ts` decides what a lost
 * input means for all of them.
 */
import type { TaskId } from "../../TaskId.ts"
import { kinds } from "./inputs.ts"
import { Sequence, type Kind, type Shared, type Start } from "./sequence.ts"

export class Sequences {
  readonly #byTask: Readonly<Record<Kind, Map<TaskId, Sequence>>> = { updates: new Map(), output: new Map() }
  readonly #shared: Shared
  /** When sequences were last forgotten. */
  #forgottenAt = -Infinity

  constructor(shared: Shared) {
    this.#shared = shared
  }

  get size(): number {
    return this.#byTask.updates.size + this.#byTask.output.size
  }

  /** How many sequences of a kind there are. */
  count(kind: Kind): number {
    return this.#byTask[kind].size
  }

  get(kind: Kind, taskId: TaskId): Sequence | undefined {
    return this.#byTask[kind].get(taskId)
  }

  /** The sequences of a kind, the oldest first. */
  of(kind: Kind): Iterable<Sequence> {
    return this.#byTask[kind].values()
  }

  /** The sequences of both kinds for which `pick` returns `true`. */
  filter(pick: (sequence: Sequence) => boolean): Array<Sequence> {
    return kinds.flatMap((kind) => Array.from(this.of(kind)).filter(pick))
  }

  /** The oldest sequence of a kind. */
  oldest(kind: Kind): Sequence | undefined {
    const [oldest] = this.of(kind)
    return oldest
  }

  add(kind: Kind, taskId: TaskId, starts: ReadonlyArray<Start>): Sequence {
    const sequence = new Sequence(kind, taskId, this.#shared, this.#forgottenAt, starts)
    this.#byTask[kind].set(taskId, sequence)
    return sequence
  }

  /** Forgets the sequences of a kind in which there is nothing to remember. */
  forgetTrivial(kind: Kind, now: number): void {
    const sequences = this.#byTask[kind]
    for (const [taskId, sequence] of sequences) {
      if (!sequence.isTrivial()) continue
      sequences.delete(taskId)
      this.#forgottenAt = now
    }
  }

  forget(kind: Kind, taskId: TaskId, now: number): void {
    const sequence = this.#byTask[kind].get(taskId)
    if (sequence === undefined) return
    sequence.dispose(now)
    this.#byTask[kind].delete(taskId)
    this.#forgottenAt = now
  }

  forgetAll(now: number): void {
    this.#forgottenAt = now
    for (const kind of kinds) {
      for (const sequence of this.of(kind)) sequence.dispose(now)
      this.#byTask[kind].clear()
    }
  }
}
