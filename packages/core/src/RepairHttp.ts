/**
 * Snapshots for a `Repair` from a REST endpoint.
 *
 * The program knows the endpoint: it builds the requests, gives the schema of a body,
 * and finds the tasks and the next page in it. This module sends, decodes and collects.
 *
 * It is not part of the package's root, because it loads `effect/http`.
 *
 * @since 0.2.0
 */
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as HttpClient from "effect/http/HttpClient"
import type * as HttpClientError from "effect/http/HttpClientError"
import * as HttpClientRequest from "effect/http/HttpClientRequest"
import * as HttpClientResponse from "effect/http/HttpClientResponse"
import * as HttpIncomingMessage from "effect/http/HttpIncomingMessage"
import type * as Schema from "effect/Schema"
import { atLeast } from "./internal/bounds.ts"
import type { Ask, TaskSnapshot } from "./Repair.ts"

/**
 * The endpoint has more pages than `maxPages`. Perhaps `next` always returns the same
 * page.
 *
 * @category errors
 * @since 0.2.0
 */
export class TooManyPages extends Data.TaggedError("TooManyPages")<{
  /** The limit. */
  readonly maxPages: number
}> {
  /** What happened, in one line. */
  override get message(): string {
    return `The snapshot has more than ${this.maxPages} pages`
  }
}

/**
 * Options of `make`.
 *
 * @category options
 * @since 0.2.0
 */
export interface Options<S extends Schema.Constraint> {
  /**
   * The request of the first page, or several requests whose answers are put together,
   * such as one for each of the tasks that `ask` names.
   */
  readonly request: (
    ask: Ask
  ) => HttpClientRequest.HttpClientRequest | ReadonlyArray<HttpClientRequest.HttpClientRequest>
  /** The schema of the JSON in a body. */
  readonly schema: S
  /** The tasks in a body. */
  readonly tasks: (body: S["Type"]) => ReadonlyArray<TaskSnapshot>
  /**
   * The request of the page after a body, or `undefined` after the last one. Its second
   * argument is the request of that body. Defaults to one page.
   */
  readonly next?:
    | ((
        body: S["Type"],
        request: HttpClientRequest.HttpClientRequest
      ) => HttpClientRequest.HttpClientRequest | undefined)
    | undefined
  /** How many pages a request may have, at least 1. Defaults to 1,000. */
  readonly maxPages?: number | undefined
  /** How many requests run at once, at least 1. The pages of one request follow one another. Defaults to 4. */
  readonly concurrency?: number | undefined
}

/**
 * Makes a `fetch` for `Repair` that asks a REST endpoint.
 *
 * **Details**
 *
 * - A status outside 200 to 299 is a failure, and so is a body that does not fit the
 *   schema. Where single tasks are asked for, 404 means that there is no such task.
 * - If a page fails, the snapshot fails. `retry` of the repair begins it again.
 * - Set what every request needs, such as a key, on the `HttpClient`
 *   (`HttpClient.mapRequest`).
 *
 * **Gotchas**
 *
 * A list of pages is read while tasks change: one that moves between pages may be
 * missing. Leave `complete` of the repair `false`, unless the endpoint reads all pages
 * from one state.
 *
 * **Example** (A list with pages)
 *
 * ```ts
 * import * as Effect from "effect/Effect"
 * import * as HttpClient from "effect/http/HttpClient"
 * import * as HttpClientRequest from "effect/http/HttpClientRequest"
 * import * as HttpClientResponse from "effect/http/HttpClientResponse"
 * import * as Schema from "effect/Schema"
 * import * as RepairHttp from "@makima-stream/core/RepairHttp"
 * import * as TaskId from "@makima-stream/core/TaskId"
 *
 * const Page = Schema.Struct({
 *   items: Schema.Array(Schema.Struct({ id: TaskId.TaskId, version: Schema.Int, state: Schema.String })),
 *   next: Schema.optionalKey(Schema.String)
 * })
 *
 * const fetch = RepairHttp.make({
 *   request: () => HttpClientRequest.get("https://tasks.example/tasks"),
 *   schema: Page,
 *   tasks: ({ items }) => items.map(({ id, state, version }) => ({ taskId: id, version, status: state })),
 *   next: ({ next }) => (next === undefined ? undefined : HttpClientRequest.get(next))
 * })
 *
 * // A server for the example.
 * const server = HttpClient.make((request) =>
 *   Effect.succeed(
 *     HttpClientResponse.fromWeb(
 *       request,
 *       Response.json(
 *         request.url.endsWith("/tasks")
 *           ? { items: [{ id: "a", version: 1, state: "done" }], next: "https://tasks.example/tasks?after=a" }
 *           : { items: [{ id: "b", version: 4, state: "running" }] }
 *       )
 *     )
 *   )
 * )
 * const program = Effect.provideService(fetch({ _tag: "All" }), HttpClient.HttpClient, server)
 * console.log((await Effect.runPromise(program)).map(({ taskId }) => taskId)) // ["a", "b"]
 * ```
 *
 * @category constructors
 * @since 0.2.0
 */
export const make = <S extends Schema.Constraint>(
  options: Options<S>
): ((
  ask: Ask
) => Effect.Effect<
  ReadonlyArray<TaskSnapshot>,
  HttpClientError.HttpClientError | Schema.SchemaError | TooManyPages,
  HttpClient.HttpClient | S["DecodingServices"]
>) => {
  const { next, request, tasks } = options
  const maxPages = atLeast(1, options.maxPages ?? 1000)
  const concurrency = atLeast(1, options.concurrency ?? 4)
  const decode = HttpIncomingMessage.schemaBodyJson(options.schema)

  const pagesOf = Effect.fnUntraced(function* (first: HttpClientRequest.HttpClientRequest, mayBeAbsent: boolean) {
    const found: Array<TaskSnapshot> = []
    let page: HttpClientRequest.HttpClientRequest | undefined = first
    for (let n = 0; page !== undefined; n++) {
      if (n === maxPages) return yield* new TooManyPages({ maxPages })
      const response: HttpClientResponse.HttpClientResponse = yield* HttpClient.execute(page)
      if (mayBeAbsent && response.status === 404) return found
      const body: S["Type"] = yield* decode(yield* HttpClientResponse.filterStatusOk(response))
      for (const task of tasks(body)) found.push(task)
      page = next?.(body, page)
    }
    return found
  })

  return (ask) => {
    const first = request(ask)
    const requests = HttpClientRequest.isHttpClientRequest(first) ? [first] : first
    return Effect.map(
      Effect.forEach(requests, (each) => pagesOf(each, ask._tag === "Tasks"), { concurrency }),
      (found) => found.flat()
    )
  }
}
