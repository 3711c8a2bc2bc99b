/**
 * Compares a server's log with the events of a consumer of several connections.
 *
 * `Audit` checks a consumer connection by connection. In a merged feed, each message
 * may come from any connection. Its promise is simpler: inside a complete stretch,
 * for each task and kind, the consumer sees everything that the server emitted, in
 * order, once. A `Resync` that names a task ends its stretch and opens the next one;
 * a `Disconnected` ends all stretches. Where the connections could not be aligned, the
 * stream continues from one of them, so what was seen before an `Unaligned` may come again.
 *
 * @since 0.2.0
 */
import type { Data, MeshEvent, Resync } from "@makima-stream/core/MeshEvent"
import { fingerprint } from "./internal/fingerprint.ts"
import * as Transcript from "./internal/audit/transcript.ts"
import type { ServerLog } from "./ServerLog.ts"

/**
 * The result of a comparison. `duplicates`, `outOfOrder`, `unexpected` and `unmarkedGaps` count faults.
 *
 * @category models
 * @since 0.2.0
 */
export interface Report {
  /** Events that the consumer saw again after it had seen them, or a later one. */
  readonly duplicates: number
  /** Events that came for the first time after an event that the server had emitted later. */
  readonly outOfOrder: number
  /** Events that the server never emitted. */
  readonly unexpected: number
  /** Events that the consumer saw again behind an `Unaligned` that names them, in order. */
  readonly repeated: number
  /** Messages that are missing inside a complete stretch. */
  readonly unmarkedGaps: number
  /** Missing messages at whose place there is a mark. */
  readonly missedWhileAway: number
  /** Messages that were emitted after the last one that the consumer saw of their task and kind. */
  readonly inFlight: number
  /** Messages that the consumer saw. */
  readonly received: number
  /** Marks of a gap: every `Resync` except `Started` and `Subscribed`. */
  readonly marks: number
}

/**
 * Options of a comparison.
 *
 * @category options
 * @since 0.2.0
 */
export interface Options {
  /** Which messages the consumer wants. Called in the order of the log. Defaults to every update and output. */
  readonly wants?: ((message: Data) => boolean) | undefined
}

/** The messages of one task and kind, and how far the consumer has seen them. */
interface Sequence {
  readonly kind: Transcript.Sequence["kind"]
  readonly taskId: string | undefined
  readonly places: Array<number>
  /** The indices at which a message was emitted. */
  readonly indices: Map<string, Array<number>>
  readonly seen: Set<number>
  /** The index of the last message that was seen. */
  last: number
  /** Whether the last message and the next one are in the same complete stretch. */
  isComplete: boolean
  /** Whether there was a mark since the last message, and whether it names the task. */
  isMarked: boolean
  isMarkedAlone: boolean
  /** From which index on messages may come again; `undefined` if none may. */
  repeatsFrom: number | undefined
}

/**
 * Compares what a server emitted with what a consumer of several connections saw.
 *
 * **Details**
 *
 * A stretch is checked from the first message of any task that the consumer saw after
 * the mark. All messages must be different, as those of `Workload` are.
 *
 * **Example** (A message that came twice)
 *
 * ```ts
 * import * as TaskId from "@makima-stream/core/TaskId"
 * import * as MergeAudit from "@makima-stream/test-kit/MergeAudit"
 *
 * const update = { _tag: "TaskUpdated", taskId: TaskId.make("a"), version: 1 } as const
 * const report = MergeAudit.compare(
 *   [{ _tag: "Sent", seq: 1, at: 0, connection: 1, emission: 1, message: update, as: "text", delivered: true }],
 *   [{ _tag: "Connected", epoch: 1, at: 0 }, update, update]
 * )
 * console.log(report.received, report.duplicates) // 2 1
 * ```
 *
 * @category auditing
 * @since 0.2.0
 */
