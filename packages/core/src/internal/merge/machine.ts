/**
 * The merge of several inputs into one feed: the connected and confirmed inputs, and the
 * lifecycle elements and marks of the merged feed.
 *
 * - `inputs.ts`: the state of each input, and which of them lead.
 * - `sequences.ts`: the sequences of all tasks; `sequence.ts` aligns the messages of one.
 * - `same.ts`: which messages are equal, and copies of messages that name no task.
 * - `badFrames.ts`: frames that an input could not decode.
 *
 * Invariants:
 *
 * 1. While an input is connected, at least one input leads in each kind.
 * 2. `Connected` and `Disconnected` alternate in the output, except for attempts
 *    that failed, and `Disconnected` is emitted only if no confirmed input is left.
 * 3. A message at one place of the server's order is emitted at most once, unless a
 *    mark comes between.
 */
import type { Connected, Disconnected, MeshEvent, Resync } from "../../MeshEvent.ts"
import type { ServerError, UnknownMessage } from "../../ServerMessage.ts"
import type { TaskId } from "../../TaskId.ts"
import { BadFrames } from "./badFrames.ts"
import { Inputs, kinds } from "./inputs.ts"
import { Copies, type Message } from "./same.ts"
import type { Cause, Kind, Sequence, Shared } from "./sequence.ts"
import { Sequences } from "./sequences.ts"

/** Normalised options. Times in milliseconds. */
export interface Settings {
  readonly inputs: number
  readonly skew: number
  readonly window: number
  readonly windowBytes: number
  readonly maxHeld: number
  readonly maxHeldBytes: number
  readonly maxTasks: number
  readonly epoch: number
  readonly isWanted: ((kind: Kind, taskId: TaskId) => boolean) | undefined
  /** Whether the server has confirmed the request for a task on an input, if that is known. */
  readonly isConfirmed?: ((input: number, kind: Kind, taskId: TaskId) => boolean) | undefined
}

/**
 * How often the inputs disagreed, what is held, and how many marks were emitted.
 *
 * @category models
 * @since 0.2.0
 */
export interface Stats {
  /** The number of sequences, of one kind of one task each, that are remembered. */
  readonly sequences: number
  /** The number of messages that are held for a comparison. */
  readonly held: number
  /** Their size in bytes. */
  readonly heldBytes: number
  /** How often two inputs delivered different messages at the same place. */
  readonly disagreements: number
  /** How often a sequence held more than its bound. */
  readonly overruns: number
  /** The number of marks that were emitted because inputs could not be aligned. */
  readonly marks: number
}

/** More tasks than this get one mark without a task. */
const maxMarks = 32

const unaligned = (epoch: number, cause: Cause): Resync => ({
  _tag: "Resync",
  epoch,
  reason: { _tag: "Unaligned", cause }
})

export class Machine {
  readonly #settings: Settings
  readonly #inputs: Inputs
  readonly #sequences: Sequences
  readonly #shared: Shared
  readonly #copies = new Copies()
  readonly #badFrames: BadFrames
  #epoch: number
  /** Whether the feed is in a complete stretch. */
  #isComplete = false
  /** When the last complete stretch ended; `undefined` before the first one. */
  #incompleteSince: number | undefined
  #marks = 0

