/**
 * A connection to a log in SQLite: every statement of the engine, synchronous and
 * without Effect. Each function is one transaction.
 */
import { crc32 } from "node:zlib"
import { DatabaseSync, type StatementSync } from "node:sqlite"
import * as Result from "effect/Result"
import { isLifecycle } from "@makima-stream/core/MeshEvent"
import type { MeshEvent } from "@makima-stream/core/MeshEvent"
import type { Cell, Fence } from "../../LogEngine.ts"
import { Fenced, LogError, TooLarge } from "../../LogError.ts"
import type { Bounds, Entry, NewEvent } from "../../MeshLog.ts"
import { decodeEvent, encodeEvent } from "../codec.ts"
import { taskOf, type Wanted } from "../filter.ts"
import { keyOf, termOf } from "../lease.ts"
import type { Limits } from "../limits.ts"
import * as Errors from "./errors.ts"
import type { Step } from "./faults.ts"
import type { Head } from "./head.ts"
import * as Queries from "./queries.ts"
import * as Schema from "./schema.ts"

export interface Database {
  /** Appends at most a batch. Returns the position of the last event. */
  readonly append: (events: ReadonlyArray<Encoded>, fence: Fence | undefined, now: number) => number
  readonly bounds: () => Bounds
  /** Throws if entries are missing after the last one. */
  readonly checkEnd: () => void
  readonly last: () => number
  readonly page: (after: number, upTo: number, wanted: Wanted | undefined) => Page
  readonly positionAt: (instant: number) => number
  readonly snapshot: () => { readonly entries: ReadonlyArray<Entry>; readonly position: number }
  /** Removes what exceeds the limits, at most a batch. Returns whether there may be more. */
  readonly trim: (now: number) => boolean
  readonly getCell: (key: string) => Cell | undefined
  readonly listCells: (prefix: string) => ReadonlyArray<Cell>
  readonly setCell: (key: string, value: string, revision: number) => number | undefined
  readonly removeCell: (key: string, revision: number) => boolean
  readonly close: () => void
}

/** Entries in order, as the log stood at one moment. */
export interface Page {
  readonly entries: ReadonlyArray<Entry>
  readonly position: number
  readonly first: number
  /** The damage that ends the page. */
  readonly error: LogError | undefined
}

/** An event in its stored form. */
export interface Encoded {
  readonly id: string
  readonly event: MeshEvent
  readonly body: string
  readonly bytes: number
  readonly sum: number
}

export interface Options {
  readonly filename: string
  readonly synchronous: "full" | "normal"
  readonly limits: Limits
  readonly head: Head
  /** Whether lost entries are marked instead of refused. */
  readonly markLoss: boolean
  readonly maxPageCount: number | undefined
  readonly at: (step: Step) => void
}

/** How many entries a page has, and how many bytes after which it ends. */
const pageEntries = 512
const pageBytes = 4 << 20
/** How many entries one transaction removes. */
const trimEntries = 1000
/** SQLite's limit for a value, less what the other columns need. */
const maxEventBytes = 999_000_000

/** Encodes an event. Throws a `LogError` if it is too large. */
export const encode = ({ event, id }: NewEvent): Encoded => {
  if (typeof id !== "string" || id === "") throw new TypeError("The id of an event must be a non-empty string")
  const body = encodeEvent(event)
  const utf8 = Buffer.from(body)
  const bytes = utf8.length
  if (bytes > maxEventBytes) throw new LogError({ reason: new TooLarge({ bytes, limit: maxEventBytes }) })
  return { id, event, body, bytes, sum: crc32(utf8) }
}

const kindOf = (event: MeshEvent): number => {
  switch (event._tag) {
    case "TaskUpdated":
      return 0
    case "TaskOutput":
      return 1
    case "Restated":
      return 2
    default:
      return isLifecycle(event) ? 3 : 4
  }
}

interface Meta {
  readonly last: number
  readonly lastAt: number
}

/** Opens a log, or makes one. Throws the errors of SQLite. */
export const open = (options: Options): Database => {
  const { head, limits } = options
  const db = new DatabaseSync(options.filename, { enableForeignKeyConstraints: false })
  try {
    // A short wait: a longer one would block the thread. The engine retries.
    db.exec("PRAGMA busy_timeout = 10; PRAGMA journal_mode = WAL")
    db.exec(`PRAGMA synchronous = ${options.synchronous === "full" ? "FULL" : "NORMAL"}`)
    db.exec("PRAGMA journal_size_limit = 67108864; PRAGMA cell_size_check = ON")
    if (options.maxPageCount !== undefined) db.exec(`PRAGMA max_page_count = ${options.maxPageCount}`)
    Schema.migrate(db)
    return prepare(db, options, limits, head)
  } catch (error) {
    db.close()
    throw error
  }
}

