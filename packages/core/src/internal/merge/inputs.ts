/**
 * The inputs of a merge, and which of them *lead* in a kind.
 *
 * Most sequences have no object, because every input has delivered everything that
 * was emitted. An input that leads in a kind is aligned in all of these sequences.
 * Any other input joins, and leads once both bounds of its place are known: a boundary
 * of its own after it began to join (`isLoKnown`), and a boundary of an input that
 * leads after the server had confirmed its request (`isHiKnown`).
 *
 * `machine.ts` decides when an input begins, joins again and ends.
 */
import type { Kind, Start } from "./sequence.ts"

export const kinds: ReadonlyArray<Kind> = ["updates", "output"]

/** The state of an input in the sequences of a kind that have no object. */
export interface KindState {
  leads: boolean
  /** When it began to join. Only a boundary at this time or later makes `lo` known. */
  since: number
  /** When the server had confirmed its request; `Infinity` if it has not. */
  confirmedAt: number
  isLoKnown: boolean
  isHiKnown: boolean
}

export interface Input extends Readonly<Record<Kind, KindState>> {
  state: "closed" | "opening" | "open"
  /** Whether the server has confirmed its interest. */
  isConfirmed: boolean
  /** How many of its keys the server has not confirmed. */
  unconfirmed: number
  /** When a frame last counted as a boundary. */
  boundaryAt: number
}

const makeKindState = (): KindState => ({
  leads: false,
  since: -Infinity,
  confirmedAt: Infinity,
  isLoKnown: false,
  isHiKnown: false
})

export class Inputs {
  readonly all: ReadonlyArray<Input>

  constructor(count: number) {
    this.all = Array.from({ length: count }, () => ({
      state: "closed",
      isConfirmed: false,
      unconfirmed: 0,
      boundaryAt: -Infinity,
      updates: makeKindState(),
      output: makeKindState()
    }))
  }

  get(input: number): Input {
    const found = this.all[input]
    if (found === undefined) throw new RangeError(`There is no input ${input}`)
    return found
  }

  /** The number of the input that leads in both kinds; -1 if there is none. */
  lead(): number {
    return this.all.findIndex(({ output, state, updates }) => state === "open" && updates.leads && output.leads)
  }

  /** Whether an input other than `except` leads in a kind. */
  hasLead(kind: Kind, except?: number): boolean {
    return this.all.some((input, i) => i !== except && input.state !== "closed" && input[kind].leads)
  }

  /** Whether a confirmed input does not lead in a kind yet. */
  isJoining(kind: Kind): boolean {
    return this.all.some((input) => input.state === "open" && input.isConfirmed && !input[kind].leads)
  }

  /** How many inputs are open. */
  openCount(): number {
    return this.all.filter(({ state }) => state === "open").length
  }

  /** The state of each input in a sequence that begins. */
  starts(kind: Kind): ReadonlyArray<Start> {
    return this.all.map((input) => {
      const { confirmedAt, isHiKnown, isLoKnown, leads } = input[kind]
      return {
        mode: input.state === "closed" ? "absent" : leads ? "aligned" : "joining",
        lo: isLoKnown ? 0 : -Infinity,
        hi: isHiKnown ? 0 : Infinity,
        confirmedAt
      }
    })
  }

  /** An input joins again in a kind. */
  restart(input: Input, kind: Kind, now: number, confirmedAt: number): void {
    Object.assign(input[kind], {
      leads: false,
      since: now,
      confirmedAt: Math.max(now, confirmedAt),
      isLoKnown: false,
      isHiKnown: false
    })
  }

  /** An input becomes the only one that leads, in both kinds. The others join again. */
  leadAlone(lead: number, now: number): void {
    this.all.forEach((input, i) => {
      if (input.state === "closed") return
      for (const kind of kinds) {
        this.restart(input, kind, now, input.isConfirmed ? now : Infinity)
        input[kind].leads = i === lead
      }
    })
  }

  /** An input has delivered everything of a kind that the server sent before `time`. Some inputs may lead after it. */
  boundary(input: Input, kind: Kind, time: number): void {
    if (input[kind].leads) {
      for (const other of this.all) {
        if (other !== input && other.state === "open" && !other[kind].leads && other[kind].confirmedAt <= time) {
          other[kind].isHiKnown = true
        }
      }
    } else if (time >= input[kind].since) {
      input[kind].isLoKnown = true
    }
    for (const { [kind]: own, state } of this.all) {
      if (state === "open" && !own.leads && own.isLoKnown && own.isHiKnown) own.leads = true
    }
  }
}
