/**
 * Reads a log in SQLite.
 */
import { crc32 } from "node:zlib"
import * as Result from "effect/Result"
import { LogError } from "../../LogError.ts"
import type { Bounds, Entry } from "../../MeshLog.ts"
import { decodeEvent } from "../codec.ts"
import type { Wanted } from "../filter.ts"
import type { Connection } from "./connection.ts"
import * as Errors from "./errors.ts"
import * as Queries from "./queries.ts"

/** Entries in order, as the log stood at one moment. */
export interface Page {
  readonly entries: ReadonlyArray<Entry>
  readonly position: number
  readonly first: number
  /** The damage that ends the page. */
  readonly error: LogError | undefined
}

export interface Reader {
  readonly bounds: () => Bounds
  readonly last: () => number
  readonly page: (after: number, upTo: number, wanted: Wanted | undefined) => Page
  readonly positionAt: (instant: number) => number
  readonly snapshot: () => { readonly entries: ReadonlyArray<Entry>; readonly position: number }
}

/** How many entries a page has, and how many characters after which it ends. */
const pageEntries = 512
const pageCharacters = 4 << 20

/** Makes a reader. `checkEnd` throws if entries are missing after the last one. */
export const make = (connection: Connection, checkEnd: () => unknown): Reader => {
  const { first: firstOf, meta, transaction } = connection
  return {
    bounds: () =>
      transaction("DEFERRED", () => {
        const { last } = meta()
        return { first: firstOf(last), last }
      }),
    last: () => meta().last,
    page: makePage(connection, checkEnd),
    positionAt: makePositionAt(connection),
    snapshot: makeSnapshot(connection)
  }
}

const makePage = (
  { first: firstOf, meta, rows, tasks, transaction, types }: Connection,
  checkEnd: () => unknown
): Reader["page"] => {
  const pages = Queries.pages(rows)
  return (after, upTo, wanted) => {
    const entries: Array<Entry> = []
    let position = after
    let first = after + 1
    try {
      transaction("DEFERRED", () => {
        const { last } = meta()
        const end = Math.min(upTo, last)
        first = firstOf(last)
        if (end <= after) {
          if (upTo > last) checkEnd()
          return
        }
        const { parameters, statement } = pages.select(wanted, tasks, types, { after, end, limit: pageEntries })
        let characters = 0
        let isWhole = true
        for (const row of statement.iterate(...parameters) as Iterable<unknown>) {
          // The columns of every page query.
          const [rowPosition, at, sum, body] = row as [number, number, number, string]
          entries.push(toEntry(rowPosition, at, sum, body))
          position = rowPosition
          characters += body.length
          if (characters > pageCharacters || entries.length === pageEntries) {
            isWhole = false
            break
          }
        }
        if (isWhole) position = end
      })
      return { entries, position, first, error: undefined }
    } catch (error) {
      pages.reset()
      if (!Errors.isDamage(error) && !(error instanceof LogError)) throw error
      return { entries, position, first, error: Errors.toLogError(error, position + 1) }
    }
  }
}

const makePositionAt = ({ first: firstOf, get, meta, rows, transaction }: Connection): Reader["positionAt"] => {
  const selectAt = rows("SELECT position, at FROM entry WHERE position >= ? ORDER BY position LIMIT 1")
  return (instant) =>
    transaction("DEFERRED", () => {
      const { last } = meta()
      const first = firstOf(last)
      // Times do not decrease, so a binary search over the positions finds the first entry.
      let low = first
      let high = last + 1
      while (low < high) {
        const middle = Math.floor((low + high) / 2)
        const [position, at] = get(selectAt, middle) ?? []
        if (position === undefined || Number(at) >= instant) high = middle
        else low = Number(position) + 1
      }
      return low <= first && first > 1 ? 0 : low - 1
    })
}

const makeSnapshot = ({ meta, rows, transaction }: Connection): Reader["snapshot"] => {
  const selectNewest = rows(
    "SELECT e.position, e.at, e.sum, e.body FROM task t JOIN entry e ON e.position = t.newest ORDER BY e.position"
  )
  return () =>
    transaction("DEFERRED", () => {
      const entries: Array<Entry> = []
      for (const row of selectNewest.iterate() as Iterable<unknown>) {
        const [position, at, sum, body] = row as [number, number, number, string]
        entries.push(toEntry(position, at, sum, body))
      }
      return { entries, position: meta().last }
    })
}

const toEntry = (position: number, at: number, sum: number, body: string): Entry => {
  const decoded = crc32(body) === sum ? decodeEvent(body) : Result.fail(new Error("its checksum is wrong"))
  if (Result.isSuccess(decoded)) return { position, at, event: decoded.success }
  throw new LogError({ reason: Errors.damagedAt(position, decoded.failure) })
}
