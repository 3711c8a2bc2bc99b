/** Flags of several commands, and the values that they accept. */
import * as Flag from "effect/cli/Flag"
import * as GlobalFlag from "effect/cli/GlobalFlag"

const units: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 }

/** Reads a duration such as `90s`, `1.5h`, `1h30m` or `30 minutes`, in milliseconds. Throws an error that says what is wrong. */
export const parseDuration = (text: string): number => {
  const pattern = /(\d+(?:\.\d+)?)\s*(milliseconds?|millis|ms|seconds?|secs?|s|minutes?|mins?|m|hours?|h|days?|d)\s*/gy
  let total = 0
  let end = 0
  for (const [match, amount = "", unit = ""] of text.trim().matchAll(pattern)) {
    const key = unit.startsWith("ms") || unit.startsWith("milli") ? "ms" : unit.charAt(0)
    total += Number(amount) * (units[key] ?? 0)
    end += match.length
  }
  if (end === 0 || end !== text.trim().length) throw new Error(`"${text}" is not a duration such as 30s, 5m or 1h30m`)
  if (total > Number.MAX_SAFE_INTEGER) throw new Error(`"${text}" is too long`)
  return total
}

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error))

/** A flag whose value is a duration, in milliseconds. */
export const duration = (name: string): Flag.Flag<number> =>
  Flag.String(name).pipe(Flag.withMetavar("<duration>"), Flag.mapTryCatch(parseDuration, messageOf))

/** A flag whose value is a whole number of at least `minimum`. */
export const count = (name: string, minimum: number, maximum = Number.MAX_SAFE_INTEGER): Flag.Flag<number> =>
  Flag.Int(name).pipe(
    Flag.filter(
      (n) => n >= minimum && n <= maximum,
      (n) =>
        `Expected a whole number from ${minimum}${maximum === Number.MAX_SAFE_INTEGER ? "" : ` to ${maximum}`}, got ${n}`
    )
  )

/** A flag whose values are regular expressions. May be repeated. */
export const patterns = (name: string): Flag.Flag<ReadonlyArray<RegExp>> =>
  Flag.String(name).pipe(
    Flag.withMetavar("<regex>"),
    Flag.mapTryCatch((text) => new RegExp(text, "u"), messageOf),
    Flag.atLeast(0)
  )

/** A flag whose values are words. May be repeated, and may have several values with commas between them. */
export const words = (name: string): Flag.Flag<ReadonlyArray<string>> =>
  Flag.String(name).pipe(
    Flag.atLeast(0),
    Flag.map((values) => values.flatMap((value) => value.split(",")).filter((value) => value !== ""))
  )

/** How data is printed. */
export const output = Flag.Literals("output", ["text", "json", "raw"]).pipe(
  Flag.withAlias("o"),
  Flag.withDescription("text to read, json for programs (one object a line), raw for the server's frames"),
  Flag.withDefault("text")
)

/** How data is printed by a command without frames: `text` or `json`. */
export const textOrJson = Flag.Literals("output", ["text", "json"]).pipe(
  Flag.withAlias("o"),
  Flag.withDescription("text to read, json for programs (one object a line)"),
  Flag.withDefault("text")
)

/** Whether the connection's lifecycle is printed to standard error. */
export const quiet = Flag.Boolean("quiet").pipe(
  Flag.withAlias("q"),
  Flag.withDescription("Do not print the connection's lifecycle to standard error"),
  Flag.withDefault(false)
)

/** Whether colours are used, for every command. */
export const color = GlobalFlag.Setting("color")({
  flag: Flag.Literals("color", ["auto", "always", "never"]).pipe(
    Flag.withDescription("Whether to use colours. auto: on a terminal, unless NO_COLOR is set or TERM is dumb"),
    Flag.withDefault("auto")
  )
})