export const compare = (log: ServerLog, events: Iterable<MeshEvent>, options?: Options): Report => {
  const wants = options?.wants ?? (() => true)
  const sequences = read(log, wants)
  const counts = {
    duplicates: 0,
    outOfOrder: 0,
    unexpected: 0,
    repeated: 0,
    unmarkedGaps: 0,
    missedWhileAway: 0,
    inFlight: 0,
    received: 0,
    marks: 0
  }
  /** The place from which the stretch after a mark for all tasks is checked. */
  let stretchFrom: number | undefined

  const see = (message: Data): void => {
    const sequence = sequences.get(nameOf(message))
    if (sequence === undefined || sequence.kind === "other") return
    counts.received++
    const indices = sequence.indices.get(fingerprint(message)) ?? []
    const index = indices.find((each) => each > sequence.last)
    if (index === undefined) {
      const again = indices.find((each) => sequence.repeatsFrom !== undefined && each >= sequence.repeatsFrom)
      if (again !== undefined) {
        counts.repeated++
        sequence.repeatsFrom = again + 1
        return
      }
      if (indices.length === 0) counts.unexpected++
      else if (indices.some((each) => !sequence.seen.has(each))) counts.outOfOrder++
      else counts.duplicates++
      for (const each of indices) sequence.seen.add(each)
      return
    }
    const place = sequence.places[index] ?? 0
    stretchFrom ??= place
    for (let missing = sequence.last + 1; missing < index; missing++) {
      if (sequence.seen.has(missing)) continue
      const isLate = !sequence.isMarkedAlone && (sequence.places[missing] ?? 0) > stretchFrom
      if (sequence.isComplete && (!sequence.isMarked || isLate)) counts.unmarkedGaps++
      else if (sequence.last >= 0) counts.missedWhileAway++
    }
    sequence.seen.add(index)
    sequence.last = index
    sequence.isMarked = false
    sequence.isMarkedAlone = false
    sequence.repeatsFrom = undefined
  }

  const mark = (resync: Resync): void => {
    const { _tag } = resync.reason
    if (_tag !== "Started" && _tag !== "Subscribed") counts.marks++
    if (resync.taskId === undefined) stretchFrom = undefined
    for (const sequence of sequences.values()) {
      if (!names(resync, sequence)) continue
      sequence.isMarked = true
      if (_tag === "Unaligned") sequence.repeatsFrom = 0
      sequence.isMarkedAlone ||= resync.taskId !== undefined
      sequence.isComplete = resync.unconfirmed === undefined
    }
  }

  for (const event of events) {
    switch (event._tag) {
      case "Resync":
        mark(event)
        break
      case "Disconnected":
        for (const sequence of sequences.values()) sequence.isComplete = false
        break
      case "TaskUpdated":
      case "TaskOutput":
        see(event)
    }
  }
  for (const { last, places } of sequences.values()) if (last >= 0) counts.inFlight += places.length - 1 - last
  return counts
}

/**
 * Returns whether a report counts no fault.
 *
 * **Example** (A gap that is marked is no fault)
 *
 * ```ts
 * import * as MergeAudit from "@makima-stream/test-kit/MergeAudit"
 *
 * const report: MergeAudit.Report = {
 *   duplicates: 0,
 *   outOfOrder: 0,
 *   unexpected: 0,
 *   repeated: 0,
 *   unmarkedGaps: 0,
 *   missedWhileAway: 3,
 *   inFlight: 0,
 *   received: 97,
 *   marks: 1
 * }
 * console.log(MergeAudit.isClean(report)) // true
 * ```
 *
 * @category auditing
 * @since 0.2.0
 */
export const isClean = ({ duplicates, outOfOrder, unexpected, unmarkedGaps }: Report): boolean =>
  duplicates + outOfOrder + unexpected + unmarkedGaps === 0

/**
 * Returns a report as one line of text.
 *
 * **Example** (The line to print)
 *
 * ```ts
 * import * as MergeAudit from "@makima-stream/test-kit/MergeAudit"
 *
 * const report: MergeAudit.Report = {
 *   duplicates: 0,
 *   outOfOrder: 0,
 *   unexpected: 0,
 *   repeated: 0,
 *   unmarkedGaps: 0,
 *   missedWhileAway: 3,
 *   inFlight: 0,
 *   received: 97,
 *   marks: 1
 * }
 * console.log(MergeAudit.format(report).slice(0, 49)) // 97 messages arrived, 3 were missed at 1 marks, 0
 * ```
 *
 * @category auditing
 * @since 0.2.0
 */
export const format = (report: Report): string =>
  `${report.received} messages arrived, ${report.missedWhileAway} were missed at ${report.marks} marks, ` +
  `${report.inFlight} were in flight at the end; ${report.duplicates} came twice, ${report.outOfOrder} out of order, ` +
  `${report.unexpected} unexpected, ${report.repeated} repeated behind a mark; ${report.unmarkedGaps} missing messages were not marked.`

const nameOf = (message: Data): string => {
  const { kind, taskId } = Transcript.sequenceOf(message)
  return `${kind} ${taskId ?? ""}`
}

/** Whether a mark names a sequence. The mark of a bad frame names all, because its content is unknown. */
const names = ({ reason, taskId }: Resync, sequence: Sequence): boolean => {
  if (reason._tag === "Subscribed" && reason.kind !== sequence.kind) return false
  if (reason._tag === "VersionGap" && sequence.kind !== "updates") return false
  return taskId === undefined || taskId === sequence.taskId
}

const read = (log: ServerLog, wants: (message: Data) => boolean): ReadonlyMap<string, Sequence> => {
  const sequences = new Map<string, Sequence>()
  for (const { message, place } of Transcript.read(log, () => true).emissions) {
    if (!wants(message)) continue
    const name = nameOf(message)
    let sequence = sequences.get(name)
    if (sequence === undefined) {
      sequence = {
        ...Transcript.sequenceOf(message),
        places: [],
        indices: new Map(),
        seen: new Set(),
        last: -1,
        isComplete: false,
        isMarked: false,
        isMarkedAlone: false,
        repeatsFrom: undefined
      }
      sequences.set(name, sequence)
    }
    const key = fingerprint(message)
    const indices = sequence.indices.get(key)
    if (indices === undefined) sequence.indices.set(key, [sequence.places.length])
    else indices.push(sequence.places.length)
    sequence.places.push(place)
  }
  return sequences
}
