/**
 * A log in SQLite: every statement of the engine, synchronous and without Effect. Each
 * function is one transaction.
 */
import { DatabaseSync } from "node:sqlite"
import * as Append from "./append.ts"
import * as Cells from "./cells.ts"
import * as Connection from "./connection.ts"
import * as Loss from "./loss.ts"
import * as Postings from "./postings.ts"
import * as Read from "./read.ts"
import * as Schema from "./schema.ts"

export interface Database extends Append.Appender, Read.Reader {
  /** Throws if entries are missing after the last one, unless they are to be marked. */
  readonly checkEnd: () => void
  readonly cells: Cells.Cells
  readonly close: () => void
}

export interface Options extends Omit<Append.Options, "checkLoss"> {
  readonly filename: string
  readonly synchronous: "full" | "normal"
  /** Whether lost entries are marked instead of refused. */
  readonly markLoss: boolean
  readonly maxPageCount: number | undefined
}

/** Opens a log, or makes one. Throws the errors of SQLite. */
export const open = (options: Options): Database => {
  const db = new DatabaseSync(options.filename, { enableForeignKeyConstraints: false })
  try {
    // A short wait: a longer one would block the thread. The engine retries.
    db.exec("PRAGMA busy_timeout = 10; PRAGMA journal_mode = WAL")
    db.exec(`PRAGMA synchronous = ${options.synchronous === "full" ? "FULL" : "NORMAL"}`)
    db.exec("PRAGMA journal_size_limit = 67108864; PRAGMA cell_size_check = ON")
    if (options.maxPageCount !== undefined) db.exec(`PRAGMA max_page_count = ${options.maxPageCount}`)
    Schema.migrate(db)
    const connection = Connection.make(db, () => options.at("commit"))
    const postings = Postings.make(connection)
    const checkLoss = Loss.make(connection, options)
    return {
      ...Append.make(connection, postings, { ...options, checkLoss }),
      ...Read.make(connection, postings, checkLoss),
      checkEnd: checkLoss,
      cells: Cells.make(connection),
      close: () => {
        options.head.close()
        db.close()
      }
    }
  } catch (error) {
    db.close()
    throw error
  }
}
