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
  /** What is missing, in terms of the options of `Gateway.make`. */
  problem: Schema.String,
  /** The option to set: `token` is missing or too short, or `tls` is missing. */
  option: Schema.Literals(["token", "tls"])
}) {
  /** One line that says what is missing. */
  override get message(): string {
    return this.problem
  }
}

/**
 * The certificate or the key of the option `tls` cannot be used.
 *
 * @category errors
 * @since 0.2.0
 */
export class InvalidTls extends Schema.TaggedError<InvalidTls>("@makima-stream/gateway/GatewayError/InvalidTls")(
  "InvalidTls",
  {
    /** The error of the platform. */
    cause: Schema.Defect()
  }
) {
  /** One line without the content of the files. */
  override get message(): string {
    return "The TLS certificate and its key cannot be used: both must be PEM, and belong together"
  }
}

/**
 * The option `publicUrl` is not an `http` or `https` URL without a path.
 *
 * @category errors
 * @since 0.2.0
 */
export class InvalidPublicUrl extends Schema.TaggedError<InvalidPublicUrl>(
  "@makima-stream/gateway/GatewayError/InvalidPublicUrl"
)("InvalidPublicUrl", {}) {
  /** One line with an example. */
  override get message(): string {
    return "The public URL must be an http or https URL without a path, such as https://board.example.com"
  }
}

/**
 * An option has a value that makes no sense. The gateway was not started.
 *
 * @category errors
 * @since 0.2.0
 */
export class InvalidOption extends Schema.TaggedError<InvalidOption>(
  "@makima-stream/gateway/GatewayError/InvalidOption"
)("InvalidOption", {
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
 * Every error of the gateway.
 *
 * @category errors
 * @since 0.2.0
 */
export type GatewayError = ListenError | UnsafeOptions | InvalidTls | InvalidPublicUrl | InvalidOption
