/**
 * Entries that were committed and are missing when a log is opened.
 */
import { LogError } from "../../LogError.ts"
import type { Connection } from "./connection.ts"
import * as Errors from "./errors.ts"
import type { Head } from "./head.ts"

/** Missing positions, both included. */
export interface Loss {
  readonly from: number
  readonly to: number
}

/**
 * Makes the check for missing entries. The check returns the missing positions, or throws
 * `Damaged` unless they are to be marked (`markLoss`). Once an entry is stored after them, it
 * returns `undefined`.
 */
export const make = (
  { meta }: Connection,
  { head, markLoss }: { readonly head: Head; readonly markLoss: boolean }
): (() => Loss | undefined) => {
  // The head is read before the last entry: another process may append between the two.
  const recorded = head.read()
  const { last } = meta()
  let loss = recorded > last ? { from: last + 1, to: recorded } : undefined
  return () => {
    if (loss === undefined) return undefined
    if (meta().last > loss.to) loss = undefined
    else if (!markLoss) throw lossError(loss)
    return loss
  }
}

const lossError = ({ from, to }: Loss): LogError =>
  new LogError({
    reason: Errors.damagedAt(
      from,
      new Error(`positions ${from} to ${to} were stored and are missing: the WAL is cut off, or the file is old`)
    )
  })
