/**
 * The errors of the gateway.
 *
 * @since 0.2.0
 */
import * as Schema from "effect/Schema"

/**
 * The gateway could not listen on its port.
 *
 * @category errors
 * @since 0.2.0
 */
export class ListenError extends Schema.TaggedError<ListenError>("@makima-stream/gateway/GatewayError/ListenError")(
  "ListenError",
  {
    /** The requested address. */
    host: Schema.String,
    /** The requested port. */
    port: Schema.Int,
    /** The error of the platform. */
    cause: Schema.Defect()
  }
) {
  /** One line with the address and the port. */
  override get message(): string {
    return `The gateway could not listen on ${this.host}, port ${this.port}`
  }
}

/**
 * The options would let others than the user of this machine read the feed unprotected.
 *
 * @category errors
 * @since 0.2.0
 */
export class UnsafeOptions extends Schema.TaggedError<UnsafeOptions>(
  "@makima-stream/gateway/GatewayError/UnsafeOptions"
)("UnsafeOptions", {
  /** What is missing. */
  problem: Schema.String
}) {
  /** One line that says what is missing. */
  override get message(): string {
    return this.problem
  }
}

/**
 * Every error of the gateway.
 *
 * @category errors
 * @since 0.2.0
 */
export type GatewayError = ListenError | UnsafeOptions
