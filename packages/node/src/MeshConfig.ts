/**
 * The configuration of a program on the task feed: the server's URL and the key.
 *
 * `NodeMeshSocket.layerConfig` reads it by itself. Use this module to check the
 * configuration before the program starts, or to show the URL. All values are read
 * through Effect's `ConfigProvider`, which by default reads environment variables.
 *
 * @since 0.1.0
 */
import * as Endpoint from "@makima-stream/core/Endpoint"
import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import { isHeaderValue } from "./internal/options.ts"

/**
 * The name of the variable with the server's URL.
 *
 * @category constants
 * @since 0.1.0
 */
export const urlVariable = "MAKIMA_API_URL"

/**
 * The name of the variable with the key.
 *
 * @category constants
 * @since 0.1.0
 */
export const apiKeyVariable = "MAKIMA_API_KEY"

/**
 * A variable is missing, or its value cannot be used.
 *
 * **Example** (The error message)
 *
 * ```ts
 * import * as ConfigProvider from "effect/ConfigProvider"
 * import * as Effect from "effect/Effect"
 * import * as MeshConfig from "@makima-stream/node/MeshConfig"
 *
 * const error = MeshConfig.load.pipe(
 *   Effect.provideService(ConfigProvider.ConfigProvider, ConfigProvider.fromUnknown({})),
 *   Effect.flip,
 *   Effect.runSync
 * )
 * console.log(error.message) // MAKIMA_API_KEY is not set: it must contain the key for the Makima server
 * ```
 *
 * @category errors
 * @since 0.1.0
 */
export class MeshConfigError extends Schema.TaggedError<MeshConfigError>(
  "@makima-stream/node/MeshConfig/MeshConfigError"
)("MeshConfigError", {
  /** The variable's name. */
  variable: Schema.String,
  /** Whether the variable is missing, has a value that cannot be used, or cannot be read. */
  problem: Schema.Literals(["Missing", "Invalid", "Unreadable"]),
  /** A description of the problem. Does not contain the value of the variable. */
  detail: Schema.String
}) {
  /** One line that names the variable. */
  override get message(): string {
    return `${this.variable}${this.problem === "Invalid" ? ": " : " "}${this.detail}`
  }
}

/**
 * The configuration.
 *
 * @category models
 * @since 0.1.0
 */
export interface MeshConfig {
  /** The feed's URL. */
  readonly url: Endpoint.Endpoint
  /** The key. */
  readonly apiKey: Redacted.Redacted
}

// A stack trace does not help to set a variable. Without it, `runMain` prints a single line.
const configError = (fields: ConstructorParameters<typeof MeshConfigError>[0]): MeshConfigError => {
  const error = new MeshConfigError(fields)
  error.stack = `${error.name}: ${error.message}`
  return error
}

const read = (variable: string): Effect.Effect<Option.Option<string>, MeshConfigError> =>
  Effect.mapError(
    Config.option(Config.String(variable)),
    // The text of the error is omitted, because it may contain the value.
    () => configError({ variable, problem: "Unreadable", detail: "could not be read" })
  )

/**
 * The feed's URL, from `MAKIMA_API_URL`. Defaults to that of the public server.
 * An empty variable counts as missing.
 *
 * @category configuration
 * @since 0.1.0
 */
export const url: Effect.Effect<Endpoint.Endpoint, MeshConfigError> = Effect.flatMap(read(urlVariable), (value) =>
  Effect.mapError(
    Effect.fromResult(Endpoint.fromString(Option.getOrElse(value, () => Endpoint.publicServer))),
    (error) => configError({ variable: urlVariable, problem: "Invalid", detail: error.message })
  )
)

/**
 * The key, from `MAKIMA_API_KEY`. White space around it is ignored, since a file with a
 * key often ends with a line break.
 *
 * @category configuration
 * @since 0.1.0
 */
export const apiKey: Effect.Effect<Redacted.Redacted, MeshConfigError> = Effect.flatMap(
  read(apiKeyVariable),
  (value) => {
    const key = Option.getOrElse(value, () => "").trim()
    if (key === "") {
      return Effect.fail(
        configError({
          variable: apiKeyVariable,
          problem: "Missing",
          detail: "is not set: it must contain the key for the Makima server"
        })
      )
    }
    return isHeaderValue(key)
      ? Effect.succeed(Redacted.make(key))
      : Effect.fail(
          configError({
            variable: apiKeyVariable,
            problem: "Invalid",
            detail: "The key has characters that are not allowed in an HTTP header"
          })
        )
  }
)

/**
 * The URL and the key.
 *
 * @category configuration
 * @since 0.1.0
 */
export const load: Effect.Effect<MeshConfig, MeshConfigError> = Effect.all({ url, apiKey })
