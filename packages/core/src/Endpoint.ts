/**
 * The URL of the task feed, made from a server's URL.
 *
 * Transports (`NodeMeshSocket` of `@makima-stream/node`, `MeshSocket`) use it to accept
 * a server's URL in several spellings. An error contains no part of a refused URL,
 * since that may contain a password.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as SchemaIssue from "effect/SchemaIssue"
import * as SchemaTransformation from "effect/SchemaTransformation"

/**
 * The URL of Makima's public server.
 *
 * @category constants
 * @since 0.1.0
 */
export const publicServer = "https://api.makima.jp"

const apiPath = "/api/v1"
const feedPath = "/mesh/tasks/subscribe"

/**
 * The URL of a task feed as a client dials it: `ws` or `wss`, ending in the feed's
 * path, without credentials, query or fragment.
 *
 * @category schemas
 * @since 0.1.0
 */
export const Endpoint = Schema.String.check(
  Schema.makeFilter((url) => isEndpoint(url), { expected: "the ws or wss URL of a task feed" })
).pipe(Schema.brand("MeshEndpoint"))

/**
 * The URL of a task feed: see the schema of the same name.
 *
 * @category models
 * @since 0.1.0
 */
export type Endpoint = typeof Endpoint.Type

/**
 * A URL that cannot be the URL of a task feed.
 *
 * **Details**
 *
 * `problem` is the violated rule:
 *
 * - `Empty`: it is empty, or only white space.
 * - `Protocol`: it does not begin with `https://`, `http://`, `wss://` or
 *   `ws://`.
 * - `Credentials`: it contains a user or a password. A key belongs in a header,
 *   where proxies do not log it.
 * - `Query`, `Fragment`: it has a query or a fragment. The feed's URL has neither.
 * - `Malformed`: it is not a URL for another reason.
 *
 * **Example** (The error message)
 *
 * ```ts
 * import * as Result from "effect/Result"
 * import * as Endpoint from "@makima-stream/core/Endpoint"
 *
 * const result = Endpoint.fromString("https://me:secret@example.com")
 * if (Result.isFailure(result)) {
 *   console.log(result.failure.message) // The server's URL must not contain a user or a password
 * }
 * ```
 *
 * @category errors
 * @since 0.1.0
 */
export class InvalidUrl extends Schema.TaggedError<InvalidUrl>("@makima-stream/core/Endpoint/InvalidUrl")(
  "InvalidUrl",
  {
    /** The rule that the URL breaks. */
    problem: Schema.Literals(["Empty", "Protocol", "Credentials", "Query", "Fragment", "Malformed"])
  }
) {
  /** One line that says what is wrong, without any part of the URL. */
  override get message(): string {
    switch (this.problem) {
      case "Empty":
        return "The server's URL is empty"
      case "Protocol":
        return "The server's URL must begin with https://, http://, wss:// or ws://"
      case "Credentials":
        return "The server's URL must not contain a user or a password"
      case "Query":
        return "The server's URL must not have a query (the part after ?)"
      case "Fragment":
        return "The server's URL must not have a fragment (the part after #)"
      case "Malformed":
        return "The server's URL is not a valid URL"
    }
  }
}

/**
 * Returns the endpoint for a server's URL.
 *
 * **Details**
 *
 * `http` and `https` become `ws` and `wss`. The URLs of the server (`https://host`), of
 * its API (`https://host/api/v1`) and of the feed
 * (`wss://host/api/v1/mesh/tasks/subscribe`) return the same endpoint, with or without
 * a slash at the end. Any other path is a prefix under which a proxy serves the API:
 * `https://host/makima` becomes `wss://host/makima/api/v1/mesh/tasks/subscribe`. White
 * space around the URL is ignored.
 *
 * **Example** (A server's URL)
 *
 * ```ts
 * import * as Result from "effect/Result"
 * import * as Endpoint from "@makima-stream/core/Endpoint"
 *
 * console.log(Result.getOrThrow(Endpoint.fromString("https://api.makima.jp/")))
 * // wss://api.makima.jp/api/v1/mesh/tasks/subscribe
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const fromString = (input: string): Result.Result<Endpoint, InvalidUrl> => {
  const text = input.trim()
  if (text === "") return refuse("Empty")
  const parts = /^(https?|wss?):\/\/([^/?#]*)(.*)$/is.exec(text)
  if (parts === null) return refuse("Protocol")
  const [, protocol = "", authority = "", rest = ""] = parts
  if (authority.includes("@")) return refuse("Credentials")
  if (rest.includes("#")) return refuse("Fragment")
  if (rest.includes("?")) return refuse("Query")
  // `new URL` would read these as a slash, or drop them, instead of refusing them.
  // oxlint-disable-next-line no-control-regex
  if (authority === "" || /[\\\s\u0000-\u001f\u007f]/.test(text)) return refuse("Malformed")
  let url: URL
  try {
    url = new URL(text)
  } catch {
    return refuse("Malformed")
  }
  const scheme = /^(https|wss)$/i.test(protocol) ? "wss" : "ws"
  // Parsed again with the new scheme, since a URL omits the default port of its scheme.
  return Result.succeed(Endpoint.make(new URL(`${scheme}://${url.host}${feedPathOf(url.pathname)}`).href))
}

/**
 * Decodes a server's URL, in every spelling that `fromString` accepts, to the
 * endpoint. An endpoint encodes as itself.
 *
 * **Example** (A URL in a configuration file)
 *
 * ```ts
 * import * as Schema from "effect/Schema"
 * import * as Endpoint from "@makima-stream/core/Endpoint"
 *
 * const Settings = Schema.Struct({ server: Endpoint.FromString })
 * const settings = Schema.decodeUnknownSync(Settings)({ server: "http://localhost:8080" })
 * console.log(settings.server) // ws://localhost:8080/api/v1/mesh/tasks/subscribe
 * ```
 *
 * @category schemas
 * @since 0.1.0
 */
export const FromString = Schema.String.pipe(
  Schema.decodeTo(
    Schema.toType(Endpoint),
    SchemaTransformation.transformEffect({
      decode: (input: string, options) =>
        Effect.mapError(
          Effect.fromResult(fromString(input)),
          (error) => new SchemaIssue.InvalidValue({ message: error.message }, input, options)
        ),
      encode: (endpoint: Endpoint) => Effect.succeed(endpoint)
    })
  )
)

const refuse = (problem: InvalidUrl["problem"]) => Result.fail(new InvalidUrl({ problem }))

const feedPathOf = (pathname: string): string => {
  const path = pathname.replace(/\/+$/, "")
  if (path.endsWith(feedPath)) return path
  return path.endsWith(apiPath) ? path + feedPath : path + apiPath + feedPath
}

/** Whether a string is an endpoint. It cannot call `fromString`, which uses the schema. */
function isEndpoint(input: string): boolean {
  if (!/^wss?:/.test(input) || /[?#]/.test(input)) return false
  try {
    const url = new URL(input)
    return url.href === input && url.username === "" && url.password === "" && url.pathname.endsWith(feedPath)
  } catch {
    return false
  }
}
