/**
 * Appends to a log in SQLite, and removes what its limits exceed.
 */
import { crc32 } from "node:zlib"
import { isLifecycle } from "@makima-stream/core/MeshEvent"
import type { MeshEvent } from "@makima-stream/core/MeshEvent"
import type { Fence } from "../../LogEngine.ts"
import { Fenced, LogError, TooLarge } from "../../LogError.ts"
import type { NewEvent } from "../../MeshLog.ts"
import { encodeEvent } from "../codec.ts"
import { taskOf } from "../filter.ts"
import { keyOf, termOf } from "../lease.ts"
import type { Limits } from "../limits.ts"
import type { Connection, Meta } from "./connection.ts"
import type { Step } from "./faults.ts"
import type { Head } from "./head.ts"
import type { Loss } from "./loss.ts"
import { kinds, type Postings } from "./postings.ts"

/** How many entries one transaction removes. */
const trimEntries = 1000
/** SQLite's limit for a value, less what the other columns need. */
const maxEventBytes = 999_000_000

/** An event in its stored form. */
export interface Encoded {
  readonly id: string
  readonly event: MeshEvent
  readonly body: string
  readonly bytes: number
  readonly sum: number
}

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
      return kinds.update
    case "TaskOutput":
      return kinds.output
    case "Restated":
      return kinds.restated
    default:
      return isLifecycle(event) ? kinds.mark : kinds.other
  }
}

export interface Options {
  readonly limits: Limits
  readonly head: Head
  /** Returns the missing positions, or throws. See `loss.ts`. */
  readonly checkLoss: () => Loss | undefined
  readonly at: (step: Step) => void
}

export interface Appender {
  /** Appends at most a batch, in one transaction. Returns the position of the last event. */
  readonly append: (events: ReadonlyArray<Encoded>, fence: Fence | undefined, now: number) => number
  /** Removes what exceeds the limits, at most a batch. Returns whether there may be more. */
  readonly trim: (now: number) => boolean
}

export const make = (
  connection: Connection,
  postings: Postings,
  { at, checkLoss, head, limits }: Options
): Appender => {
  const { db, get, meta, rows, transaction } = connection
  const insertAll = makeInsert(connection, at)
  const trim = makeTrim(connection, postings, limits)
  const isLimited = Number.isFinite(Math.min(limits.maxAge, limits.maxBytes, limits.maxEntries))
  const updateMeta = db.prepare("UPDATE meta SET last = ?, last_at = ?, bytes = bytes + ?")
  const selectLease = rows("SELECT value FROM cell WHERE key = ?")

  const checkFence = ({ name, term }: Fence): void => {
    const value = get(selectLease, keyOf(name))?.[0]
    if (typeof value === "string" && termOf(value) === term) return
    throw new LogError({ reason: new Fenced({ lease: name, term }) })
  }

  /** Stores a mark in place of the entries that are missing. */
  const markLoss = (before: Meta, now: number): Meta => {
    const loss = checkLoss()
    if (loss === undefined) return before
    const event: MeshEvent = { _tag: "Resync", epoch: 0, reason: { _tag: "LogTruncated", ...loss } }
    const mark = encode({ id: `lost:${loss.from}:${loss.to}`, event })
    const { at, bytes, last } = insertAll([mark], { last: loss.to, lastAt: before.lastAt }, now)
    updateMeta.run(last, at, bytes)
    postings.complete(before.last, last)
    return { last, lastAt: at }
  }

  return {
    append: (events, fence, now) => {
      at("begin")
      const done = transaction("IMMEDIATE", () => {
        if (fence !== undefined) checkFence(fence)
        const start = markLoss(meta(), now)
        if (events.length === 0) return { last: start.last, position: start.last }
        const inserted = insertAll(events, start, now)
        at("meta")
        if (inserted.last > start.last) {
          updateMeta.run(inserted.last, inserted.at, inserted.bytes)
          postings.complete(start.last, inserted.last)
        }
        if (isLimited) trim(inserted.last, now)
        return inserted
      })
      at("committed")
      head.write(done.last)
      at("head")
      return done.position
    },
    trim: (now) => transaction("IMMEDIATE", () => trim(meta().last, now))
  }
}

/** Inserts events after the last entry. An event whose id is stored keeps its place. */
const makeInsert = ({ db, get, rows, tasks, types }: Connection, step: (step: Step) => void) => {
  const insert = db.prepare(
    "INSERT INTO entry (position, at, kind, task, type, sum, id, body) VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING"
  )
  const selectById = rows("SELECT position FROM entry WHERE id = ?")
  // The newest update by version; one without a version counts as newer.
  const updateNewest = db.prepare(
    "UPDATE task SET newest = ?1, version = coalesce(?2, version) WHERE id = ?3 AND (version IS NULL OR ?2 IS NULL OR ?2 >= version)"
  )
  return (events: ReadonlyArray<Encoded>, start: Meta, now: number) => {
    const at = Math.max(Math.floor(now), start.lastAt)
    let { last } = start
    let position = last
    let bytes = 0
    const middle = events.length >> 1
    for (const [index, encoded] of events.entries()) {
      if (index === middle) step("insert")
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
}

/** Removes the oldest entries while a limit is exceeded, at most a batch. Returns whether there may be more. */
const makeTrim = ({ db, get, rows }: Connection, postings: Postings, limits: Limits) => {
  const selectBytes = rows("SELECT bytes FROM meta")
  const updateBytes = db.prepare("UPDATE meta SET bytes = bytes - ?")
  const selectOldest = rows(`SELECT position, at, octet_length(body) FROM entry ORDER BY position LIMIT ${trimEntries}`)
  const deleteUpTo = db.prepare("DELETE FROM entry WHERE position <= ?")
  return (last: number, now: number): boolean => {
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
    postings.remove(cut)
    updateBytes.run(removed)
    return seen === trimEntries
  }
}
