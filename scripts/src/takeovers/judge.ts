/**
 * Compares a kept log with the log of the mock server that sent the feed: each message by
 * its identity. An update is identified by its task and version, output by its task and
 * content, so the contents of a run must differ.
 */
import type { MeshEvent } from "@makima-stream/core/MeshEvent"
import type { ServerMessage } from "@makima-stream/core/ServerMessage"
import type { Entry } from "@makima-stream/log/MeshLog"
import type { ServerLog } from "@makima-stream/test-kit/ServerLog"

export interface Verdict {
  /** Messages that the server sent to at least one relay, from the first one of each task that the log has. */
  readonly sent: number
  /** Messages that the log does not have. */
  readonly lost: number
  /** Lost messages without a mark in their place. */
  readonly unmarked: number
  /** Output that the log has twice without a mark in between, and updates that it has twice. */
  readonly doubled: number
  /** Messages after a later one of their task and kind, without a mark in between. */
  readonly disordered: number
  /** Messages that the server did not send. */
  readonly unexpected: number
  /** How many marks the log has, by reason. */
  readonly marks: Readonly<Record<string, number>>
}

/** The sequence of a message and its identity in it; `undefined` for anything else. */
const identify = (message: MeshEvent | ServerMessage): readonly [sequence: string, id: string] | undefined => {
  if (message._tag === "TaskUpdated") return [`updates:${message.taskId}`, `${message.version}`]
  return message._tag === "TaskOutput" ? [`output:${message.taskId}`, message.content] : undefined
}

interface Sequence {
  /** The places of its messages, by identity, in the order of the server. */
  readonly places: Map<string, number>
  /** For each place, the stretch between marks in which the log has it last. */
  readonly seen: Array<number | undefined>
  /** The last place of the current stretch. */
  last: { readonly place: number; readonly stretch: number } | undefined
}

/** The sequences of what the server sent to any connection. */
const sequencesOf = (log: ServerLog): Map<string, Sequence> => {
  const sequences = new Map<string, Sequence>()
  for (const entry of log) {
    const found = entry._tag === "Sent" ? identify(entry.message) : undefined
    if (found === undefined) continue
    const [key, id] = found
    const sequence: Sequence = sequences.get(key) ?? { places: new Map(), seen: [], last: undefined }
    sequences.set(key, sequence)
    if (sequence.places.has(id)) continue
    sequence.places.set(id, sequence.places.size)
    sequence.seen.push(undefined)
  }
  return sequences
}

export const judge = (log: ServerLog, entries: ReadonlyArray<Entry>): Verdict => {
  const sequences = sequencesOf(log)
  const marks: Record<string, number> = {}
  const marksOf = new Map<string | undefined, number>()
  let [sent, lost, unmarked, doubled, disordered, unexpected] = [0, 0, 0, 0, 0, 0]
  for (const { event } of entries) {
    if (event._tag === "Resync") {
      marks[event.reason._tag] = (marks[event.reason._tag] ?? 0) + 1
      marksOf.set(event.taskId, (marksOf.get(event.taskId) ?? 0) + 1)
    }
    const found = identify(event)
    if (found === undefined) continue
    const [key, id] = found
    const sequence = sequences.get(key)
    const place = sequence?.places.get(id)
    if (sequence === undefined || place === undefined) {
      unexpected++
      continue
    }
    const stretch = (marksOf.get(undefined) ?? 0) + (marksOf.get("taskId" in event ? event.taskId : undefined) ?? 0)
    const { last, seen } = sequence
    if (seen[place] !== undefined && (seen[place] === stretch || event._tag === "TaskUpdated")) doubled++
    else if (last?.stretch === stretch && place < last.place) disordered++
    // The messages between two neighbours of one stretch are not marked.
    if (last?.stretch === stretch) {
      for (let n = last.place + 1; n < place; n++) if (seen[n] === undefined) unmarked++
    }
    seen[place] = stretch
    sequence.last = { place, stretch }
  }
  for (const { seen } of sequences.values()) {
    // The log begins with the first relay that subscribed to the task: others may have received more before.
    const first = Math.max(
      0,
      seen.findIndex((stretch) => stretch !== undefined)
    )
    sent += seen.length - first
    lost += seen.slice(first).filter((stretch) => stretch === undefined).length
  }
  return { sent, lost, unmarked, doubled, disordered, unexpected, marks }
}

/** Whether every promise of a log without a gap is kept. */
export const isClean = ({ disordered, doubled, lost, unexpected, unmarked }: Verdict): boolean =>
  lost + unmarked + doubled + disordered + unexpected === 0
