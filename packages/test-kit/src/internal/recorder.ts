/**
 * Keeps a server's log, and resumes fibers that wait for an entry.
 *
 * Invariants: entries are numbered from 1 without a gap, even if they are not kept;
 * an entry is never mutated (a later state replaces it in the log).
 */
import * as Effect from "effect/Effect"
import type { Clock } from "effect/Clock"
import type { Entry, ServerLog, Stamp } from "../ServerLog.ts"

/** An entry without the members that the recorder adds. */
export type Body = Entry extends infer E ? (E extends Entry ? Omit<E, keyof Stamp> : never) : never

export interface Recorder {
  /** Adds an entry. Returns its place in the log; `undefined` if it is not kept. */
  readonly append: (body: Body) => number | undefined
  /**
   * Runs a function, and resumes fibers that wait for its entries afterwards. A
   * resumed fiber runs at once, and must not act between two of the entries.
   */
  readonly together: (run: () => void) => void
  /** Marks the entries at these places as delivered. */
  readonly deliver: (places: ReadonlyArray<number>) => void
  /** A snapshot of the log. */
  readonly snapshot: () => ServerLog
  /** Waits for the first entry that matches, past or future. */
  readonly await: <E extends Entry>(predicate: (entry: Entry) => entry is E) => Effect.Effect<E>
}

/** An empty log. Without `keepMessages` it omits messages and keeps every other entry. */
export const make = (options: { readonly clock: Clock; readonly keepMessages: boolean }): Recorder => {
  const { clock, keepMessages } = options
  const entries: Array<Entry> = []
  const watchers = new Set<(entry: Entry) => void>()
  let seq = 0
  /** Inside of `together`: the entries whose watchers have not been called yet. */
  let pending: Array<Entry> | undefined

  const notify = (entry: Entry): void => {
    const waiting = [...watchers]
    for (const watcher of waiting) watcher(entry)
  }

  return {
    append(body) {
      const entry: Entry = { ...body, seq: ++seq, at: clock.currentTimeMillisUnsafe() }
      const keep = keepMessages || !isMessage(entry)
      if (keep) entries.push(entry)
      if (pending === undefined) notify(entry)
      else pending.push(entry)
      return keep ? entries.length - 1 : undefined
    },
    together(run) {
      if (pending !== undefined) return run()
      const mine: Array<Entry> = []
      pending = mine
      try {
        run()
      } finally {
        pending = undefined
        mine.forEach(notify)
      }
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