  constructor(settings: Settings) {
    this.#settings = settings
    this.#epoch = settings.epoch
    this.#inputs = new Inputs(settings.inputs)
    this.#badFrames = new BadFrames(settings.inputs)
    this.#shared = {
      window: settings.window,
      windowBytes: settings.windowBytes,
      maxHeld: settings.maxHeld,
      maxHeldBytes: settings.maxHeldBytes,
      held: 0,
      heldBytes: 0,
      disagreements: 0,
      overruns: 0,
      mark: (taskId, cause, out) => this.#mark(cause, out, taskId)
    }
    this.#sequences = new Sequences(this.#shared)
  }

  // ---------------------------------------------------------------------------
  // questions
  // ---------------------------------------------------------------------------

  stats(): Stats {
    const { disagreements, held, heldBytes, overruns } = this.#shared
    return { sequences: this.#sequences.size, held, heldBytes, disagreements, overruns, marks: this.#marks }
  }

  /** Whether an input can stand in for the others: it leads in both kinds, no sequence of it joins, and its places are right. */
  isAligned(input: number): boolean {
    const { output, state, updates } = this.#inputs.get(input)
    if (state !== "open" || !updates.leads || !output.leads || this.#badFrames.isSuspect(input)) return false
    for (const kind of kinds) {
      for (const { members } of this.#sequences.of(kind)) if (members[input]?.mode !== "aligned") return false
    }
    return true
  }

  /** Whether an aligned input has delivered everything that any input has delivered. */
  #isFirst(input: number): boolean {
    const { output, updates } = this.#inputs.get(input)
    if (!updates.leads || !output.leads) return false
    for (const kind of kinds) {
      for (const { members, position } of this.#sequences.of(kind)) {
        const member = members[input]
        if (member?.mode !== "aligned" || member.at !== position) return false
      }
    }
    return true
  }

  /** The input that leads in both kinds; -1 if there is none. */
  lead(): number {
    return this.#inputs.lead()
  }

  /** Whether boundaries of a kind would align an input. */
  isJoining(kind: Kind): boolean {
    if (this.#inputs.isJoining(kind)) return true
    for (const sequence of this.#sequences.of(kind)) if (sequence.isJoining()) return true
    return false
  }

  /** Whether a kind has emitted messages that an input has not delivered, or an input may have hidden one. */
  isLagging(kind: Kind): boolean {
    if (this.#badFrames.isWaiting()) return true
    for (const sequence of this.#sequences.of(kind)) if (!sequence.isTrivial()) return true
    return false
  }

  /** The emitted messages that an input has not delivered, by task; `undefined` for the tasks where it is not aligned. */
  missing(input: number): ReadonlyArray<{
    readonly taskId: TaskId
    readonly kind: Kind
    readonly messages: ReadonlyArray<Message> | undefined
  }> {
    return kinds.flatMap((kind) =>
      Array.from(this.#sequences.of(kind), (sequence) => ({
        taskId: sequence.taskId,
        kind,
        messages: sequence.missing(input)
      })).filter(({ messages }) => messages === undefined || messages.length > 0)
    )
  }

  // ---------------------------------------------------------------------------
  // elements
  // ---------------------------------------------------------------------------

  /** An input has ended for good, without an element. */
  end(input: number, now: number): Array<MeshEvent> {
    const out: Array<MeshEvent> = []
    const { isConfirmed, state } = this.#inputs.get(input)
    if (state !== "closed") this.#close(input, isConfirmed, undefined, now, out)
    return out
  }

  /** An input is about to send its interest. */
  open(input: number, now: number): void {
    const { state } = this.#inputs.get(input)
    if (state !== "closed") return
    this.#begin(input, now, true)
  }

  /** The elements that an input delivered at `now`. Returns those of the merged feed. */
  offer(input: number, elements: ReadonlyArray<MeshEvent>, now: number): Array<MeshEvent> {
    const out: Array<MeshEvent> = []
    for (const missed of this.#badFrames.takeMissed(now)) {
      this.#hole(missed, unaligned(this.#epoch, "disagreement"), now, out)
    }
    for (const element of elements) this.#receive(input, element, now, out)
    this.alive(input, now, out)
    return out
  }

  #receive(input: number, element: MeshEvent, now: number, out: Array<MeshEvent>): void {
    switch (element._tag) {
      case "TaskOutput":
        this.#message(input, "output", element, now, out)
        break
      case "TaskUpdated":
        this.#message(input, "updates", element, now, out)
        break
      case "ServerError":
      case "UnknownMessage":
        this.#untargeted(input, element, now, out)
        break
      case "Connected":
        this.#connected(input, element, now, out)
        break
      case "Disconnected":
        this.#disconnected(input, element, now, out)
        break
      case "Resync":
        this.#resync(input, element, now, out)
        break
      default:
        out.push(element)
    }
  }

  #message(input: number, kind: Kind, message: Message, now: number, out: Array<MeshEvent>): void {
    this.#ensureOpen(input, now)
    const { taskId } = message
    let sequence = this.#sequences.get(kind, taskId)
    if (sequence === undefined) {
      if (this.#settings.isWanted?.(kind, taskId) === false) return
      sequence = this.#create(kind, taskId, now, out)
    }
    const before = out.length
    sequence.receive(input, message, now, out)
    if (out.length > before) this.#badFrames.onAhead(input)
  }

  /** A message without a task is emitted once for each time that one input delivers it. */
  #untargeted(input: number, message: ServerError | UnknownMessage, now: number, out: Array<MeshEvent>): void {
    if (this.#inputs.all.length > 1 && this.#copies.receive(input, message, now)) return
    out.push(message)
  }

  // ---------------------------------------------------------------------------
  // sequences
  // ---------------------------------------------------------------------------

  #create(kind: Kind, taskId: TaskId, now: number, out: Array<MeshEvent>): Sequence {
    if (this.#sequences.count(kind) >= this.#settings.maxTasks) this.#evict(kind, now, out)
    return this.#sequences.add(kind, taskId, this.#inputs.starts(kind))
  }

  /** Forgets sequences: those without anything to remember, or the oldest one. */
  #evict(kind: Kind, now: number, out: Array<MeshEvent>): void {
    this.#sequences.forgetTrivial(kind, now)
    if (this.#sequences.count(kind) < this.#settings.maxTasks) return
    const oldest = this.#sequences.oldest(kind)
    if (oldest === undefined) return
    // The forgotten messages may still arrive on the inputs that have not delivered them.
    this.#inputs.all.forEach((input, i) => {
      const member = oldest.members[i]
      const isBehind = member?.mode === "joining" || (member?.mode === "aligned" && member.at !== oldest.position)
      if (!isBehind) return
      if (this.#inputs.hasLead(kind, i)) this.#inputs.restart(input, kind, now, input[kind].confirmedAt)
      // From here on it counts as an input that has delivered everything, so it may repeat messages.
      else this.#mark("window", out, oldest.taskId)
    })
    this.#shared.overruns++
    this.#sequences.forget(kind, oldest.taskId, now)
  }

  /** A task that is not wanted any more is forgotten. */
  forget(kind: Kind, taskId: TaskId, now: number): void {
    this.#sequences.forget(kind, taskId, now)
  }

  // ---------------------------------------------------------------------------
  // joining
  // ---------------------------------------------------------------------------

  /** An input begins. It leads if no other one does. */
  #begin(input: number, now: number, isLoKnown: boolean): void {
    const state = this.#inputs.get(input)
    state.state = "opening"
    this.#badFrames.open(input, "opening")
    state.isConfirmed = false
    state.unconfirmed = 0
    for (const kind of kinds) {
      const lead = !this.#inputs.hasLead(kind)
      this.#inputs.restart(state, kind, now, Infinity)
      state[kind].leads = lead
      state[kind].isLoKnown = isLoKnown
      // In a sequence that is forgotten, the input leads or joins like in every other one without an object.
      this.#sequences.forgetTrivial(kind, now)
      for (const sequence of this.#sequences.of(kind)) {
        if (lead) {
          sequence.lead(input, now)
          continue
        }
        sequence.restart(input, now, Infinity)
        const member = sequence.members[input]
        if (isLoKnown && member !== undefined) member.lo = sequence.position
      }
    }
  }

  #ensureOpen(input: number, now: number): void {
    const state = this.#inputs.get(input)
    if (state.state === "closed") this.#begin(input, now, false)
    if (state.state === "open") return
    state.state = "open"
    this.#badFrames.open(input, "open")
    if (!kinds.every((kind) => this.#inputs.hasLead(kind))) this.#takeOver(input, now)
  }

  /** The server has confirmed the request of one task on an input, as a part of its interest. */
  confirmKey(input: number, kind: Kind, taskId: TaskId, now: number): void {
    const sequence = this.#sequences.get(kind, taskId)
    if (sequence?.members[input]?.awaitsKey === true) sequence.confirm(input, now)
  }

  /** An input joins again in all sequences of a kind, from its next message on. */
  #restart(input: number, kind: Kind, now: number, confirmedAt: number): void {
    this.#inputs.restart(this.#inputs.get(input), kind, now, confirmedAt)
    for (const sequence of this.#sequences.of(kind)) sequence.restart(input, now, confirmedAt)
  }

  /** An input becomes the only one that leads. All sequences are forgotten, and the other inputs join again. */
  #takeOver(input: number, now: number): void {
    this.#sequences.forgetAll(now)
    this.#inputs.leadAlone(input, now)
  }

  // ---------------------------------------------------------------------------
  // boundaries
  // ---------------------------------------------------------------------------

  /** An input has delivered everything of a kind that the server sent before `time`. */
  boundary(input: number, kind: Kind, time: number, now: number, out: Array<MeshEvent> = []): Array<MeshEvent> {
    const state = this.#inputs.get(input)
    if (state.state !== "open") return out
    for (const sequence of this.#sequences.of(kind)) sequence.boundary(input, time, now, out)
    this.#inputs.boundary(state, kind, time)
    this.#badFrames.boundary(input, kind, time, now)
    return out
  }

  /** An input has delivered a frame: it has delivered everything that the server sent longer than `skew` ago. */
  alive(input: number, now: number, out: Array<MeshEvent> = []): Array<MeshEvent> {
    const { skew } = this.#settings
    const state = this.#inputs.get(input)
    if (skew === Infinity || state.state !== "open" || now - state.boundaryAt < skew / 8) return out
    state.boundaryAt = now
    for (const kind of kinds) this.boundary(input, kind, now - skew, now, out)
    return out
  }

  // ---------------------------------------------------------------------------
  // lifecycle
  // ---------------------------------------------------------------------------

  #connected(input: number, { at }: Connected, now: number, out: Array<MeshEvent>): void {
    this.#ensureOpen(input, now)
    if (this.#inputs.all.some((other, i) => i !== input && other.state === "open")) return
    this.#start(input, at, now, out)
  }

  /** The merged feed continues with an input that is not confirmed yet. */
  #start(input: number, at: number, now: number, out: Array<MeshEvent>): void {
    this.#takeOver(input, now)
    this.#epoch++
    out.push({ _tag: "Connected", epoch: this.#epoch, at })
  }

  #disconnected(input: number, element: Disconnected, now: number, out: Array<MeshEvent>): void {
    this.#close(input, this.#inputs.get(input).isConfirmed, element, now, out)
  }

  /** An input ends, with its `Disconnected` if it has one. */
  #close(
    input: number,
    wasConfirmed: boolean,
    element: Disconnected | undefined,
    now: number,
    out: Array<MeshEvent>
  ): void {
    const state = this.#inputs.get(input)
    const wasOpen = state.state === "open"
    state.state = "closed"
    state.isConfirmed = false
    this.#badFrames.close(input)
    for (const kind of kinds) {
      state[kind].leads = false
      for (const sequence of this.#sequences.of(kind)) sequence.close(input, now)
    }
    if (!this.#inputs.all.some(({ state }) => state === "open")) {
      this.#stop(now)
      if (element !== undefined) out.push({ ...element, epoch: this.#epoch })
    } else if (wasOpen) {
      this.#handOver(wasConfirmed, element, now, out)
    }
  }

  #stop(now: number): void {
    if (this.#isComplete) this.#incompleteSince = now
    this.#isComplete = false
    this.#sequences.forgetAll(now)
    for (const input of this.#inputs.all) for (const kind of kinds) input[kind].leads = false
  }

  /** An input was lost, and others are left. */
  #handOver(wasConfirmed: boolean, element: Disconnected | undefined, now: number, out: Array<MeshEvent>): void {
    const lead = this.lead()
    const isConfirmed = this.#inputs.all.some((input) => input.state === "open" && input.isConfirmed)
    if (!isConfirmed && (wasConfirmed || lead < 0)) {
      // No other input is confirmed: a gap, as with one connection.
      this.#stop(now)
      const next = this.#inputs.all.findIndex(({ state }) => state === "open")
      if (element === undefined) {
        this.#takeOver(next, now)
        return
      }
      out.push({ ...element, epoch: this.#epoch, retryInMillis: 0 })
      this.#start(next, element.at, now, out)
      return
    }
    if (lead >= 0) {
      this.#markJoining(now, out)
      // The lost input might have delivered a frame that this one could not decode.
      const isAlone = this.#inputs.openCount() === 1
      if (isAlone && this.#badFrames.takeAlone(lead)) {
        this.#mark("disagreement", out)
        this.#takeOver(lead, now)
      }
      return
    }
    const next = this.#inputs.all.findIndex((input) => input.state === "open" && input.isConfirmed)
    const { unconfirmed } = this.#inputs.get(next)
    this.#mark("ambiguous", out, undefined, unconfirmed)
    for (const kind of kinds) {
      this.#inputs.get(next)[kind].leads = true
      for (const sequence of this.#sequences.of(kind)) sequence.promote(next, now, out)
    }
    this.#rejoin(next, now)
  }

  /** Marks the tasks in which no remaining input is aligned, and continues with the best one. */
  #markJoining(now: number, out: Array<MeshEvent>): void {
    const joining = this.#sequences.filter((sequence) => !sequence.hasAligned())
    if (joining.length > maxMarks) this.#mark("ambiguous", out)
    const marked = new Set<TaskId>()
    for (const sequence of joining) {
      const next = sequence.members.findIndex(({ mode }) => mode === "joining")
      if (next < 0) continue
      const cause = sequence.members[next]?.overran === true ? "window" : "ambiguous"
      if (joining.length <= maxMarks && !marked.has(sequence.taskId)) this.#mark(cause, out, sequence.taskId)
      marked.add(sequence.taskId)
      sequence.promote(next, now, out)
      sequence.members.forEach(({ mode }, i) => {
        if (mode === "joining") sequence.restart(i, now)
      })
    }
  }

  /** All inputs except the one that leads join again. */
  #rejoin(lead: number, now: number): void {
    this.#inputs.all.forEach((input, i) => {
      if (i === lead || input.state === "closed") return
      for (const kind of kinds) this.#restart(i, kind, now, input.isConfirmed ? now : Infinity)
    })
  }

  // ---------------------------------------------------------------------------
  // marks
  // ---------------------------------------------------------------------------

  #mark(cause: Cause, out: Array<unknown>, taskId?: TaskId, unconfirmed = 0): void {
    this.#marks++
    const mark: Resync = {
      ...unaligned(this.#epoch, cause),
      ...(taskId === undefined ? {} : { taskId }),
      ...(unconfirmed === 0 ? {} : { unconfirmed })
    }
    out.push(mark)
  }

  #resync(input: number, mark: Resync, now: number, out: Array<MeshEvent>): void {
    this.#ensureOpen(input, now)
    switch (mark.reason._tag) {
      case "Started":
      case "Reconnected":
      case "JoinedLate":
        this.#confirmed(input, mark, now, out)
        break
      case "Subscribed":
        if (mark.taskId === undefined) this.#allSubscribed(input, mark, now, out)
        else this.#subscribed(input, mark.reason.kind, mark.taskId, mark, now, out)
        this.#unconfirmedChanged(input, mark, now)
        break
      case "BadFrame":
        this.#badFrame(input, mark, now, out)
        break
      default:
        this.#hole(input, mark, now, out)
    }
  }

  /** A frame could not be decoded. It is marked at its first delivery. */
  #badFrame(input: number, mark: Resync, now: number, out: Array<MeshEvent>): void {
    const isExpected = this.#inputs.all.some((_, other) => other !== input && this.isAligned(other))
    const isFirst = this.#isFirst(input)
    if (!this.#badFrames.receive(input, now, { isExpected, isFirst })) out.push({ ...mark, epoch: this.#epoch })
  }

  /** The interest of an input is confirmed. */
  #confirmed(input: number, mark: Resync, now: number, out: Array<MeshEvent>): void {
    const state = this.#inputs.get(input)
    state.isConfirmed = true
    state.unconfirmed = mark.unconfirmed ?? 0
    if (!this.#isComplete && !(state.updates.leads && state.output.leads)) this.#takeOver(input, now)
    if (state.unconfirmed === 0) this.#setConfirmedAt(input, now)
    if (this.#isComplete) return
    this.#isComplete = true
    const since = this.#incompleteSince
    out.push({
      ...mark,
      epoch: this.#epoch,
      reason: since === undefined ? { _tag: "Started" } : { _tag: "Reconnected", downMillis: now - since }
    })
  }

  #setConfirmedAt(input: number, now: number): void {
    for (const kind of kinds) {
      const state = this.#inputs.get(input)[kind]
      if (state.confirmedAt === Infinity) state.confirmedAt = now
      for (const { members } of this.#sequences.of(kind)) {
        const member = members[input]
        if (member !== undefined && !member.awaitsKey && member.confirmedAt === Infinity) member.confirmedAt = now
      }
    }
  }

  /** Counts the keys of an input that are not confirmed. */
  #unconfirmedChanged(input: number, mark: Resync, now: number): void {
    const state = this.#inputs.get(input)
    if (mark.unconfirmed !== undefined) {
      state.unconfirmed += mark.unconfirmed
    } else if (state.unconfirmed > 0) {
      state.unconfirmed--
      if (state.unconfirmed === 0 && state.isConfirmed) this.#setConfirmedAt(input, now)
    }
  }

  /** A key of one task is confirmed on an input, or overdue. */
  #subscribed(input: number, kind: Kind, taskId: TaskId, mark: Resync, now: number, out: Array<MeshEvent>): void {
    const sequence = this.#sequences.get(kind, taskId) ?? this.#create(kind, taskId, now, out)
    const isFirst = sequence.members[input]?.mode === "aligned"
    if (mark.unconfirmed !== undefined) {
      if (!isFirst) return
      sequence.isUnconfirmed = true
    } else if (isFirst || sequence.isUnconfirmed) {
      sequence.isUnconfirmed = false
      sequence.grow(input, now, (other) => this.#settings.isConfirmed?.(other, kind, taskId) === true)
    } else {
      sequence.confirm(input, now)
      return
    }
    out.push({ ...mark, epoch: this.#epoch })
  }

  /** All updates are confirmed on an input that did not ask for them at first. */
  #allSubscribed(input: number, mark: Resync, now: number, out: Array<MeshEvent>): void {
    const { updates } = this.#inputs.get(input)
    if (!updates.leads) {
      if (mark.unconfirmed === undefined && updates.confirmedAt === Infinity) {
        updates.confirmedAt = now
        for (const sequence of this.#sequences.of("updates")) sequence.confirm(input, now)
      }
      return
    }
    if (mark.unconfirmed === undefined) {
      for (const sequence of this.#sequences.of("updates")) sequence.lead(input, now)
      this.#inputs.all.forEach((other, i) => {
        if (i !== input && other.state !== "closed") this.#restart(i, "updates", now, Infinity)
      })
    }
    out.push({ ...mark, epoch: this.#epoch })
  }

  /** An input has lost messages of a task, or of all tasks. */
  #hole(input: number, mark: Resync, now: number, out: Array<MeshEvent>): void {
    const { taskId } = mark
    if (taskId !== undefined) {
      const sequences = kinds.flatMap(
        (kind) => this.#sequences.get(kind, taskId) ?? this.#create(kind, taskId, now, out)
      )
      if (sequences.every((sequence) => sequence.hasAligned(input))) {
        for (const sequence of sequences) sequence.restart(input, now)
        return
      }
      for (const sequence of sequences) this.#leadAlone(sequence, input, now)
    } else if (kinds.every((kind) => this.#inputs.hasLead(kind, input))) {
      for (const kind of kinds) {
        this.#inputs.restart(this.#inputs.get(input), kind, now, now)
        for (const sequence of this.#sequences.of(kind)) {
          if (sequence.hasAligned(input)) {
            sequence.restart(input, now)
          } else {
            this.#mark("ambiguous", out, sequence.taskId)
            this.#leadAlone(sequence, input, now)
          }
        }
      }
      return
    } else {
      this.#takeOver(input, now)
    }
    out.push({ ...mark, epoch: this.#epoch })
  }

  #leadAlone(sequence: Sequence, input: number, now: number): void {
    sequence.lead(input, now)
    sequence.members.forEach(({ mode }, i) => {
      if (i !== input && mode !== "absent") sequence.restart(i, now)
    })
  }
}
