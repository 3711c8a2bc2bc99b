/**
 * Options of this package, normalised once.
 */
import * as Duration from "effect/Duration"

/** A count of at least `min`. `undefined` means the default; anything but an integer in the range is refused. */
export const count = (
  name: string,
  value: number | undefined,
  range: { readonly fallback: number; readonly min: number; readonly max?: number }
): number => {
  if (value === undefined) return range.fallback
  const { max = Number.MAX_SAFE_INTEGER, min } = range
  if (!Number.isSafeInteger(value) || value < min || value > max) {
    const limit = range.max === undefined ? `of at least ${min}` : `from ${min} to ${max}`
    throw new RangeError(`The option "${name}" must be an integer ${limit}, not ${value}`)
  }
  return value
}

/** A time in milliseconds of at least `min`. `undefined` means the default; less, `NaN` and infinity are refused. */
export const millis = (
  name: string,
  value: Duration.Input | undefined,
  range: { readonly fallback: number; readonly min: number }
): number => {
  if (value === undefined) return range.fallback
  const time = Duration.toMillis(value)
  if (!Number.isFinite(time) || time < range.min) {
    throw new RangeError(`The option "${name}" must be a finite time of at least ${range.min} ms, not ${time} ms`)
  }
  return time
}

/** A name that is not empty. */
export const name = (what: string, value: string): string => {
  if (typeof value !== "string" || value === "") throw new TypeError(`The name of a ${what} must be a non-empty string`)
  return value
}
