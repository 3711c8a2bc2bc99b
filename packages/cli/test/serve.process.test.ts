/** `makima-stream serve` as a process. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as MockMeshServer from "@makima-stream/test-kit/MockMeshServer"
import { board, get, loginUrl, open, signIn, until } from "./support/browser.ts"
import { a, update } from "./support/mesh.ts"
import { start } from "./support/process.ts"

const key = "the-key-of-the-server"

describe("makima-stream serve", () => {
  it.live(
    "prints a URL that signs a browser in, serves the page and the feed, and closes its clients when it ends",
    () =>
      Effect.gen(function* () {
        const server = yield* MockMeshServer.make({ apiKey: Redacted.make(key) })
        const gateway = yield* start(["serve", "--url", server.url, "--port", "0"], { env: { MAKIMA_API_KEY: key } })
        const first = loginUrl(yield* gateway.awaitOut("\n"))
        yield* gateway.awaitErr("complete from here on")
        const { origin } = new URL(first)
        assert.strictEqual((yield* get(origin)).status, 401)

        const { cookie, reply } = yield* signIn(first)
        const page = yield* get(`${origin}/`, { cookie })
        assert.strictEqual(page.status, 200)
        assert.match(page.body, /<!doctype html>/i)
        const script = /src="(\/assets\/[^"]+\.js)"/.exec(page.body)?.[1] ?? ""
        const code = yield* get(`${origin}${script}`, { cookie })
        assert.deepStrictEqual([code.status, code.headers.get("content-type")], [200, "text/javascript; charset=utf-8"])

        const client = yield* open(origin, { cookie })
        assert.deepStrictEqual(client.frames, [`{"type":"subscribedAll"}`])
        yield* server.emit(update(a, "running", 1))
        yield* until(
          Effect.sync(() => client.frames.length),
          (length) => length === 2
        )
        assert.include(client.frames[1], `"taskUpdated"`)
        const tasks = yield* get(`${origin}${board}`, { cookie })
        assert.include(tasks.body, a)
        const metrics = yield* get(`${origin}/metrics`, { cookie })
        assert.include(metrics.body, "makima_gateway_clients 1")

        yield* gateway.signal("SIGTERM")
        assert.strictEqual(yield* client.closed, 1001)
        const { code: exitCode, stderr, stdout } = yield* gateway.ended
        assert.strictEqual(exitCode, 130)
        const answers = [page, tasks, metrics, reply].map(({ body, headers }) => body + JSON.stringify([...headers]))
        for (const text of [stdout, stderr, ...client.frames, ...answers]) assert.notInclude(text, key)
      })
  )
})
