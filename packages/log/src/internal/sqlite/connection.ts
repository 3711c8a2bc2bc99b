/**
 * A connection to the database of a log: transactions, and what is known of the log as a
 * whole.
 */
import type { DatabaseSync, StatementSync } from "node:sqlite"
import * as Queries from "./queries.ts"

/** The last position of a log, and when it was stored. */
export interface Meta {
  readonly last: number
  readonly lastAt: number
}

type Row = ReadonlyArray<number | string | null>

export interface Connection {
  readonly db: DatabaseSync
  /** Prepares a statement whose rows are arrays. */
  readonly rows: (sql: string) => StatementSync
  /** Returns the first row of a statement made by `rows`. */
  readonly get: (statement: StatementSync, ...parameters: ReadonlyArray<number | string>) => Row | undefined
  /** Runs a transaction, and rolls it back if it throws. */
  readonly transaction: <A>(mode: "DEFERRED" | "IMMEDIATE", body: () => A) => A
  readonly meta: () => Meta
  /** The first position of a log whose last one is `last`. */
  readonly first: (last: number) => number
  readonly tasks: Queries.Dictionary
  readonly types: Queries.Dictionary
}

/** Makes a connection. `beforeCommit` is called before a transaction that may have written is committed. */
export const make = (db: DatabaseSync, beforeCommit: () => void): Connection => {
  const rows = (sql: string): StatementSync => {
    const statement = db.prepare(sql)
    statement.setReturnArrays(true)
    return statement
  }
  const get: Connection["get"] = (statement, ...parameters) =>
    // The types of `node:sqlite` know rows as objects only.
    statement.get(...parameters) as unknown as Row | undefined
  const tasks = Queries.dictionary(db, "task")
  const types = Queries.dictionary(db, "type")
  const selectMeta = rows("SELECT last, last_at FROM meta")
  const selectFirst = rows("SELECT min(position) FROM entry")
  return {
    db,
    rows,
    get,
    tasks,
    types,
    transaction: (mode, body) => {
      db.exec(`BEGIN ${mode}`)
      try {
        const result = body()
        if (mode === "IMMEDIATE") beforeCommit()
        db.exec("COMMIT")
        return result
      } catch (error) {
        tasks.reset()
        types.reset()
        if (db.isTransaction) db.exec("ROLLBACK")
        throw error
      }
    },
    meta: () => {
      const [last, lastAt] = get(selectMeta) ?? []
      return { last: Number(last ?? 0), lastAt: Number(lastAt ?? 0) }
    },
    first: (last) => Number(get(selectFirst)?.[0] ?? last + 1)
  }
}
