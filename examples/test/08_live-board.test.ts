import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as HttpClient from "effect/http/HttpClient"
import * as HttpClientResponse from "effect/http/HttpClientResponse"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import * as ScriptedMesh from "@makima-stream/test-kit/ScriptedMesh"
import { boards, layerClient } from "../src/08_live-board.ts"
import { a, awaitRequest, b, gather, pass, settle, update } from "./support/mesh.ts"

const url = new URL("http://tasks.test/tasks")

/** A REST server as a test double: one task on each page. */
const restServer = () => {
  const tasks = new Map<string, { readonly version: number; readonly status: string }>()
  let isDown = false
  let requests = 0
  const client = HttpClient.make((request) => {
    requests++
    const n = Number(new URL(request.url).searchParams.get("page") ?? 0)
    const [id, row] = [...tasks][n] ?? []
    const page = {
      tasks: row === undefined ? [] : [{ id, ...row }],
      ...(n + 1 < tasks.size ? { next: `${url.href}?page=${n + 1}` } : {})
    }
    const response = isDown ? new Response("", { status: 503 }) : Response.json(page)
    return Effect.succeed(HttpClientResponse.fromWeb(request, response))
  })
  return {
    client,
    set: (id: string, version: number, status: string) => tasks.set(id, { version, status }),
    down: (value: boolean) => {
      isDown = value
    },
    requests: () => requests
  }
}

/** Runs the board on a mesh and a REST server. */
const run = Effect.fnUntraced(function* (rest: ReturnType<typeof restServer>) {
  const mesh = yield* ScriptedMesh.ScriptedMesh
  const layer = layerClient(url).pipe(
    Layer.provide([Layer.succeed(HttpClient.HttpClient, rest.client), Layer.succeed(ScriptedMesh.ScriptedMesh, mesh)])
  )
  const { got } = yield* gather(Stream.provide(boards, layer))
  yield* awaitRequest(mesh, 1)
  return { mesh, got }
})

/** Loses the connection, lets the server change, and waits for the next connection. */
const cut = (mesh: ScriptedMesh.ScriptedMesh["Service"], meanwhile: () => void) =>
  Effect.gen(function* () {
    yield* mesh.kill()
    meanwhile()
    yield* settle
    yield* pass(2)
    yield* awaitRequest(mesh, 2)
  })

describe("08 live board", () => {
  it.effect("shows tasks that ran before, and ends the one that ended while the connection was down", () =>
    Effect.gen(function* () {
      const rest = restServer()
      rest.set(b, 7, "running")
      const { got, mesh } = yield* run(rest)
      yield* mesh.emit(update(a, "running", 1))
      rest.set(a, 1, "running")
      yield* pass(1)
      assert.strictEqual(got.at(-1), "2 live, 0 ended")
      yield* cut(mesh, () => rest.set(a, 2, "done"))
      yield* pass(1)
      assert.include(got, "2 live, 0 ended (may be out of date)")
      assert.strictEqual(got.at(-1), "1 live, 1 ended")
      // Two tasks, a page each, after two marks.
      assert.strictEqual(rest.requests(), 4)
    }).pipe(Effect.provide(ScriptedMesh.layer()))
  )

  it.effect("says that it may be out of date as long as the endpoint is down", () =>
    Effect.gen(function* () {
      const rest = restServer()
      const { got, mesh } = yield* run(rest)
      yield* mesh.emit(update(a, "running", 1))
      rest.set(a, 1, "running")
      yield* pass(1)
      yield* cut(mesh, () => {
        rest.set(a, 2, "done")
        rest.down(true)
      })
      yield* pass(5)
      assert.strictEqual(got.at(-1), "1 live, 0 ended (may be out of date)")
      rest.down(false)
      yield* pass(20)
      assert.strictEqual(got.at(-1), "0 live, 1 ended")
    }).pipe(Effect.provide(ScriptedMesh.layer()))
  )
})
