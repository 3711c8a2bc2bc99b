/**
 * The index of a log in SQLite: which positions have a task, a message type or a kind.
 *
 * Positions are divided into blocks. When an append completes a block, the same transaction
 * stores one row for each key that occurs in it, with the offsets of its entries. The last
 * block is not complete: its entries are found by a scan. An index of SQLite would change
 * one page for each key in each append, which takes a third of the time of an append.
 */
import type { Connection } from "./connection.ts"

/** How many positions a block has. Part of the schema. */
export const blockSize = 4096

/** The kinds of entries, as stored. */
export const kinds = { update: 0, output: 1, restated: 2, mark: 3, other: 4 } as const

/** The key of the entries that name a task. */
export const taskKey = (task: number): number => 2 * task

/** The key of the outputs of a message type. */
export const typeKey = (type: number): number => 2 * type + 1

/** The key of the entries of a kind other than output. */
export const kindKey = (kind: number): number => -1 - kind

/** The members by which an entry is found. */
export interface Keys {
  readonly kind: number
  readonly task: number | null
  readonly type: number | null
}

const classOf = ({ kind, type }: Keys): number => (type === null ? kindKey(kind) : typeKey(type))

/** Whether an entry has one of some keys. */
const hasKey = (entry: Keys, keys: ReadonlySet<number>): boolean =>
  keys.has(classOf(entry)) || (entry.task !== null && keys.has(taskKey(entry.task)))

export interface Postings {
  /** Stores the blocks that became complete when the last position changed. Part of the append's transaction. */
  readonly complete: (before: number, last: number) => void
  /**
   * Returns the positions with one of some keys that are after a position and in its
   * block, in order, and the end of that block. `last` is the last position of the log.
   */
  readonly find: (
    keys: ReadonlySet<number>,
    after: number,
    last: number
  ) => { readonly positions: ReadonlyArray<number>; readonly end: number }
  /** Removes the blocks whose entries were removed up to a position. */
  readonly remove: (upTo: number) => void
}

export const make = ({ db, get, rows }: Connection): Postings => {
  const selectKeys = rows(
    "SELECT position, kind, task, type FROM entry WHERE position > ? AND position <= ? ORDER BY position"
  )
  const insert = db.prepare("INSERT OR REPLACE INTO posting (block, key, offsets) VALUES (?, ?, ?)")
  const select = rows("SELECT offsets FROM posting WHERE block = ? AND key = ?")
  const selectAny = rows("SELECT 1 FROM posting WHERE block = ? LIMIT 1")
  const removeBefore = db.prepare("DELETE FROM posting WHERE block < ?")

  function* entriesOf(after: number, upTo: number): Generator<readonly [position: number, entry: Keys]> {
    for (const row of selectKeys.iterate(after, upTo) as Iterable<unknown>) {
      // The columns of the query.
      const [position, kind, task, type] = row as [number, number, number | null, number | null]
      yield [position, { kind, task, type }]
    }
  }

  const store = (block: number): void => {
    const start = block * blockSize
    const offsets = new Map<number, Array<number>>()
    const add = (key: number, offset: number): void => {
      const found = offsets.get(key)
      if (found === undefined) offsets.set(key, [offset])
      else found.push(offset)
    }
    for (const [position, entry] of entriesOf(start, start + blockSize)) {
      const offset = position - start
      if (entry.task !== null) add(taskKey(entry.task), offset)
      add(classOf(entry), offset)
    }
    for (const [key, found] of offsets) insert.run(block, key, JSON.stringify(found))
  }

  /** Returns `undefined` for a block without rows: it was not indexed when it became complete. */
  const stored = (keys: ReadonlySet<number>, block: number, after: number): ReadonlyArray<number> | undefined => {
    const start = block * blockSize
    const positions = new Set<number>()
    for (const key of keys) {
      const offsets = get(select, block, key)?.[0]
      if (typeof offsets !== "string") continue
      // Only this module writes them.
      for (const offset of JSON.parse(offsets) as ReadonlyArray<number>) {
        if (start + offset > after) positions.add(start + offset)
      }
    }
    if (positions.size === 0 && get(selectAny, block) === undefined) return undefined
    return Array.from(positions).sort((a, b) => a - b)
  }

  const scan = (keys: ReadonlySet<number>, after: number, upTo: number): ReadonlyArray<number> => {
    const positions: Array<number> = []
    for (const [position, entry] of entriesOf(after, upTo)) if (hasKey(entry, keys)) positions.push(position)
    return positions
  }

  return {
    complete: (before, last) => {
      for (let block = blockOf(before); block < blockOf(last); block++) store(block)
    },
    find: (keys, after, last) => {
      const block = blockOf(after)
      const end = Math.min((block + 1) * blockSize, last)
      const indexed = end % blockSize === 0 ? stored(keys, block, after) : undefined
      return { positions: indexed ?? scan(keys, after, end), end }
    },
    remove: (upTo) => {
      removeBefore.run(blockOf(upTo))
    }
  }
}

/** The block of the position after another one. */
const blockOf = (position: number): number => Math.floor(position / blockSize)
