/**
 * One sequence of the merge: the updates, or the output, of one task, as the
 * inputs of the merge deliver it.
 *
 * The index of a message is the number of messages that were emitted before it.
 * An input is a *member* of the sequence:
 *
 * - `aligned`: the index of its next message is known. A message with the next
 *   index is emitted; one with an earlier index is compared and dropped.
 * - `joining`: the index `offset` of its first message is not known. Its messages
 *   are held. The bounds `lo <= offset <= hi` are known, and which offsets between
 *   them agree with the contents.
 * - `absent`: the input is not connected.
 *
 * The bounds come from *boundaries*. A boundary of an input at time `t` says that
 * the input has delivered everything that the server sent before `t`: an
 * acknowledgement of a request that left at `t` is one. Everything that arrived
 * before `t`, on any input, was sent before `t`. So, if `emitted(t)` messages were
 * emitted by `t`, and the input has delivered `count` messages by its boundary:
 *
 * - for a joining input `offset + count >= emitted(t)`,
 * - for an aligned input `at >= emitted(t)`, or the server skipped messages,
 * - and if another input held `n` messages at `t`: `offset + n <= at`. This also
 *   holds for `n = 0` if the server had confirmed the other's request by `t`.
 *
 * An input is aligned when one offset is left. Neither a match of contents nor
 * silence is a proof without both bounds.
 *
 * A message with a version is an exception: it occurs once, so an equal message
 * is a proof on its own.
 */
import type { TaskId } from "../../TaskId.ts"
import { Emitted, type Totals } from "./emitted.ts"
import { isSame, sizeOf, type Message } from "./same.ts"

export type Kind = "updates" | "output"

/** Why two inputs cannot be aligned. */
export type Cause = "lost" | "window" | "ambiguous" | "disagreement"

/** The state that all sequences of one merge share. */
export interface Shared extends Totals {
  /** How many messages one sequence may hold, and their bytes. */
  readonly window: number
  readonly windowBytes: number
  /** How many messages all sequences may hold, and their bytes. */
  readonly maxHeld: number
  readonly maxHeldBytes: number
  /** How often two inputs disagreed. */
  disagreements: number
  /** How often a sequence exceeded its window. */
  overruns: number
  /** Emits the mark of a task whose inputs cannot be aligned. */
  readonly mark: (taskId: TaskId, cause: Cause, out: Array<unknown>) => void
}

export interface Member {
  mode: "absent" | "joining" | "aligned"
  /** The index of the next message of an aligned member. */
  at: number
  /** The messages of a joining member, and when they arrived. */
  held: Array<Message>
  heldAt: Array<number>
  /** The bounds of the offset of a joining member. */
  lo: number
  hi: number
  /** The offsets that are left, once both bounds are known. */
  offsets: Array<number> | undefined
  /** When the server had confirmed the request of a joining member; `Infinity` if it has not. */
  confirmedAt: number
  /** Whether a joining member waits for the confirmation of this task, apart from that of its interest. */
  awaitsKey: boolean
  /** Whether this task was confirmed on a joining member before it was on an aligned one. */
  wasEarly: boolean
  /** Whether it joins again because the window was exceeded. */
  overran: boolean
}

/** The state of a member when its sequence begins. */
export interface Start {
  readonly mode: Member["mode"]
  readonly lo: number
  readonly hi: number
  readonly confirmedAt: number
}

const nothing: Array<never> = []

export class Sequence {
  readonly kind: Kind
  readonly taskId: TaskId
  readonly members: Array<Member>
  readonly #shared: Shared
  /** The messages that were emitted and that an input may still deliver. */
  readonly #emitted: Emitted
  /** Whether no input that is aligned has the server's confirmation. */
  isUnconfirmed = false

  constructor(kind: Kind, taskId: TaskId, shared: Shared, droppedAt: number, starts: ReadonlyArray<Start>) {
    this.kind = kind
    this.taskId = taskId
    this.#shared = shared
    this.#emitted = new Emitted(shared, droppedAt)
    this.members = starts.map(({ confirmedAt, hi, lo, mode }) => ({
      mode,
      at: 0,
      held: nothing,
      heldAt: nothing,
      lo,
      hi,
      offsets: undefined,
      confirmedAt,
      awaitsKey: false,
      wasEarly: false,
      overran: false
    }))
  }

  // ---------------------------------------------------------------------------
  // questions
  // ---------------------------------------------------------------------------

  /** How many messages were emitted. */
  get position(): number {
    return this.#emitted.position
  }

