/**
 * The frames that an input could not decode, and whose content is unknown.
 *
 * If every input delivers such a frame, every input skips it, and all stay aligned. A
 * frame of one input alone has hidden a message that another input may have decoded,
 * so the places of that input may be wrong.
 *
 * A frame is forgotten when another input delivers its copy, or when it has hidden
 * nothing: after the other inputs had delivered everything from before it, a boundary
 * of its own input has compared the places.
 */
import { copyMillis } from "./same.ts"
import type { Kind } from "./sequence.ts"

interface BadFrame {
  readonly at: number
  /** Whether another input, which was aligned, has to deliver it too. */
  isExpected: boolean
  /** Whether it is kept only to recognise the copy of another input, because no input that was connected at that time is left. */
  isPast: boolean
  /** When the other inputs had delivered everything from before it. */
  passedAt: number | undefined
  /** Whether another input may have decoded it: it was ahead at that time, or has been ahead since. */
  isSuspect: boolean
}

interface Input {
  frames: ReadonlyArray<BadFrame>
  state: "closed" | "opening" | "open"
  /** The input has delivered everything that arrived on other inputs before these times. */
  readonly passed: Record<Kind, number>
}

const passedBy = ({ passed }: Input): number => Math.min(passed.updates, passed.output)

export class BadFrames {
  readonly #inputs: ReadonlyArray<Input>
  /** Whether there is nothing to do: checked for each message. */
  #isEmpty = true

  constructor(inputs: number) {
    this.#inputs = Array.from({ length: inputs }, () => ({
      frames: [],
      state: "closed",
      passed: { updates: -Infinity, output: -Infinity }
    }))
  }

  #input(input: number): Input {
    // The machine passes only numbers of inputs.
    return this.#inputs[input] as Input
  }

  #set(input: Input, frames: ReadonlyArray<BadFrame>): void {
    input.frames = frames
    this.#isEmpty = this.#inputs.every(({ frames }) => frames.length === 0)
  }

  /** Whether boundaries of both kinds would help. */
  isWaiting(): boolean {
    return !this.#isEmpty && this.#inputs.some(({ frames }) => frames.some(({ isPast }) => !isPast))
  }

  /** An input is dialled, or has connected. */
  open(input: number, state: "opening" | "open"): void {
    this.#input(input).state = state
  }

  close(input: number): void {
    const own = this.#input(input)
    own.state = "closed"
    for (const frame of own.frames) {
      frame.isExpected = frame.isSuspect = false
      frame.isPast = true
    }
  }

  /** An input could not decode a frame. Returns whether it is the copy of another input's frame. */
  receive(input: number, now: number, { isExpected, isFirst }: Record<"isExpected" | "isFirst", boolean>): boolean {
    const own = this.#input(input)
    const passed = Math.max(now - copyMillis, passedBy(own))
    for (const other of this.#inputs) {
      const copy = other === own ? undefined : other.frames.find(({ at }) => at > passed)
      if (copy === undefined) continue
      this.#set(
        other,
        other.frames.filter((frame) => frame !== copy)
      )
      return true
    }
    const others = this.#inputs.filter((other) => other !== own && other.state !== "closed")
    if (others.length > 0) {
      // An input that is dialled finds its places later. It may only deliver the copy.
      const isPast = others.every(({ state }) => state === "opening")
      const frame = { at: now, isExpected, isPast, passedAt: undefined, isSuspect: !isFirst && !isPast }
      this.#set(own, [...own.frames, frame])
    }
    return false
  }

  /** An input has delivered a message first, so it has passed the frames of the others. */
  onAhead(input: number): void {
    if (this.#isEmpty) return
    this.#inputs.forEach(({ frames }, i) => {
      if (i !== input) for (const frame of frames) frame.isSuspect ||= !frame.isPast
    })
  }

  /** A boundary of an input at `time` has compared its places. */
  boundary(input: number, kind: Kind, time: number, now: number): void {
    this.#input(input).passed[kind] = time
    if (this.#isEmpty) return
    for (const own of this.#inputs) {
      const passed = Math.min(...this.#inputs.filter((other) => other !== own && other.state === "open").map(passedBy))
      for (const frame of own.frames) if (frame.at < passed) frame.passedAt ??= now
      this.#set(
        own,
        own.frames.filter(({ passedAt }) => passedAt === undefined || passedAt >= passedBy(own))
      )
    }
  }

  /** Whether the places of an input may be wrong. */
  isSuspect(input: number): boolean {
    return !this.#isEmpty && this.#input(input).frames.some((frame) => frame.isSuspect)
  }

  /** Only one input is left. Returns whether its places may be wrong, and forgets its frames. */
  takeAlone(input: number): boolean {
    const isSuspect = this.isSuspect(input)
    this.#set(this.#input(input), [])
    return isSuspect
  }

  /** Returns the inputs with a frame whose copy should have arrived by now. */
  takeMissed(now: number): ReadonlyArray<number> {
    if (this.#isEmpty) return nothing
    const missed: Array<number> = []
    this.#inputs.forEach((own, i) => {
      const isDue = ({ at }: BadFrame): boolean => now - at >= copyMillis
      if (own.frames.some((frame) => frame.isExpected && isDue(frame))) missed.push(i)
      this.#set(
        own,
        own.frames.filter((frame) => !isDue(frame))
      )
    })
    return missed
  }
}

const nothing: ReadonlyArray<never> = []
