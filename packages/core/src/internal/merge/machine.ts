/**
 * The merge of several inputs into one feed: which inputs are connected and
 * confirmed, which sequences there are, and the lifecycle elements and marks of
 * the merged feed. `sequence.ts` aligns the messages of one task and kind.
 *
 * Most sequences are *implicit*: every input has delivered everything that was
 * emitted, so there is nothing to remember, and they have no object. A kind of an
 * input either `leads`, which means that it is aligned in every implicit
 * sequence, or joins. It leads once both bounds of the implicit sequences are
 * known: a boundary of its own after it began to join (`lo`), and a boundary of
 * an input that leads after the server had confirmed its request (`hi`).
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
import { BadFrames, copyMillis } from "./badFrames.ts"
import { isEqual, type Message } from "./same.ts"
import { Sequence, type Cause, type Kind, type Shared, type Start } from "./sequence.ts"

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

/** The state of an input in all sequences of a kind that have no object. */
interface KindState {
  leads: boolean
  /** When it began to join. Its `lo` is known after a boundary at this time or later. */
  since: number
  confirmedAt: number
  isLoKnown: boolean
  isHiKnown: boolean
}

interface Input {
  state: "closed" | "opening" | "open"
  /** Whether the server has confirmed its interest. */
  isConfirmed: boolean
  /** How many of its keys the server has not confirmed. */
  unconfirmed: number
  /** When a frame last counted as a boundary. */
  boundaryAt: number
  readonly updates: KindState
  readonly output: KindState
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

const kinds: ReadonlyArray<Kind> = ["updates", "output"]

/** More tasks than this get one mark without a task. */
const maxMarks = 32

/**
 * How many errors and unknown messages are kept to recognise the copy that another input
 * delivers, for `copyMillis`.
 */
const maxCopies = 64

const unaligned = (epoch: number, cause: Cause): Resync => ({
  _tag: "Resync",
  epoch,
  reason: { _tag: "Unaligned", cause }
})

const makeKindState = (): KindState => ({
  leads: false,
  since: -Infinity,
  confirmedAt: Infinity,
  isLoKnown: false,
  isHiKnown: false
})

export class Machine {
  readonly #settings: Settings
  readonly #inputs: ReadonlyArray<Input>
  readonly #sequences: Readonly<Record<Kind, Map<TaskId, Sequence>>> = { updates: new Map(), output: new Map() }
  readonly #shared: Shared
  readonly #badFrames: BadFrames
  #epoch: number
  /** Whether the feed is in a complete stretch. */
  #isComplete = false
  /** When the last complete stretch ended; `undefined` before the first one. */
  #incompleteSince: number | undefined
  /** When sequences were last forgotten. */
  #forgottenAt = -Infinity
  #marks = 0
  /** Errors and unknown messages of one input that another one may repeat. */
  #copies: Array<{ readonly input: number; readonly message: ServerError | UnknownMessage; readonly at: number }> = []

