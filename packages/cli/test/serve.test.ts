/** `makima-stream serve` in the process of the test. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Redacted from "effect/Redacted"
import * as NodeServices from "@effect/platform-node/NodeServices"
import * as MockMeshServer from "@makima-stream/test-kit/MockMeshServer"
import { fileURLToPath } from "node:url"
import { WebSocket } from "ws"
import { board, feed, get, loginUrl, signIn, until } from "./support/browser.ts"
import { run, start } from "./support/command.ts"
import { a, b, update } from "./support/mesh.ts"
import { assertOneLine, objects } from "./support/output.ts"

const key = "the-key-of-the-server"

const serve = (server: MockMeshServer.Service, args: ReadonlyArray<string> = []) =>
  start(["serve", "--url", server.url, "--port", "0", ...args], { env: { MAKIMA_API_KEY: key } })

describe("makima-stream serve", () => {
  it.live("prints the next URL when the last was used, so that another browser can sign in", () =>
    Effect.gen(function* () {
      const server = yield* MockMeshServer.make()
      const gateway = yield* serve(server, ["-o", "json"])
      const first = String(objects(yield* gateway.awaitOut("\n")).at(-1)?.["loginUrl"])
      const one = yield* signIn(first)
      const printed = yield* until(gateway.printed, (text) => text.split("\n").length === 3)
      const second = String(objects(printed).at(-1)?.["loginUrl"])
      assert.strictEqual((yield* get(first)).status, 403)
      const other = yield* signIn(second)
      const { origin } = new URL(first)
      for (const { cookie } of [one, other])
        assert.strictEqual((yield* get(`${origin}${board}`, { cookie })).status, 200)
    })
  )

  it.live("makes the token of programs, with which every other command can use the gateway as its server", () =>
    Effect.gen(function* () {
      const fs = yield* FileSystem.FileSystem
      const file = `${yield* fs.makeTempDirectoryScoped()}/token`
      const server = yield* MockMeshServer.make({ apiKey: Redacted.make(key) })
      const gateway = yield* serve(server, ["--token-file", file])
      const { origin } = new URL(loginUrl(yield* gateway.awaitOut("\n")))
      assert.strictEqual(Number((yield* fs.stat(file)).mode) & 0o777, 0o600)
      const tail = yield* start(["tail", "--url", origin, "--key-file", file, "-n", "1"])
      yield* tail.awaitErr("complete from here on")
      yield* server.emit(update(a, "running", 1))
      const { code, stdout } = yield* tail.ended
      assert.deepStrictEqual([code, stdout], [0, "task-a  running\n"])
      const token = (yield* fs.readFileString(file)).trim()
      yield* gateway.interrupt
      const ended = yield* gateway.ended
      assert.notInclude(ended.stdout + ended.stderr, token)
      // It stays the same at the next start.
      const again = yield* serve(server, ["--token-file", file])
      const next = new URL(loginUrl(yield* again.awaitOut("\n"))).origin
      assert.strictEqual((yield* get(`${next}${board}`, { authorization: `Bearer ${token}` })).status, 200)
    }).pipe(Effect.provide(NodeServices.layer))
  )

  it.live("keeps the feed with --keep, and knows its tasks at the next start", () =>
    Effect.gen(function* () {
      const fs = yield* FileSystem.FileSystem
      const directory = yield* fs.makeTempDirectoryScoped()
      const [log, token] = [`${directory}/feed.db`, `${directory}/token`]
      const server = yield* MockMeshServer.make()
      const first = yield* serve(server, ["--keep", log, "--token-file", token])
      yield* first.awaitOut("\n")
      // The gateway and the relay.
      yield* Effect.forEach([1, 2], (connection) =>
        server.awaitReceived((it) => it.connection === connection && it.message._tag === "SubscribeAll")
      )
      yield* server.emitAll([update(a, "running", 1), update(b, "done", 2)])
      const stored = yield* run(["log", "--log", log, "--follow", "--status", "done", "-n", "1", "-q"])
      assert.strictEqual(stored.stdout, "task-b  done\n")
      yield* first.interrupt
      assert.strictEqual((yield* first.ended).code, 130)

      const silent = yield* MockMeshServer.make()
      const second = yield* serve(silent, ["--log", log, "--token-file", token])
      const { origin } = new URL(loginUrl(yield* second.awaitOut("\n")))
      const authorization = `Bearer ${(yield* fs.readFileString(token)).trim()}`
      const tasks = yield* until(get(`${origin}${board}`, { authorization }), ({ body }) => body.includes(b))
      assert.include(tasks.body, a)
      const frames: Array<string> = []
      const ws = new WebSocket(`${origin.replace("http", "ws")}${feed}?since=0`, { headers: { authorization } })
      ws.on("message", (data) => frames.push(String(data)))
      yield* until(
        Effect.sync(() => frames.join("")),
        (text) => text.includes(`"done"`)
      )
      ws.terminate()
    }).pipe(Effect.provide(NodeServices.layer))
  )

  it.live("plays a workload with --mock", () =>
    Effect.gen(function* () {
      const gateway = yield* start(["serve", "--mock", "--port", "0"])
      const url = loginUrl(yield* gateway.awaitOut("\n"))
      const { cookie } = yield* signIn(url)
      yield* until(get(`${new URL(url).origin}${board}`, { cookie }), ({ body }) => body.includes(`"taskId"`))
    })
  )

  it.live("ends with exit code 3 when the server refuses the key", () =>
    Effect.gen(function* () {
      const server = yield* MockMeshServer.make({ apiKey: Redacted.make("another key") })
      const { code, stderr } = yield* run(["serve", "--url", server.url, "--port", "0", "-q"], {
        env: { MAKIMA_API_KEY: key }
      })
      assert.strictEqual(code, 3)
      assertOneLine(stderr, "401")
      assert.notInclude(stderr, key)
    })
  )

  it.live("says in one line what is wrong with its flags, with exit code 2", () =>
    Effect.gen(function* () {
      const fs = yield* FileSystem.FileSystem
      const directory = yield* fs.makeTempDirectoryScoped()
      const short = `${directory}/short`
      yield* fs.writeFileString(short, "short\n")
      const pem = fileURLToPath(new URL("fixtures/ca.pem", import.meta.url))
      const taken = (yield* MockMeshServer.make()).port
      const cases: ReadonlyArray<readonly [ReadonlyArray<string>, string]> = [
        [["--port", String(taken)], `port ${taken}: it is in use. --port 0 takes a free one`],
        [["--host", "0.0.0.0"], "--token-file"],
        [["--host", "0.0.0.0", "--token-file", `${directory}/token`], "--allow-plaintext-beyond-loopback"],
        [
          ["--host", "256.0.0.1", "--token-file", `${directory}/token`, "--allow-plaintext-beyond-loopback"],
          "256.0.0.1"
        ],
        [["--token-file", short], "fewer than 16 characters"],
        [["--token-file", `${directory}/none/token`], "could not be written"],
        [["--tls-cert", pem], "belong together"],
        [["--tls-cert", pem, "--tls-key", short], "cannot be used"],
        [["--tls-cert", pem, "--tls-key", `${directory}/none`], "could not be read"],
        [["--public-url", "board.example.com"], "such as https://board.example.com"],
        [["--log", `${directory}/none.db`], "There is no log"],
        [["--log", "a.db", "--keep", "b.db"], "Use --log or --keep"],
        [["--mock", "--url", "http://127.0.0.1:1"], "--mock"]
      ]
      for (const [args, expected] of cases) {
        const port = args.includes("--port") ? [] : ["--port", "0"]
        const { code, stderr, stdout } = yield* run(["serve", ...port, ...args])
        assert.deepStrictEqual([code, stdout], [2, ""], args.join(" "))
        assertOneLine(stderr, expected)
      }
    }).pipe(Effect.provide(NodeServices.layer))
  )
})
