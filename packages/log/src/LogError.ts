/**
 * The error of a log, with a tagged `reason`.
 *
 * Recover by reason with `Effect.catchReason("LogError", "Fenced", …)`.
 *
 * @since 0.2.0
 */
import * as Schema from "effect/Schema"

/** A tagged error whose identifier names this module, so that it is unique across packages. */
const TaggedError =
  <Self>() =>
  <const Tag extends string, const Fields extends Schema.Struct.Fields>(tag: Tag, fields: Fields) =>
    Schema.TaggedError<Self>(`@makima-stream/log/LogError/${tag}`)(tag, fields)

/**
 * The log cannot be reached or opened now: the server is down, the file cannot be
 * opened, or another process has locked it for too long. Retrying can help.
 *
 * @category reasons
 * @since 0.2.0
 */
export class Unavailable extends TaggedError<Unavailable>()("Unavailable", {
  /** The engine's error. */
  cause: Schema.Defect()
}) {
  /** What happened, in one line. */
  override get message(): string {
    return `The log is not available${detail(this.cause)}`
  }
}

/**
 * The log has no space left: the disk is full, or a quota is used up. No event of the
 * batch was appended. The log can still be read.
 *
 * @category reasons
 * @since 0.2.0
 */
export class Full extends TaggedError<Full>()("Full", {
  /** The engine's error. */
  cause: Schema.Defect()
}) {
  /** What happened, in one line. */
  override get message(): string {
    return `The log has no space left${detail(this.cause)}`
  }
}

/**
 * A part of the log cannot be read. A reader receives every entry before it.
 *
 * **Details**
 *
 * To read the entries after the damage, start after a later position. To save the readable
 * entries, copy them to a new log.
 *
 * @category reasons
 * @since 0.2.0
 */
export class Damaged extends TaggedError<Damaged>()("Damaged", {
  /** The position of the first entry that cannot be read, if it is known. */
  position: Schema.optionalKey(Schema.Int),
  /** The engine's error. */
  cause: Schema.Defect()
}) {
  /** What happened, in one line. */
  override get message(): string {
    const where = this.position === undefined ? "" : ` at position ${this.position}`
    return `The log is damaged${where}${detail(this.cause)}`
  }
}

/**
 * The lease of an append is lost: another process has acquired it. No event of the batch
 * was appended.
 *
 * @category reasons
 * @since 0.2.0
 */
export class Fenced extends TaggedError<Fenced>()("Fenced", {
  /** The name of the lease. */
  lease: Schema.String,
  /** The term of the writer that was refused. */
  term: Schema.Int
}) {
  /** What happened, in one line. */
  override get message(): string {
    return `Term ${this.term} of the lease "${this.lease}" is over, so its append was refused`
  }
}

/**
 * The log was written by a newer version of this package.
 *
 * @category reasons
 * @since 0.2.0
 */
export class UnsupportedVersion extends TaggedError<UnsupportedVersion>()("UnsupportedVersion", {
  /** The version of the log's schema. */
  found: Schema.Int,
  /** The newest version that this package reads. */
  supported: Schema.Int
}) {
  /** What happened, in one line. */
  override get message(): string {
    return `The log has schema version ${this.found}, and this package supports up to version ${this.supported}`
  }
}

/**
 * An event is larger than the log accepts. No event of the batch was appended.
 *
 * @category reasons
 * @since 0.2.0
 */
export class TooLarge extends TaggedError<TooLarge>()("TooLarge", {
  /** The size of the encoded event in bytes. */
  bytes: Schema.Int,
  /** The largest size in bytes that the log accepts. */
  limit: Schema.Int
}) {
  /** What happened, in one line. */
  override get message(): string {
    return `An event of ${this.bytes} bytes exceeds the limit of ${this.limit} bytes`
  }
}

/**
 * An option has a value that makes no sense. Nothing was opened or changed.
 *
 * @category reasons
 * @since 0.2.0
 */
export class InvalidOption extends TaggedError<InvalidOption>()("InvalidOption", {
  /** The name of the option. */
  option: Schema.String,
  /** What it must be. */
  detail: Schema.String
}) {
  /** One line that names the option. */
  override get message(): string {
    return `The option "${this.option}" ${this.detail}`
  }
}

/**
 * Every reason of a `LogError`.
 *
 * @category reasons
 * @since 0.2.0
 */
export const LogErrorReason = Schema.Union([
  Unavailable,
  Full,
  Damaged,
  Fenced,
  UnsupportedVersion,
  TooLarge,
  InvalidOption
])

/**
 * Every reason of a `LogError`.
 *
 * @category reasons
 * @since 0.2.0
 */
export type LogErrorReason = typeof LogErrorReason.Type

/**
 * The error of a log. `reason` says why.
 *
 * **Example** (Recovering by reason)
 *
 * ```ts
 * import * as Effect from "effect/Effect"
 * import * as LogError from "@makima-stream/log/LogError"
 *
 * const append = Effect.fail(new LogError.LogError({ reason: new LogError.Fenced({ lease: "relay", term: 3 }) }))
 * const program = append.pipe(
 *   Effect.catchReason("LogError", "Fenced", ({ term }) => Effect.succeed(`term ${term} is over`))
 * )
 * console.log(Effect.runSync(program)) // term 3 is over
 * ```
 *
 * @category errors
 * @since 0.2.0
 */
export class LogError extends TaggedError<LogError>()("LogError", {
  /** The reason. */
  reason: LogErrorReason
}) {
  /** The reason's message. */
  override get message(): string {
    return this.reason.message
  }
  /** `true` if the same call may succeed later without a change by the caller. */
  get isRetryable(): boolean {
    return this.reason._tag === "Unavailable" || this.reason._tag === "Full"
  }
}

function detail(cause: unknown): string {
  return cause instanceof Error && cause.message !== "" ? `: ${cause.message}` : ""
}
