/**
 * Judges what a client has received, by the numbers of what the server has sent: for each sequence (the updates or the
 * output of a task) everything arrives once, in order, and what is missing has a mark.
 */
import type { MeshEvent } from "@makima-stream/core/MeshEvent"

/** An event, and how many messages the server had sent when the client received it. */
export interface Seen {
  readonly event: MeshEvent
  readonly sent: number
}

type Kind = "updates" | "output"

export interface Sequence {
  readonly kind: Kind
  readonly task: string
  /** The numbers of the messages, in order. */
  readonly numbers: ReadonlyArray<number>
}

/** The number of a message, which is its version or its content. */
const numberIn = (event: MeshEvent, { kind, task }: Sequence): number | undefined => {
  if (event._tag === "TaskUpdated" && kind === "updates" && event.taskId === task) return event.version
  if (event._tag === "TaskOutput" && kind === "output" && event.taskId === task) return Number(event.content)
  return undefined
}

const names = (event: MeshEvent, { kind, task }: Sequence): boolean =>
  event._tag === "Resync" &&
  (event.taskId === undefined || event.taskId === task) &&
  (event.reason._tag !== "Subscribed" || event.reason.kind === kind) &&
  event.unconfirmed === undefined

/** Returns what is wrong, in words. */
export const judge = (seen: ReadonlyArray<Seen>, sequences: ReadonlyArray<Sequence>): ReadonlyArray<string> => {
  const wrong: Array<string> = []
  for (const sequence of sequences) {
    const name = `${sequence.kind} of ${sequence.task}`
    let last = -1
    // The number after which nothing may be missing; `undefined` outside of a complete stretch.
    let complete: number | undefined
    for (const { event, sent } of seen) {
      const number = numberIn(event, sequence)
      if (number !== undefined) {
        if (number <= last) wrong.push(`${name}: ${number} came after ${last}`)
        const from = complete
        const missing = from === undefined ? [] : sequence.numbers.filter((each) => each > from && each < number)
        if (missing.length > 0) wrong.push(`${name}: ${missing.join(", ")} missing before ${number}`)
        last = number
        if (complete !== undefined) complete = number
      } else if (event._tag === "Disconnected") complete = undefined
      else if (names(event, sequence)) complete = Math.max(sent, last)
    }
    const end = complete
    if (end === undefined) wrong.push(`${name}: not complete at the end`)
    else {
      const missing = sequence.numbers.filter((each) => each > end)
      if (missing.length > 0) wrong.push(`${name}: ${missing.join(", ")} missing at the end`)
    }
  }
  return wrong
}
