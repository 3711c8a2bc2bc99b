/**
 * Keeps a server's log, and tells those who wait for an entry.
 *
 * Invariants: entries are numbered from 1 without a gap, also where they are
 * not kept; an entry that was handed out never changes (a later state of it
 * replaces it in the log).
 */
import * as Effect from "effect/Effect"
import type { Clock } from "effect/Clock"
import type { Entry, ServerLog, Stamp } from "../ServerLog.ts"

/** An entry without what the recorder adds. */
export type Body = Entry extends infer E ? (E extends Entry ? Omit<E, keyof Stamp> : never) : never

export interface Recorder {
  /** Adds an entry, and gives its place in the log; `undefined` where it is not kept. */
  readonly append: (body: Body) => number | undefined
  /** The entries at these places have left the server after all. */
  readonly deliver: (places: ReadonlyArray<number>) => void
  /** The log as it is now. */
  readonly snapshot: () => ServerLog
  /** The first entry, of the past or the future, that the predicate holds for. */
  readonly await: <E extends Entry>(predicate: (entry: Entry) => entry is E) => Effect.Effect<E>
}

/** An empty log. `keepMessages` says whether messages are kept, or only what else happens. */
export const make = (options: { readonly clock: Clock; readonly keepMessages: boolean }): Recorder => {
  const { clock, keepMessages } = options
  const entries: Array<Entry> = []
  const watchers = new Set<(entry: Entry) => void>()
  let seq = 0

  return {
    append(body) {
      const entry: Entry = { ...body, seq: ++seq, at: clock.currentTimeMillisUnsafe() }
      const keep = keepMessages || !isMessage(entry)
      if (keep) entries.push(entry)
      for (const watcher of watchers) watcher(entry)
      return keep ? entries.length - 1 : undefined
    },
    deliver(places) {
      for (const place of places) {
        const entry = entries[place]
        if (entry?._tag === "Sent" || entry?._tag === "SentRaw") entries[place] = { ...entry, delivered: true }
      }
    },
    snapshot: () => entries.slice(),
    await: <E extends Entry>(predicate: (entry: Entry) => entry is E) =>
      Effect.callback<E>((resume) => {
        const past = entries.find(predicate)
        if (past !== undefined) {
          resume(Effect.succeed(past))
          return
        }
        const watcher = (entry: Entry): void => {
          if (!predicate(entry)) return
          watchers.delete(watcher)
          resume(Effect.succeed(entry))
        }
        watchers.add(watcher)
        return Effect.sync(() => watchers.delete(watcher))
      })
  }
}

const isMessage = ({ _tag }: Entry): boolean => _tag === "Sent" || _tag === "SentRaw" || _tag === "Unheard"
