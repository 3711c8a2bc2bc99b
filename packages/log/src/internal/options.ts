/**
 * Options of this package, normalised once. `undefined` means the default. A value that makes no
 * sense is refused with an error that names the option.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { InvalidOption, LogError } from "../LogError.ts"

/** Thrown for an option that makes no sense. `checked` makes a `LogError` of it. */
class OptionError extends RangeError {
  override readonly name = "OptionError"
  readonly reason: InvalidOption

  constructor(option: string, detail: string) {
    const reason = new InvalidOption({ option, detail })
    super(reason.message)
    this.reason = reason
  }
}

/** Reads options. Fails with the reason `InvalidOption` if one of them makes no sense. */
export const checked = <A>(read: () => A): Effect.Effect<A, LogError> =>
  Effect.suspend(() => {
    try {
      return Effect.succeed(read())
    } catch (error) {
      return error instanceof OptionError ? Effect.fail(new LogError({ reason: error.reason })) : Effect.die(error)
    }
  })

/** Refuses an option. `detail` says what it must be. */
export const refuse = (option: string, detail: string): never => {
  throw new OptionError(option, detail)
}

/** Reads a count from `min` to `max`. Refuses anything but an integer in this range. */
export const count = (
  option: string,
  value: number | undefined,
  range: { readonly fallback: number; readonly min: number; readonly max?: number }
): number => {
  if (value === undefined) return range.fallback
  const { max = Number.MAX_SAFE_INTEGER, min } = range
  if (Number.isSafeInteger(value) && value >= min && value <= max) return value
  const limit = range.max === undefined ? `of at least ${min}` : `from ${min} to ${max}`
  return refuse(option, `must be an integer ${limit}, not ${value}`)
}

/** Reads a time in milliseconds of at least `min`. Refuses less, `NaN` and infinity. */
export const millis = (
  option: string,
  value: Duration.Input | undefined,
  range: { readonly fallback: number; readonly min: number }
): number => {
  if (value === undefined) return range.fallback
  // `Duration` takes `NaN` for zero.
  const time = Number.isNaN(value) ? Number.NaN : Duration.toMillis(value)
  if (Number.isFinite(time) && time >= range.min) return time
  return refuse(option, `must be a finite time of at least ${range.min} ms, not ${time} ms`)
}

/** Reads a name. Refuses one that is empty. */
export const name = (option: string, value: string): string =>
  typeof value === "string" && value !== "" ? value : refuse(option, "must be a non-empty string")
