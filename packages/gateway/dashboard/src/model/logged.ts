/**
 * The transcript of the open task from the log of the gateway. It is folded from one stream, which has the history and the
 * new entries, so nothing is in it twice. The marks of the log are gaps at their places.
 */
import type { MeshEvent } from "@makima-stream/core/MeshEvent"
import * as Gaps from "./gaps.ts"
import * as Transcripts from "./transcript.ts"

/** An event of the log, and when the log stored it, in milliseconds since 1970. */
export type Stored<E> = E & { readonly storedAt: number }

/** The transcript and its gaps, as the page shows them. */
export interface Shown {
  readonly transcript: Transcripts.Transcript
  /** A gap of the transcript. */
  readonly gap: (id: number) => Gaps.Gap | undefined
}

export interface Logged {
  /** Folds a batch of the log itself: the pieces of messages. */
  readonly stored: (batch: ReadonlyArray<Stored<MeshEvent>>) => void
  /** Folds a batch of the joined log. */
  readonly joined: (batch: ReadonlyArray<Stored<MeshEvent>>) => void
  /** The log cannot be read: why. `undefined` once it can be read again. */
  readonly failed: (problem: string | undefined) => void
  /** Why the log cannot be read. */
  readonly problem: () => string | undefined
  /** The transcript; `undefined` while the log has nothing of the task, or cannot be read. */
  readonly shown: () => Shown | undefined
}

/** The most characters that are kept, in UTF-16 code units. */
const maxChars = 32_000_000

export const make = (taskId: string, options?: Transcripts.Options): Logged => {
  const transcripts = Transcripts.make({ maxChars, ...options })
  const gaps = Gaps.make()
  // What precedes the first entry is not known, so the first mark cannot say where the log begins.
  gaps.fold([{ _tag: "Resync", epoch: 0, reason: { _tag: "Started" } }], 0)
  let problem: string | undefined
  return {
    stored: (batch) => transcripts.pieces(batch),
    joined(batch) {
      for (const event of batch) {
        for (const gap of gaps.fold([event], event.storedAt)) transcripts.gap(gap.id, gap.taskId, event.storedAt)
        transcripts.fold([event], event.storedAt)
      }
    },
    failed: (next) => void (problem = next),
    problem: () => problem,
    shown() {
      const transcript = transcripts.get(taskId)
      const isEmpty = transcript.items.length + transcript.pending.length === 0
      return isEmpty || problem !== undefined ? undefined : { transcript, gap: gaps.get }
    }
  }
}