  /** Whether it can be forgotten: every input has delivered everything, and nothing is held. */
  isTrivial(): boolean {
    for (const { at, mode } of this.members) {
      if (mode === "joining" || (mode === "aligned" && at !== this.position)) return false
    }
    return true
  }

  isJoining(): boolean {
    return this.members.some(({ mode }) => mode === "joining")
  }

  /** Whether an input other than `input` is aligned. */
  hasAligned(input?: number): boolean {
    return this.members.some(({ mode }, i) => mode === "aligned" && i !== input)
  }

  /** The emitted messages that an aligned input has not delivered; `undefined` if it is not aligned, or they were dropped. */
  missing(input: number): ReadonlyArray<Message> | undefined {
    const { at, mode } = this.#member(input)
    return mode === "aligned" ? this.#emitted.since(at) : undefined
  }

  #member(input: number): Member {
    // The machine passes only numbers of inputs.
    return this.members[input] as Member
  }

  // ---------------------------------------------------------------------------
  // messages
  // ---------------------------------------------------------------------------

  receive(input: number, message: Message, now: number, out: Array<unknown>): void {
    const member = this.#member(input)
    if (member.mode === "joining") {
      this.#hold(input, member, message, now, out)
    } else if (member.mode === "absent" || member.at === this.position) {
      this.#emit(input, member, message, now, out)
    } else if (member.at < this.#emitted.base || isSame(this.#emitted.at(member.at), message)) {
      member.at++
      this.#trim(now)
    } else {
      this.#onDifference(input, member, message, now, out)
    }
  }

  #emit(input: number, member: Member, message: Message, now: number, out: Array<unknown>): void {
    out.push(message)
    const emitted = this.#emitted
    if (!this.#isAwaited(input)) {
      emitted.pass(now)
      member.at = emitted.position
      return
    }
    emitted.push(message, now)
    member.at = emitted.position
    if (this.#isOver(emitted.size, emitted.bytes)) {
      this.#overrun(now)
      return
    }
    for (let i = 0; i < this.members.length; i++) this.#onEmitted(i, message, now, out)
  }

  /** Whether another input may still deliver what has just been emitted. */
  #isAwaited(input: number): boolean {
    return this.members.some(({ mode }, i) => i !== input && mode !== "absent")
  }

  /** Narrows down the offsets of a joining member by a message that was emitted. */
  #onEmitted(input: number, message: Message, now: number, out: Array<unknown>): void {
    const member = this.#member(input)
    if (member.mode !== "joining") return
    const index = this.position - 1
    if (member.offsets !== undefined) {
      member.offsets = member.offsets.filter((offset) => {
        const held = member.held[index - offset]
        return held === undefined || isSame(held, message)
      })
      this.#decide(input, member, now, out)
    } else if (message._tag === "TaskUpdated" && message.version !== undefined) {
      const places = placesOf(member.held, message)
      if (places.length === 1) this.#pin(input, member, index - (places[0] ?? 0), now, out)
    }
  }

  // ---------------------------------------------------------------------------
  // joining
  // ---------------------------------------------------------------------------

  #hold(input: number, member: Member, message: Message, now: number, out: Array<unknown>): void {
    const place = member.held.length
    if (place === 0) {
      member.held = []
      member.heldAt = []
    }
    member.held.push(message)
    member.heldAt.push(now)
    this.#shared.held++
    this.#shared.heldBytes += sizeOf(message)
    if (this.#isOver(member.held.length, 0)) {
      this.#shared.overruns++
      this.restart(input, now)
      member.overran = true
      return
    }
    if (member.offsets !== undefined) {
      const one = [message]
      member.offsets = member.offsets.filter((offset) => this.#emitted.agrees(one, offset + place))
      this.#decide(input, member, now, out)
    } else if (message._tag === "TaskUpdated" && message.version !== undefined) {
      const indexes = this.#emitted.indexesOf(message)
      if (indexes.length === 1) this.#pin(input, member, (indexes[0] ?? 0) - place, now, out)
    }
  }

  /** An equal version leaves one offset. */
  #pin(input: number, member: Member, offset: number, now: number, out: Array<unknown>): void {
    member.lo = Math.max(member.lo, offset)
    member.hi = Math.min(member.hi, offset)
    this.#tighten(input, member, now, out)
  }

  /** Aligns a joining member if its bounds leave one offset. */
  #tighten(input: number, member: Member, now: number, out: Array<unknown>): void {
    const { hi, lo } = member
    if (lo > hi) {
      member.offsets = []
    } else if (member.offsets !== undefined) {
      member.offsets = member.offsets.filter((offset) => offset >= lo && offset <= hi)
    } else {
      if (hi - lo > this.#shared.window) return
      member.offsets = []
      for (let offset = lo; offset <= hi; offset++) {
        if (this.#emitted.agrees(member.held, offset)) member.offsets.push(offset)
      }
    }
    this.#decide(input, member, now, out)
  }

  #decide(input: number, member: Member, now: number, out: Array<unknown>): void {
    const [first, second] = member.offsets ?? nothing
    if (member.offsets === undefined || second !== undefined) return
    if (first !== undefined) {
      this.#align(input, member, first, now, out)
      return
    }
    this.#shared.disagreements++
    this.restart(input, now)
    this.#shared.mark(this.taskId, "disagreement", out)
  }

  /** The offset is known: emits the held messages that were not emitted yet. */
  #align(input: number, member: Member, offset: number, now: number, out: Array<unknown>): void {
    const { held } = member
    const behind = Math.min(held.length, Math.max(0, this.position - offset))
    this.#release(member)
    member.mode = "aligned"
    member.confirmedAt = now
    member.overran = false
    member.at = offset + behind
    for (let i = behind; i < held.length; i++) this.#emit(input, member, held[i] as Message, now, out)
    this.#trim(now)
  }

  /**
   * Makes an input that is still joining the only aligned one, after a mark.
   * Drops the held messages that were most likely emitted already, and emits the
   * others. Drops nothing after that, because the mark claims completeness.
   */
  promote(input: number, now: number, out: Array<unknown>): void {
    const member = this.#member(input)
    if (member.mode !== "joining") return
    const { held } = member
    let offset = member.offsets?.[0] ?? Math.max(member.lo, this.#emitted.base - held.length + 1)
    while (offset < this.position && !this.#emitted.agrees(held, offset)) offset++
    this.lead(input, now)
    for (let i = Math.max(0, this.position - offset); i < held.length; i++) {
      this.#emit(input, member, held[i] as Message, now, out)
    }
  }

  /** Forgets the index of an input: it joins, from its next message on. */
  restart(input: number, now: number, confirmedAt = this.#member(input).confirmedAt): void {
    const member = this.#member(input)
    this.#release(member)
    member.mode = "joining"
    member.lo = -Infinity
    member.hi = Infinity
    member.offsets = undefined
    // Its first message comes later than now, so a confirmation counts from now on.
    member.confirmedAt = Math.max(now, confirmedAt)
    member.awaitsKey &&= confirmedAt === Infinity
    member.wasEarly = false
    member.overran = false
    this.#trim(now)
  }

  /** The task is confirmed on an aligned input: a complete stretch begins. The other inputs join when it is confirmed on them. */
  grow(input: number, now: number, isConfirmed: (other: number) => boolean): void {
    this.lead(input, now)
    this.members.forEach(({ mode, wasEarly }, i) => {
      if (i === input || mode === "absent") return
      const isReady = wasEarly || isConfirmed(i)
      this.restart(i, now, isReady ? now : Infinity)
      this.#member(i).awaitsKey = !isReady
    })
  }

  /** Makes an input aligned at the end of what was emitted. */
  lead(input: number, now: number): void {
    const member = this.#member(input)
    this.#release(member)
    member.mode = "aligned"
    member.confirmedAt = now
    member.at = this.position
    member.overran = false
    this.#trim(now)
  }

  /** The server has confirmed this task on a joining input. */
  confirm(input: number, now: number): void {
    const member = this.#member(input)
    if (member.mode !== "joining") return
    const wasEarly = !member.awaitsKey
    if (member.held.length > 0) this.restart(input, now)
    member.confirmedAt = now
    member.awaitsKey = false
    member.wasEarly = wasEarly
  }

  /** The input is not connected any more. */
  close(input: number, now: number): void {
    const member = this.#member(input)
    this.#release(member)
    member.mode = "absent"
    member.confirmedAt = Infinity
    member.awaitsKey = false
    this.#trim(now)
  }

  // ---------------------------------------------------------------------------
  // boundaries
  // ---------------------------------------------------------------------------

  /** The input has delivered everything that the server sent before `time`. */
  boundary(input: number, time: number, now: number, out: Array<unknown>): void {
    const member = this.#member(input)
    if (member.mode === "aligned") {
      if (member.at < this.#emitted.countBy(time)) {
        this.#onSkipped(input, member, time, now, out)
        return
      }
      const { at } = member
      this.members.forEach((other, i) => {
        if (i === input || other.mode !== "joining") return
        const before = other.heldAt.filter((heldAt) => heldAt <= time).length
        if ((before === 0 && other.confirmedAt > time) || at - before >= other.hi) return
        other.hi = at - before
        this.#tighten(i, other, now, out)
      })
    } else if (member.mode === "joining") {
      const lo = this.#emitted.countBy(time) - member.held.length
      if (lo <= member.lo) return
      member.lo = lo
      this.#tighten(input, member, now, out)
    }
  }

  // ---------------------------------------------------------------------------
  // disagreements
  // ---------------------------------------------------------------------------

  /** An aligned input delivers another message than was emitted at this index. */
  #onDifference(input: number, member: Member, message: Message, now: number, out: Array<unknown>): void {
    this.#shared.disagreements++
    const version = versionOf(message)
    const expected = versionOf(this.#emitted.at(member.at))
    if (version !== undefined && expected !== undefined && version !== expected) {
      if (version < expected) {
        // Its place is in the past, so the other input has skipped it.
        this.#shared.mark(this.taskId, "disagreement", out)
        return
      }
      // This input has skipped what the other one has delivered: nothing is missing.
      while (member.at < this.position && (versionOf(this.#emitted.at(member.at)) ?? -Infinity) < version) member.at++
      this.#trim(now)
      this.receive(input, message, now, out)
      return
    }
    this.#shared.mark(this.taskId, "disagreement", out)
    this.#giveUp(input, member, now)
    if (member.mode === "aligned") this.#emit(input, member, message, now, out)
  }

  /** A boundary shows that the server has skipped messages for an aligned input. */
  #onSkipped(input: number, member: Member, time: number, now: number, out: Array<unknown>): void {
    this.#shared.disagreements++
    // Another input has delivered what is missing, so the output lacks nothing.
    if (!this.hasAligned(input)) this.#shared.mark(this.taskId, "disagreement", out)
    this.#giveUp(input, member, now)
    this.boundary(input, time, now, out)
  }

  /** The index of an input is not known any more: it joins again, or continues from here if it is the only one. */
  #giveUp(input: number, member: Member, now: number): void {
    if (this.hasAligned(input)) {
      this.restart(input, now)
      return
    }
    this.members.forEach((other, i) => {
      if (other.mode === "joining") this.restart(i, now)
    })
    member.at = this.position
    this.#emitted.dropAll(now)
  }

  // ---------------------------------------------------------------------------
  // bounds
  // ---------------------------------------------------------------------------

  #isOver(messages: number, bytes: number): boolean {
    const { held, heldBytes, maxHeld, maxHeldBytes, window, windowBytes } = this.#shared
    return messages > window || bytes > windowBytes || held > maxHeld || heldBytes > maxHeldBytes
  }

  /** Too much was emitted that other inputs have not delivered: they join again. */
  #overrun(now: number): void {
    this.#shared.overruns++
    for (let i = 0; i < this.members.length; i++) {
      const { at, mode } = this.#member(i)
      if (mode === "absent" || (mode === "aligned" && at === this.position)) continue
      this.restart(i, now)
      this.#member(i).overran = true
    }
    this.#emitted.dropAll(now)
  }

  /** Drops what a member holds. */
  #release(member: Member): void {
    for (const message of member.held) {
      this.#shared.held--
      this.#shared.heldBytes -= sizeOf(message)
    }
    member.held = nothing
    member.heldAt = nothing
    member.offsets = undefined
  }

  /** Drops the emitted messages that no input has to deliver any more. */
  #trim(now: number): void {
    if (this.#emitted.size === 0) return
    let needed = this.position
    for (const { at, mode } of this.members) {
      if (mode === "joining") return
      if (mode === "aligned" && at < needed) needed = at
    }
    this.#emitted.dropBelow(needed, now)
  }

  /** Drops everything, because the sequence is forgotten. */
  dispose(now: number): void {
    for (const member of this.members) this.#release(member)
    this.#emitted.dropAll(now)
  }
}

const versionOf = (message: Message): number | undefined =>
  message._tag === "TaskUpdated" ? message.version : undefined

/** The places of equal messages. */
const placesOf = (messages: ReadonlyArray<Message>, message: Message): ReadonlyArray<number> =>
  messages.flatMap((each, place) => (isSame(each, message) ? [place] : []))
