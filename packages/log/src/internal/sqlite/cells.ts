/**
 * The cells of a log in SQLite.
 */
import type { Cell } from "../../LogEngine.ts"
import type { Connection } from "./connection.ts"

export interface Cells {
  readonly get: (key: string) => Cell | undefined
  readonly list: (prefix: string) => ReadonlyArray<Cell>
  readonly set: (key: string, value: string, revision: number) => number | undefined
  readonly remove: (key: string, revision: number) => boolean
}

type Row = ReadonlyArray<number | string | null>

export const make = ({ db, get, rows, transaction }: Connection): Cells => {
  const select = rows("SELECT key, value, revision FROM cell WHERE key = ?")
  const selectAll = rows("SELECT key, value, revision FROM cell WHERE key >= ? AND key < ? ORDER BY key")
  const upsert = db.prepare(
    "INSERT INTO cell (key, value, revision) VALUES (?, ?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value, revision = excluded.revision"
  )
  const remove = db.prepare("DELETE FROM cell WHERE key = ?")
  const nextRevision = rows("UPDATE meta SET revision = revision + 1 RETURNING revision")
  const revisionOf = (key: string) => get(select, key)?.[2]
  return {
    get: (key) => {
      const row = get(select, key)
      return row === undefined ? undefined : toCell(row)
    },
    // The character after "/" is "0", so these are the keys with the prefix. The types of `node:sqlite` know objects only.
    list: (prefix) => (selectAll.all(prefix, `${prefix.slice(0, -1)}0`) as unknown as ReadonlyArray<Row>).map(toCell),
    set: (key, value, revision) =>
      transaction("IMMEDIATE", () => {
        if ((revisionOf(key) ?? 0) !== revision) return undefined
        const next = Number(get(nextRevision)?.[0])
        upsert.run(key, value, next)
        return next
      }),
    remove: (key, revision) =>
      transaction("IMMEDIATE", () => {
        if (revisionOf(key) !== revision) return false
        remove.run(key)
        return true
      })
  }
}

const toCell = (row: Row): Cell => ({ key: String(row[0]), value: String(row[1]), revision: Number(row[2]) })
