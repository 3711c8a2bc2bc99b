/**
 * A file next to the database with the last committed position.
 *
 * SQLite accepts a truncated WAL: the missing entries cause no error. The same happens
 * after a power failure with `synchronous: "normal"`. A head above the last entry shows the
 * loss.
 */
import { closeSync, existsSync, openSync, readFileSync, writeSync } from "node:fs"

/** The head file of a database. */
export interface Head {
  /** The recorded position; 0 if there is none. */
  readonly read: () => number
  /** Records a position. It never fails an append: the file is a safeguard. */
  readonly write: (position: number) => void
  readonly close: () => void
}

const digits = 16

export const make = (filename: string): Head => {
  const path = `${filename}-head`
  let file: number | undefined
  return {
    read: () => {
      if (!existsSync(path)) return 0
      const position = Number(readFileSync(path, "latin1").trim())
      return Number.isSafeInteger(position) ? position : 0
    },
    write: (position) => {
      try {
        file ??= openSync(path, existsSync(path) ? "r+" : "w")
        writeSync(file, `${position}`.padStart(digits, "0"), 0, "latin1")
      } catch {
        // An append must not fail because of this file.
      }
    },
    close: () => {
      if (file !== undefined) closeSync(file)
      file = undefined
    }
  }
}

/** For a database in memory. */
export const none: Head = { read: () => 0, write: () => {}, close: () => {} }