  constructor(settings: Settings) {
    this.#settings = settings
    this.#epoch = settings.epoch
    this.#inputs = Array.from({ length: settings.inputs }, () => ({
      state: "closed",
      isConfirmed: false,
      unconfirmed: 0,
      boundaryAt: -Infinity,
      updates: makeKindState(),
      output: makeKindState()
    }))
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
  }

  // ---------------------------------------------------------------------------
  // questions
  // ---------------------------------------------------------------------------

  stats(): Stats {
    const { disagreements, held, heldBytes, overruns } = this.#shared
    const sequences = this.#sequences.updates.size + this.#sequences.output.size
    return { sequences, held, heldBytes, disagreements, overruns, marks: this.#marks }
  }

  /** Whether an input can stand in for the others: it leads in both kinds, no sequence of it joins, and its places are right. */
  isAligned(input: number): boolean {
    const { output, state, updates } = this.#input(input)
    if (state !== "open" || !updates.leads || !output.leads || this.#badFrames.isSuspect(input)) return false
    for (const kind of kinds) {
      for (const { members } of this.#sequences[kind].values()) if (members[input]?.mode !== "aligned") return false
    }
    return true
  }

  /** Whether an aligned input has delivered everything that any input has delivered. */
  #isFirst(input: number): boolean {
    const { output, updates } = this.#input(input)
    if (!updates.leads || !output.leads) return false
    for (const kind of kinds) {
      for (const { members, position } of this.#sequences[kind].values()) {
        const member = members[input]
        if (member?.mode !== "aligned" || member.at !== position) return false
      }
    }
    return true
  }

  /** The input that leads in both kinds; -1 if there is none. */
  lead(): number {
    return this.#inputs.findIndex(({ output, state, updates }) => state === "open" && updates.leads && output.leads)
  }

  /** Whether boundaries of a kind would align an input. */
  isJoining(kind: Kind): boolean {
    if (this.#inputs.some((input) => input.state === "open" && input.isConfirmed && !input[kind].leads)) return true
    for (const sequence of this.#sequences[kind].values()) if (sequence.isJoining()) return true
    return false
  }

  /** Whether a kind has emitted messages that an input has not delivered, or an input may have hidden one. */
  isLagging(kind: Kind): boolean {
    if (this.#badFrames.isWaiting()) return true
    for (const sequence of this.#sequences[kind].values()) if (!sequence.isTrivial()) return true
    return false
  }

  /** The emitted messages that an input has not delivered, by task; `undefined` for the tasks where it is not aligned. */
  missing(input: number): ReadonlyArray<{
    readonly taskId: TaskId
    readonly kind: Kind
    readonly messages: ReadonlyArray<Message> | undefined
  }> {
    return kinds.flatMap((kind) =>
      Array.from(this.#sequences[kind].values(), (sequence) => ({
        taskId: sequence.taskId,
        kind,
        messages: sequence.missing(input)
      })).filter(({ messages }) => messages === undefined || messages.length > 0)
    )
  }

  #input(input: number): Input {
    const found = this.#inputs[input]
    if (found === undefined) throw new RangeError(`There is no input ${input}`)
    return found
  }

  /** Whether an input other than `except` leads in a kind. */
  #hasLead(kind: Kind, except?: number): boolean {
    return this.#inputs.some((input, i) => i !== except && input.state !== "closed" && input[kind].leads)
  }

  // ---------------------------------------------------------------------------
  // elements
  // ---------------------------------------------------------------------------

  /** An input has ended for good, without an element. */
  end(input: number, now: number): Array<MeshEvent> {
    const out: Array<MeshEvent> = []
    const { isConfirmed, state } = this.#input(input)
    if (state !== "closed") this.#close(input, isConfirmed, undefined, now, out)
    return out
  }

  /** An input is about to send its interest. */
  open(input: number, now: number): void {
    const { state } = this.#input(input)
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
    const sequences = this.#sequences[kind]
    let sequence = sequences.get(taskId)
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
    this.#copies = this.#copies.filter(({ at }) => now - at < copyMillis)
    const copy = this.#copies.findIndex((each) => each.input !== input && isEqual(each.message, message))
    if (copy >= 0) {
      this.#copies.splice(copy, 1)
      return
    }
    out.push(message)
    if (this.#inputs.length === 1) return
    this.#copies.push({ input, message, at: now })
    if (this.#copies.length > maxCopies) this.#copies.shift()
  }

  // ---------------------------------------------------------------------------
  // sequences
  // ---------------------------------------------------------------------------

  #create(kind: Kind, taskId: TaskId, now: number, out: Array<MeshEvent>): Sequence {
    const sequences = this.#sequences[kind]
    if (sequences.size >= this.#settings.maxTasks) this.#evict(kind, now, out)
    const starts = this.#inputs.map((input): Start => {
      const { confirmedAt, isHiKnown, isLoKnown, leads } = input[kind]
      return {
        mode: input.state === "closed" ? "absent" : leads ? "aligned" : "joining",
        lo: isLoKnown ? 0 : -Infinity,
        hi: isHiKnown ? 0 : Infinity,
        confirmedAt
      }
    })
    const sequence = new Sequence(kind, taskId, this.#shared, this.#forgottenAt, starts)
    sequences.set(taskId, sequence)
    return sequence
  }

  /** Forgets sequences: those without anything to remember, or the oldest one. */
  #evict(kind: Kind, now: number, out: Array<MeshEvent>): void {
    const sequences = this.#sequences[kind]
    this.#forgottenAt = now
    for (const [taskId, sequence] of sequences) if (sequence.isTrivial()) sequences.delete(taskId)
    if (sequences.size < this.#settings.maxTasks) return
    const [oldest] = sequences.values()
    if (oldest === undefined) return
    // The forgotten messages may still arrive on the inputs that have not delivered them.
    this.#inputs.forEach((input, i) => {
      const member = oldest.members[i]
      const isBehind = member?.mode === "joining" || (member?.mode === "aligned" && member.at !== oldest.position)
      if (!isBehind) return
      if (this.#hasLead(kind, i)) this.#restartKind(input, kind, now, input[kind].confirmedAt)
      // From here on it counts as an input that has delivered everything, so it may repeat messages.
      else this.#mark("window", out, oldest.taskId)
    })
    this.#shared.overruns++
    oldest.dispose(now)
    sequences.delete(oldest.taskId)
  }

  #clear(now: number): void {
    this.#forgottenAt = now
    for (const kind of kinds) {
      for (const sequence of this.#sequences[kind].values()) sequence.dispose(now)
      this.#sequences[kind].clear()
    }
  }

  /** A task that is not wanted any more is forgotten. */
  forget(kind: Kind, taskId: TaskId, now: number): void {
    const sequence = this.#sequences[kind].get(taskId)
    if (sequence === undefined) return
    sequence.dispose(now)
    this.#sequences[kind].delete(taskId)
    this.#forgottenAt = now
  }

  // ---------------------------------------------------------------------------
  // joining
  // ---------------------------------------------------------------------------

  /** An input begins. It leads if no other one does. */
  #begin(input: number, now: number, isLoKnown: boolean): void {
    const state = this.#input(input)
    state.state = "opening"
    this.#badFrames.open(input, "opening")
    state.isConfirmed = false
    state.unconfirmed = 0
    for (const kind of kinds) {
      const lead = !this.#hasLead(kind)
      this.#restartKind(state, kind, now, Infinity)
      state[kind].leads = lead
      state[kind].isLoKnown = isLoKnown
      // An input that leads from here on leads in sequences without a past.
      for (const [taskId, sequence] of this.#sequences[kind]) {
        if (sequence.isTrivial()) {
          this.#sequences[kind].delete(taskId)
          this.#forgottenAt = now
        } else if (lead) {
          sequence.lead(input, now)
        } else {
          sequence.restart(input, now, Infinity)
          const member = sequence.members[input]
          if (isLoKnown && member !== undefined) member.lo = sequence.position
        }
      }
    }
  }

  #ensureOpen(input: number, now: number): void {
    const state = this.#input(input)
    if (state.state === "closed") this.#begin(input, now, false)
    if (state.state === "open") return
    state.state = "open"
    this.#badFrames.open(input, "open")
    if (!kinds.every((kind) => this.#hasLead(kind))) this.#takeOver(input, now)
  }

  /** The server has confirmed the request of one task on an input, as a part of its interest. */
  confirmKey(input: number, kind: Kind, taskId: TaskId, now: number): void {
    const sequence = this.#sequences[kind].get(taskId)
    if (sequence?.members[input]?.awaitsKey === true) sequence.confirm(input, now)
  }

  #restartKind(input: Input, kind: Kind, now: number, confirmedAt: number): void {
    Object.assign(input[kind], {
      leads: false,
      since: now,
      confirmedAt: Math.max(now, confirmedAt),
      isLoKnown: false,
      isHiKnown: false
    })
  }

  /** An input joins again in all sequences of a kind, from its next message on. */
  #restart(input: number, kind: Kind, now: number, confirmedAt: number): void {
    this.#restartKind(this.#input(input), kind, now, confirmedAt)
    for (const sequence of this.#sequences[kind].values()) sequence.restart(input, now, confirmedAt)
  }

  /** An input becomes the only one that leads: the others join again, in sequences without a past. */
  #takeOver(input: number, now: number): void {
    this.#clear(now)
    this.#inputs.forEach((other, i) => {
      if (other.state === "closed") return
      for (const kind of kinds) {
        this.#restartKind(other, kind, now, other.isConfirmed ? now : Infinity)
        other[kind].leads = i === input
      }
    })
  }

  #settle(kind: Kind): void {
    for (const input of this.#inputs) {
      const state = input[kind]
      if (input.state === "open" && !state.leads && state.isLoKnown && state.isHiKnown) state.leads = true
    }
  }

  // ---------------------------------------------------------------------------
  // boundaries
  // ---------------------------------------------------------------------------

  /** An input has delivered everything of a kind that the server sent before `time`. */
  boundary(input: number, kind: Kind, time: number, now: number, out: Array<MeshEvent> = []): Array<MeshEvent> {
    const state = this.#input(input)
    if (state.state !== "open") return out
    for (const sequence of this.#sequences[kind].values()) sequence.boundary(input, time, now, out)
    if (state[kind].leads) {
      for (const other of this.#inputs) {
        if (other !== state && other.state === "open" && !other[kind].leads && other[kind].confirmedAt <= time) {
          other[kind].isHiKnown = true
        }
      }
    } else if (time >= state[kind].since) {
      state[kind].isLoKnown = true
    }
    this.#settle(kind)
    this.#badFrames.boundary(input, kind, time, now)
    return out
  }

  /** An input has delivered a frame: it has delivered everything that the server sent longer than `skew` ago. */
  alive(input: number, now: number, out: Array<MeshEvent> = []): Array<MeshEvent> {
    const { skew } = this.#settings
    const state = this.#input(input)
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
    if (this.#inputs.some((other, i) => i !== input && other.state === "open")) return
    this.#start(input, at, now, out)
  }

  /** The merged feed continues with an input that is not confirmed yet. */
  #start(input: number, at: number, now: number, out: Array<MeshEvent>): void {
    this.#takeOver(input, now)
    this.#epoch++
    out.push({ _tag: "Connected", epoch: this.#epoch, at })
  }

  #disconnected(input: number, element: Disconnected, now: number, out: Array<MeshEvent>): void {
    this.#close(input, this.#input(input).isConfirmed, element, now, out)
  }

  /** An input ends, with its `Disconnected` if it has one. */
  #close(
    input: number,
    wasConfirmed: boolean,
    element: Disconnected | undefined,
    now: number,
    out: Array<MeshEvent>
  ): void {
    const state = this.#input(input)
    const wasOpen = state.state === "open"
    state.state = "closed"
    state.isConfirmed = false
    this.#badFrames.close(input)
    for (const kind of kinds) {
      state[kind].leads = false
      for (const sequence of this.#sequences[kind].values()) sequence.close(input, now)
    }
    if (!this.#inputs.some(({ state }) => state === "open")) {
      this.#stop(now)
      if (element !== undefined) out.push({ ...element, epoch: this.#epoch })
    } else if (wasOpen) {
      this.#handOver(wasConfirmed, element, now, out)
    }
  }

  #stop(now: number): void {
    if (this.#isComplete) this.#incompleteSince = now
    this.#isComplete = false
    this.#clear(now)
    for (const input of this.#inputs) for (const kind of kinds) input[kind].leads = false
  }

  /** An input was lost, and others are left. */
  #handOver(wasConfirmed: boolean, element: Disconnected | undefined, now: number, out: Array<MeshEvent>): void {
    const lead = this.lead()
    const isConfirmed = this.#inputs.some((input) => input.state === "open" && input.isConfirmed)
    if (!isConfirmed && (wasConfirmed || lead < 0)) {
      // No other input is confirmed: a gap, as with one connection.
      this.#stop(now)
      const next = this.#inputs.findIndex(({ state }) => state === "open")
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
      const isAlone = this.#inputs.filter(({ state }) => state === "open").length === 1
      if (isAlone && this.#badFrames.takeAlone(lead)) {
        this.#mark("disagreement", out)
        this.#takeOver(lead, now)
      }
      return
    }
    const next = this.#inputs.findIndex((input) => input.state === "open" && input.isConfirmed)
    const { unconfirmed } = this.#input(next)
    this.#mark("ambiguous", out, undefined, unconfirmed)
    for (const kind of kinds) {
      this.#input(next)[kind].leads = true
      for (const sequence of this.#sequences[kind].values()) sequence.promote(next, now, out)
    }
    this.#rejoin(next, now)
  }

  /** Marks the tasks in which no remaining input is aligned, and continues with the best one. */
  #markJoining(now: number, out: Array<MeshEvent>): void {
    const joining = kinds.flatMap((kind) =>
      Array.from(this.#sequences[kind].values()).filter((sequence) => !sequence.hasAligned())
    )
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

  /** The inputs other than the one that leads now join again. */
  #rejoin(lead: number, now: number): void {
    this.#inputs.forEach((input, i) => {
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
    const isExpected = this.#inputs.some((_, other) => other !== input && this.isAligned(other))
    const isFirst = this.#isFirst(input)
    if (!this.#badFrames.receive(input, now, { isExpected, isFirst })) out.push({ ...mark, epoch: this.#epoch })
  }

  /** The interest of an input is confirmed. */
  #confirmed(input: number, mark: Resync, now: number, out: Array<MeshEvent>): void {
    const state = this.#input(input)
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
      const state = this.#input(input)[kind]
      if (state.confirmedAt === Infinity) state.confirmedAt = now
      for (const { members } of this.#sequences[kind].values()) {
        const member = members[input]
        if (member !== undefined && !member.awaitsKey && member.confirmedAt === Infinity) member.confirmedAt = now
      }
    }
  }

  /** Counts the keys of an input that are not confirmed. */
  #unconfirmedChanged(input: number, mark: Resync, now: number): void {
    const state = this.#input(input)
    if (mark.unconfirmed !== undefined) {
      state.unconfirmed += mark.unconfirmed
    } else if (state.unconfirmed > 0) {
      state.unconfirmed--
      if (state.unconfirmed === 0 && state.isConfirmed) this.#setConfirmedAt(input, now)
    }
  }

  /** A key of one task is confirmed on an input, or overdue. */
  #subscribed(input: number, kind: Kind, taskId: TaskId, mark: Resync, now: number, out: Array<MeshEvent>): void {
    const sequence = this.#sequences[kind].get(taskId) ?? this.#create(kind, taskId, now, out)
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
    const { updates } = this.#input(input)
    if (!updates.leads) {
      if (mark.unconfirmed === undefined && updates.confirmedAt === Infinity) {
        updates.confirmedAt = now
        for (const sequence of this.#sequences.updates.values()) sequence.confirm(input, now)
      }
      return
    }
    if (mark.unconfirmed === undefined) {
      for (const sequence of this.#sequences.updates.values()) sequence.lead(input, now)
      this.#inputs.forEach((other, i) => {
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
        (kind) => this.#sequences[kind].get(taskId) ?? this.#create(kind, taskId, now, out)
      )
      if (sequences.every((sequence) => sequence.hasAligned(input))) {
        for (const sequence of sequences) sequence.restart(input, now)
        return
      }
      for (const sequence of sequences) this.#leadAlone(sequence, input, now)
    } else if (kinds.every((kind) => this.#hasLead(kind, input))) {
      for (const kind of kinds) {
        this.#restartKind(this.#input(input), kind, now, now)
        for (const sequence of this.#sequences[kind].values()) {
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
