import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as HttpClient from "effect/http/HttpClient"
import * as HttpClientRequest from "effect/http/HttpClientRequest"
import * as HttpClientResponse from "effect/http/HttpClientResponse"
import * as Schema from "effect/Schema"
import type * as Repair from "@makima-stream/core/Repair"
import * as RepairHttp from "@makima-stream/core/RepairHttp"
import * as TaskId from "@makima-stream/core/TaskId"

const Page = Schema.Struct({
  items: Schema.Array(Schema.Struct({ id: TaskId.TaskId, version: Schema.Int })),
  next: Schema.optionalKey(Schema.String)
})

const all: Repair.Ask = { _tag: "All" }
const [a, b] = [TaskId.make("a"), TaskId.make("b")]

/** An endpoint that answers with JSON, or a status, by path. */
const endpoint = (answers: Record<string, unknown>) => {
  const paths: Array<string> = []
  const client = HttpClient.make((request) => {
    const path = new URL(request.url).pathname
    paths.push(path)
    const answer = answers[path]
    const response = typeof answer === "number" ? new Response("", { status: answer }) : Response.json(answer)
    return Effect.succeed(HttpClientResponse.fromWeb(request, response))
  })
  return { paths, client }
}

const get = (path: string) => HttpClientRequest.get(`http://tasks.test${path}`)

const fetch = (options: Partial<RepairHttp.Options<typeof Page>> = {}) =>
  RepairHttp.make({
    request: () => get("/tasks"),
    schema: Page,
    tasks: ({ items }) => items.map(({ id, version }) => ({ taskId: id, version })),
    next: ({ next }) => (next === undefined ? undefined : get(next)),
    ...options
  })

const item = (id: string, version = 1) => ({ id, version })

describe("RepairHttp", () => {
  it.effect("reads every page, one after another", () =>
    Effect.gen(function* () {
      const { client, paths } = endpoint({
        "/tasks": { items: [item("a")], next: "/two" },
        "/two": { items: [item("b"), item("c")], next: "/three" },
        "/three": { items: [] }
      })
      const tasks = yield* fetch()(all).pipe(Effect.provideService(HttpClient.HttpClient, client))
      assert.deepStrictEqual(
        tasks.map(({ taskId }) => taskId),
        ["a", "b", "c"].map((id) => TaskId.make(id))
      )
      assert.deepStrictEqual(paths, ["/tasks", "/two", "/three"])
    })
  )

  it.effect("sends a request for each single task, and reads 404 as a task that does not exist", () =>
    Effect.gen(function* () {
      const { client, paths } = endpoint({ "/a": { items: [item("a", 3)] }, "/b": 404 })
      const request = (ask: Repair.Ask) => (ask._tag === "All" ? get("/tasks") : ask.taskIds.map((id) => get(`/${id}`)))
      const asks: Repair.Ask = { _tag: "Tasks", taskIds: [a, b] }
      const tasks = yield* fetch({ request })(asks).pipe(Effect.provideService(HttpClient.HttpClient, client))
      assert.deepStrictEqual(tasks, [{ taskId: a, version: 3 }])
      assert.sameMembers(paths, ["/a", "/b"])
    })
  )

  it.effect("fails at a status that is no success, also at 404 where all tasks are asked for", () =>
    Effect.gen(function* () {
      for (const status of [404, 500]) {
        const { client } = endpoint({ "/tasks": status })
        const error = yield* Effect.flip(fetch()(all).pipe(Effect.provideService(HttpClient.HttpClient, client)))
        assert.strictEqual(error._tag === "HttpClientError" && error.reason._tag, "StatusCodeError")
      }
    })
  )

  it.effect("fails at a body that does not fit the schema, and at a later page that fails", () =>
    Effect.gen(function* () {
      const wrong = endpoint({ "/tasks": { items: [{ id: "", version: 1 }] } })
      const schema = yield* Effect.flip(fetch()(all).pipe(Effect.provideService(HttpClient.HttpClient, wrong.client)))
      assert.strictEqual(schema._tag, "SchemaError")
      const late = endpoint({ "/tasks": { items: [item("a")], next: "/two" }, "/two": 503 })
      const status = yield* Effect.flip(fetch()(all).pipe(Effect.provideService(HttpClient.HttpClient, late.client)))
      assert.strictEqual(status._tag, "HttpClientError")
    })
  )

  it.effect("stops at a list that does not end", () =>
    Effect.gen(function* () {
      const { client, paths } = endpoint({ "/tasks": { items: [item("a")], next: "/tasks" } })
      const error = yield* Effect.flip(
        fetch({ maxPages: 3 })(all).pipe(Effect.provideService(HttpClient.HttpClient, client))
      )
      assert.strictEqual(error.message, "The snapshot has more than 3 pages")
      assert.strictEqual(paths.length, 3)
    })
  )
})
