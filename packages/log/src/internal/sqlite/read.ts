/**
 * Reads a log in SQLite.
 */
import type { StatementSync } from "node:sqlite"
import { crc32 } from "node:zlib"
import * as Result from "effect/Result"
import { LogError } from "../../LogError.ts"
import type { Bounds, Entry } from "../../MeshLog.ts"
import { decodeEvent } from "../codec.ts"
import type { Wanted } from "../filter.ts"
import type { Connection } from "./connection.ts"
import * as Errors from "./errors.ts"
import type { Postings } from "./postings.ts"
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

/** How many entries a page has, of how many blocks of the index, and how many characters after which it ends. */
const pageEntries = 512
const pageBlocks = 64
const pageCharacters = 4 << 20

/** Makes a reader. `checkEnd` throws if entries are missing after the last one. */
export const make = (connection: Connection, postings: Postings, checkEnd: () => unknown): Reader => {
  const { first: firstOf, meta, transaction } = connection
  return {
    bounds: () =>
      transaction("DEFERRED", () => {
        const { last } = meta()
        return { first: firstOf(last), last }
      }),
    last: () => meta().last,
    page: makePage(connection, postings, checkEnd),
    positionAt: makePositionAt(connection),
    snapshot: makeSnapshot(connection)
  }
}

const makePage = (connection: Connection, postings: Postings, checkEnd: () => unknown): Reader["page"] => {
  const { first: firstOf, meta, tasks, transaction, types } = connection
  const scan = makeScan(connection)
  const select = makeSelect(connection, postings)
  return (after, upTo, wanted) => {
    const page = new Building(after)
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
        const keys = Queries.keysOf(wanted, tasks, types)
        if (keys === undefined) scan.read(page, Queries.kindsOf(wanted), end)
        else select.read(page, { keys, kinds: Queries.kindsOf(wanted), end, last })
      })
      return { ...page, first, error: undefined }
    } catch (error) {
      scan.reset()
      select.reset()
      if (!Errors.isDamage(error) && !(error instanceof LogError)) throw error
      return { ...page, first, error: Errors.toLogError(error, page.position + 1) }
    }
  }
}

/** A page while its entries are read. */
class Building {
  readonly entries: Array<Entry> = []
  position: number
  #characters = 0

  constructor(after: number) {
    this.position = after
  }

  /** Adds the entry of a row. Returns whether the page is full. */
  add(position: number, at: number, sum: number, body: string): boolean {
    this.entries.push(toEntry(position, at, sum, body))
    this.position = position
    this.#characters += body.length
    return this.#characters > pageCharacters || this.entries.length === pageEntries
  }
}

/** Reads into a page the entries of some kinds. */
const makeScan = ({ rows }: Connection) => {
  const statements = new Map<string, StatementSync>()
  const statementOf = (kinds: ReadonlySet<number>): StatementSync => {
    const list = Array.from(kinds).join(", ")
    const sql = `SELECT position, at, sum, body FROM entry WHERE position > ? AND position <= ? AND kind IN (${list}) ORDER BY position LIMIT ${pageEntries}`
    const statement = statements.get(sql) ?? rows(sql)
    statements.set(sql, statement)
    return statement
  }
  return {
    /** Forgets the statements. After an error, `node:sqlite` throws it again at the next use of its statement. */
    reset: () => statements.clear(),
    read: (page: Building, kinds: ReadonlySet<number>, end: number): void => {
      for (const row of statementOf(kinds).iterate(page.position, end) as Iterable<unknown>) {
        // The columns of the query.
        const [position, at, sum, body] = row as [number, number, number, string]
        if (page.add(position, at, sum, body)) return
      }
      page.position = end
    }
  }
}

/** Reads into a page the entries that the index finds. */
const makeSelect = ({ get, rows }: Connection, postings: Postings) => {
  const prepare = () => rows("SELECT at, sum, body, kind FROM entry WHERE position = ?")
  let statement = prepare()
  return {
    /** See `makeScan`. */
    reset: () => {
      statement = prepare()
    },
    read: (
      page: Building,
      wanted: {
        readonly keys: ReadonlySet<number>
        readonly kinds: ReadonlySet<number>
        readonly end: number
        readonly last: number
      }
    ): void => {
      const { end, keys, kinds, last } = wanted
      for (let blocks = 0; keys.size > 0 && page.position < end && blocks < pageBlocks; blocks++) {
        const found = postings.find(keys, page.position, last)
        for (const position of found.positions) {
          if (position > end) break
          const row = get(statement, position)
          if (row === undefined) continue
          // The columns of the query.
          const [at, sum, body, kind] = row as unknown as [number, number, string, number]
          if (kinds.has(kind) && page.add(position, at, sum, body)) return
        }
        page.position = Math.min(found.end, end)
      }
      if (keys.size === 0) page.position = end
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