const prepare = (db: DatabaseSync, options: Options, limits: Limits, head: Head): Database => {
  /** A statement whose rows are arrays. */
  const rows = (sql: string): StatementSync => {
    const statement = db.prepare(sql)
    statement.setReturnArrays(true)
    return statement
  }
  const get = (statement: StatementSync, ...parameters: ReadonlyArray<number | string>) =>
    // Rows are arrays: see `rows`. The types of `node:sqlite` know objects only.
    statement.get(...parameters) as unknown as ReadonlyArray<number | string | null> | undefined

  const selectMeta = rows("SELECT last, last_at FROM meta")
  const updateMeta = db.prepare("UPDATE meta SET last = ?, last_at = ?, bytes = bytes + ?")
  const updateBytes = db.prepare("UPDATE meta SET bytes = bytes - ?")
  const selectFirst = rows("SELECT min(position) FROM entry")
  const selectBytes = rows("SELECT bytes FROM meta")
  const insert = db.prepare(
    "INSERT INTO entry (position, at, kind, task, type, sum, id, body) VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING"
  )
  const selectById = rows("SELECT position FROM entry WHERE id = ?")
  const selectAt = rows("SELECT position, at FROM entry WHERE position >= ? ORDER BY position LIMIT 1")
  const selectOldest = rows(`SELECT position, at, octet_length(body) FROM entry ORDER BY position LIMIT ${trimEntries}`)
  const deleteUpTo = db.prepare("DELETE FROM entry WHERE position <= ?")
  const selectNewest = rows(
    "SELECT e.position, e.at, e.sum, e.body FROM task t JOIN entry e ON e.position = t.newest ORDER BY e.position"
  )
  // The newest update by version; one without a version counts as newer.
  const updateNewest = db.prepare(
    "UPDATE task SET newest = ?1, version = coalesce(?2, version) WHERE id = ?3 AND (version IS NULL OR ?2 IS NULL OR ?2 >= version)"
  )
  const selectCell = rows("SELECT key, value, revision FROM cell WHERE key = ?")
  const selectCells = rows("SELECT key, value, revision FROM cell WHERE key >= ? AND key < ? ORDER BY key")
  const upsertCell = db.prepare(
    "INSERT INTO cell (key, value, revision) VALUES (?, ?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value, revision = excluded.revision"
  )
  const deleteCell = db.prepare("DELETE FROM cell WHERE key = ?")
  const nextRevision = rows("UPDATE meta SET revision = revision + 1 RETURNING revision")
  const tasks = Queries.dictionary(db, "task")
  const types = Queries.dictionary(db, "type")
  const pages = Queries.pages(rows)

  const metaOf = (): Meta => {
    const [last, lastAt] = get(selectMeta) ?? []
    return { last: Number(last ?? 0), lastAt: Number(lastAt ?? 0) }
  }
  const firstOf = (last: number): number => Number(get(selectFirst)?.[0] ?? last + 1)

  const transaction = <A>(mode: "DEFERRED" | "IMMEDIATE", body: () => A): A => {
    db.exec(`BEGIN ${mode}`)
    try {
      const result = body()
      if (mode === "IMMEDIATE") options.at("commit")
      db.exec("COMMIT")
      return result
    } catch (error) {
      tasks.reset()
      types.reset()
      if (db.isTransaction) db.exec("ROLLBACK")
      throw error
    }
  }

  // The head is read before the last entry: another process may append between the two.
  const recorded = head.read()
  /** What was committed before this connection opened, and is missing. */
  let loss = recorded > metaOf().last ? { from: metaOf().last + 1, to: recorded } : undefined

  /** Throws if entries are missing after the last one, unless they have been marked. */
  const checkEnd = (): void => {
    if (loss === undefined) return
    if (metaOf().last > loss.to) loss = undefined
    else if (!options.markLoss) throw lossError(loss)
  }

  const lossError = ({ from, to }: { readonly from: number; readonly to: number }) =>
    new LogError({
      reason: Errors.damagedAt(
        from,
        new Error(`positions ${from} to ${to} were stored and are missing: the WAL is cut off, or the file is old`)
      )
    })

  const insertAll = (events: ReadonlyArray<Encoded>, start: Meta, now: number) => {
    const at = Math.max(Math.floor(now), start.lastAt)
    let { last } = start
    let position = last
    let bytes = 0
    const middle = events.length >> 1
    for (const [index, encoded] of events.entries()) {
      if (index === middle) options.at("insert")
      const { event } = encoded
      const taskId = taskOf(event)
      const task = taskId === undefined ? null : tasks.id(taskId)
      const type = event._tag === "TaskOutput" ? types.id(event.messageType) : null
      const { changes } = insert.run(last + 1, at, kindOf(event), task, type, encoded.sum, encoded.id, encoded.body)
      if (Number(changes) === 0) {
        if (index === events.length - 1) position = Number(get(selectById, encoded.id)?.[0] ?? last)
        continue
      }
      position = ++last
      bytes += encoded.bytes
      if (event._tag === "TaskUpdated") updateNewest.run(position, event.version ?? null, task)
    }
    return { last, at, bytes, position }
  }

  /** Removes the oldest entries while a limit is exceeded, at most a batch. */
  const trimIn = (last: number, now: number): boolean => {
    let bytes = Number(get(selectBytes)?.[0] ?? 0)
    let removed = 0
    let cut = 0
    let seen = 0
    // Ends at the first row in the usual case.
    for (const row of selectOldest.iterate() as Iterable<unknown>) {
      const [position, at, size] = row as [number, number, number]
      const count = last - position + 1
      if (count <= limits.maxEntries && bytes <= limits.maxBytes && now - at <= limits.maxAge) break
      cut = position
      bytes -= size
      removed += size
      seen++
    }
    if (cut === 0) return false
    deleteUpTo.run(cut)
    updateBytes.run(removed)
    return seen === trimEntries
  }

  const isLimited = Number.isFinite(Math.min(limits.maxAge, limits.maxBytes, limits.maxEntries))

  /** Stores a mark in place of the entries that are missing. */
  const markLoss = (meta: Meta, now: number): Meta => {
    checkEnd()
    if (loss === undefined) return meta
    const event: MeshEvent = { _tag: "Resync", epoch: 0, reason: { _tag: "LogTruncated", ...loss } }
    const id = `lost:${loss.from}:${loss.to}`
    const done = insertAll([encode({ id, event })], { last: loss.to, lastAt: meta.lastAt }, now)
    updateMeta.run(done.last, done.at, done.bytes)
    return { last: done.last, lastAt: done.at }
  }

  const toEntry = (position: number, at: number, sum: number, body: string): Entry => {
    const decoded = crc32(body) === sum ? decodeEvent(body) : Result.fail(new Error("its checksum is wrong"))
    if (Result.isSuccess(decoded)) return { position, at, event: decoded.success }
    throw new LogError({ reason: Errors.damagedAt(position, decoded.failure) })
  }

  return {
    append: (events, fence, now) => {
      options.at("begin")
      const done = transaction("IMMEDIATE", () => {
        if (fence !== undefined) {
          const value = get(selectCell, keyOf(fence.name))?.[1]
          if (typeof value !== "string" || termOf(value) !== fence.term) {
            throw new LogError({ reason: new Fenced({ lease: fence.name, term: fence.term }) })
          }
        }
        const start = markLoss(metaOf(), now)
        if (events.length === 0) return { last: start.last, position: start.last }
        const inserted = insertAll(events, start, now)
        options.at("meta")
        if (inserted.last > start.last) updateMeta.run(inserted.last, inserted.at, inserted.bytes)
        if (isLimited) trimIn(inserted.last, now)
        return inserted
      })
      options.at("committed")
      head.write(done.last)
      options.at("head")
      return done.position
    },
    bounds: () =>
      transaction("DEFERRED", () => {
        const { last } = metaOf()
        return { first: firstOf(last), last }
      }),
    checkEnd,
    last: () => metaOf().last,
    page: (after, upTo, wanted) => {
      const entries: Array<Entry> = []
      let position = after
      let first = after + 1
      try {
        transaction("DEFERRED", () => {
          const { last } = metaOf()
          const end = Math.min(upTo, last)
          first = firstOf(last)
          if (end <= after) return upTo > last ? checkEnd() : undefined
          const { parameters, statement } = pages.select(wanted, tasks, types, { after, end, limit: pageEntries })
          let bytes = 0
          let isWhole = true
          for (const row of statement.iterate(...parameters) as Iterable<unknown>) {
            // The columns of every page query.
            const [rowPosition, at, sum, body] = row as [number, number, number, string]
            entries.push(toEntry(rowPosition, at, sum, body))
            position = rowPosition
            bytes += body.length
            if (bytes > pageBytes || entries.length === pageEntries) {
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
    },
    positionAt: (instant) =>
      transaction("DEFERRED", () => {
        const { last } = metaOf()
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
      }),
    snapshot: () =>
      transaction("DEFERRED", () => {
        const entries: Array<Entry> = []
        for (const row of selectNewest.iterate() as Iterable<unknown>) {
          const [position, at, sum, body] = row as [number, number, number, string]
          entries.push(toEntry(position, at, sum, body))
        }
        return { entries, position: metaOf().last }
      }),
    trim: (now) => transaction("IMMEDIATE", () => trimIn(metaOf().last, now)),
    getCell: (key) => toCell(get(selectCell, key)),
    listCells: (prefix) =>
      // The character after "/" is "0", so these are the keys with the prefix.
      (selectCells.all(prefix, `${prefix.slice(0, -1)}0`) as unknown as ReadonlyArray<ReadonlyArray<string | number>>)
        .map(toCell)
        .filter((cell) => cell !== undefined),
    setCell: (key, value, revision) =>
      transaction("IMMEDIATE", () => {
        const found = get(selectCell, key)?.[2] ?? 0
        if (found !== revision) return undefined
        const next = Number(get(nextRevision)?.[0])
        upsertCell.run(key, value, next)
        return next
      }),
    removeCell: (key, revision) =>
      transaction("IMMEDIATE", () => {
        if (get(selectCell, key)?.[2] !== revision) return false
        deleteCell.run(key)
        return true
      }),
    close: () => {
      head.close()
      db.close()
    }
  }
}

const toCell = (row: ReadonlyArray<number | string | null> | undefined): Cell | undefined =>
  row === undefined ? undefined : { key: String(row[0]), value: String(row[1]), revision: Number(row[2]) }
