/**
 * Errors of SQLite as reasons.
 */
import { Damaged, Full, LogError, type LogErrorReason, Unavailable } from "../../LogError.ts"

/** The primary result code of an error of `node:sqlite`; `undefined` for another error. */
const codeOf = (error: unknown): number | undefined =>
  error instanceof Error && "errcode" in error && typeof error.errcode === "number" ? error.errcode & 0xff : undefined

const BUSY = 5
const LOCKED = 6
const CORRUPT = 11
const FULL = 13
const NOTADB = 26

/** Whether another connection holds a lock that the statement needs. */
export const isBusy = (error: unknown): boolean => {
  const code = codeOf(error)
  return code === BUSY || code === LOCKED
}

/** Whether the file's content is damaged. */
export const isDamage = (error: unknown): boolean => {
  const code = codeOf(error)
  return code === CORRUPT || code === NOTADB
}

/** The error of a log for anything that was thrown. `position` is the first one that cannot be read. */
export const toLogError = (error: unknown, position?: number): LogError => {
  if (error instanceof LogError) return error
  return new LogError({ reason: reasonOf(error, position) })
}

const reasonOf = (cause: unknown, position: number | undefined): LogErrorReason => {
  if (isDamage(cause)) return damagedAt(position, cause)
  return codeOf(cause) === FULL ? new Full({ cause }) : new Unavailable({ cause })
}

export const damagedAt = (position: number | undefined, cause: unknown): Damaged =>
  new Damaged({ ...(position === undefined ? {} : { position }), cause })
