/**
 * Readers for engines that return pages.
 */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import { isReadonlyArrayNonEmpty } from "effect/Array"
import type { NonEmptyReadonlyArray } from "effect/Array"
import type * as Pull from "effect/Pull"
import * as Stream from "effect/Stream"
import type { LogError } from "../LogError.ts"
import type { Bounds, Entry, From, ReadOptions } from "../MeshLog.ts"
import { truncated } from "./entries.ts"
import { toWanted, type Wanted } from "./filter.ts"

/**
 * Entries in order, as the log stood at one moment.
 *
 * @category models
 * @since 0.2.0
 */
export interface Page {
  /** The entries. */
  readonly entries: ReadonlyArray<Entry>
  /** The position up to which the page is complete. */
  readonly position: number
  /** The first position of the log at that moment. */
  readonly first: number
  /** Why the page ends early, and the next one cannot be read. */
  readonly error?: LogError | undefined
}

/**
 * The operations that an engine with pages implements.
 *
 * @category models
 * @since 0.2.0
 */
export interface Pages {
  /** As in `MeshLog`. */
  readonly bounds: Effect.Effect<Bounds, LogError>
  /** Fails if entries at the end of the log are missing. Defaults to no check. */
  readonly checkEnd?: Effect.Effect<void, LogError>
  /**
   * Returns the wanted entries after a position, up to another position (included), as many
   * as fit in a page. `wanted` is a hint: a page may contain others.
   */
  readonly page: (after: number, upTo: number, wanted: Wanted | undefined) => Effect.Effect<Page, LogError>
  /** Returns the position before the first entry at or after an instant; 0 if that one may have been removed. */
  readonly positionAt: (instant: number) => Effect.Effect<number, LogError>
  /** Returns the newest update of each task up to a position, ordered by position. */
  readonly snapshot: (wanted: Wanted | undefined) => Effect.Effect<
    {
      readonly entries: ReadonlyArray<Entry>
      /** The last position of the log at that moment. */
      readonly position: number
    },
    LogError
  >
  /** Waits until the log may contain an entry after a position. */
  readonly awaitAfter: (position: number) => Effect.Effect<void, LogError>
}

const finish: Effect.Effect<never, Cause.Done> = Cause.done()

/**
 * Streams the entries of pages: the `read` of an engine.
 *
 * **Example** (An engine that holds nothing)
 *
 * ```ts
 * import * as Effect from "effect/Effect"
 * import * as Stream from "effect/Stream"
 * import * as LogEngine from "@makima-stream/log/LogEngine"
 *
 * const empty: LogEngine.Pages = {
 *   bounds: Effect.succeed({ first: 1, last: 0 }),
 *   page: (after) => Effect.succeed({ entries: [], position: after, first: 1 }),
 *   positionAt: () => Effect.succeed(0),
 *   snapshot: () => Effect.succeed({ entries: [], position: 0 }),
 *   awaitAfter: () => Effect.never
 * }
 * console.log(await Effect.runPromise(Stream.runCollect(LogEngine.readPages(empty, {})))) // []
 * ```
 *
 * @category reading
 * @since 0.2.0
 */
export const read = (pages: Pages, options: ReadOptions): Stream.Stream<Entry, LogError> => {
  const wanted = toWanted(options.filter)
  const from: From = options.from ?? { _tag: "Beginning" }
  const follow = options.follow === true
  return Stream.fromPull(
    Effect.gen(function* () {
      const { last } = yield* pages.bounds
      const end = follow ? Number.POSITIVE_INFINITY : last
      let cursor = 0
      let snapshot: ReadonlyArray<Entry> = []
      if (from._tag === "LastPerTask") {
        const taken = yield* pages.snapshot(wanted)
        snapshot = select(taken.entries, wanted)
        cursor = taken.position
      } else {
        cursor = yield* startOf(pages, from, last)
      }
      let failure: LogError | undefined
      const done = from._tag === "LastPerTask" && !follow

      const next: Pull.Pull<NonEmptyReadonlyArray<Entry>, LogError> = Effect.gen(function* () {
        while (true) {
          if (isReadonlyArrayNonEmpty(snapshot)) {
            const entries = snapshot
            snapshot = []
            return entries
          }
          if (failure !== undefined) return yield* failure
          if (done) return yield* finish
          if (cursor >= end) return yield* Effect.andThen(pages.checkEnd ?? Effect.void, finish)
          const page = yield* pages.page(cursor, end, wanted)
          const entries = select(page.entries, wanted)
          if (page.first > cursor + 1) {
            const to = Math.min(page.first - 1, end)
            const mark = truncated(cursor + 1, to, yield* Clock.currentTimeMillis)
            if (wanted === undefined || wanted.isWanted(mark.event)) entries.unshift(mark)
            cursor = to
          }
          const advanced = page.position > cursor
          if (advanced) cursor = page.position
          failure = page.error
          if (isReadonlyArrayNonEmpty(entries)) return entries
          if (failure !== undefined) continue
          if (advanced) yield* Effect.yieldNow
          else if (follow) yield* pages.awaitAfter(cursor)
          else return yield* finish
        }
      })
      return next
    })
  )
}

const select = (entries: ReadonlyArray<Entry>, wanted: Wanted | undefined): Array<Entry> =>
  wanted === undefined ? entries.slice() : entries.filter(({ event }) => wanted.isWanted(event))

const startOf = (pages: Pages, from: Exclude<From, { _tag: "LastPerTask" }>, last: number) => {
  switch (from._tag) {
    case "Beginning":
      return Effect.succeed(0)
    case "New":
      return Effect.succeed(last)
    case "After":
      return Effect.succeed(from.position)
    case "Time":
      return pages.positionAt(from.at)
  }
}
