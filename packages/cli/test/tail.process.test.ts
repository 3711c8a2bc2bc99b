/** `tail` as a process against the mock server: pipes, terminals, signals and exit codes. The rest is in `tail.test.ts`. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as MockMeshServer from "@makima-stream/test-kit/MockMeshServer"
import { a, said, update } from "./support/mesh.ts"
import { assertOneLine, objects } from "./support/output.ts"
import { hasTerminals, run, start } from "./support/process.ts"

/** The client has subscribed to the updates of all tasks. */
const awaitAll = (server: MockMeshServer.Service, connection = 1) =>
  server.awaitReceived((it) => it.connection === connection && it.message._tag === "SubscribeAll")

/** The client has subscribed to the output of a task. */
const awaitOutput = (server: MockMeshServer.Service, connection = 1) =>
  server.awaitReceived((it) => it.connection === connection && it.message._tag === "SubscribeOutput")

describe.concurrent("tail", () => {
  it.live("prints data to standard output and the lifecycle of the connection to standard error", () =>
    Effect.gen(function* () {
      const server = yield* MockMeshServer.make()
      const tail = yield* start(["tail", "--url", server.url, "--count", "3"])
      yield* awaitAll(server)
      yield* server.emit(update(a, "running", 1))
      yield* awaitOutput(server)
      yield* server.emitAll([said(a, "one\ntwo"), update(a, "done", 2)])
      const { code, stderr, stdout } = yield* tail.ended
      assert.strictEqual(code, 0)
      assert.strictEqual(stdout, "task-a  running\ntask-a  assistant  one\ntask-a  two\ntask-a  done\n")
      // On a very busy machine the acknowledgement takes longer than the client waits, which the second line then adds.
      assert.match(
        stderr,
        /^connected \(connection 1\)\ncomplete from here on(\n|, 1 subscription not confirmed yet\nupdates: complete from here on\n)$/
      )
    })
  )

  it.live("waits for a server that is down, and Ctrl-C ends it with 130", () =>
    Effect.gen(function* () {
      const tail = yield* start(["tail", "--url", "http://127.0.0.1:1"])
      yield* tail.awaitErr("not connected: The server could not be reached")
      yield* tail.signal("SIGINT")
      const { code, stdout } = yield* tail.ended
      assert.deepStrictEqual([code, stdout], [130, ""])
    })
  )

  it.live("a refused key and a wrong command line end with one line and their exit codes", () =>
    Effect.gen(function* () {
      const server = yield* MockMeshServer.make({ apiKey: Redacted.make("right") })
      const refused = yield* run(["tail", "--url", server.url, "-q"], { env: { MAKIMA_API_KEY: "hunter2" } })
      assert.deepStrictEqual([refused.code, refused.stdout], [3, ""])
      assertOneLine(refused.stderr, "401")
      const wrong = yield* run(["tail", "--nope"])
      assert.deepStrictEqual([wrong.code, wrong.stdout], [2, ""])
      assertOneLine(wrong.stderr, "--nope")
    })
  )

  it.live("ends quietly when the reader of its output goes away", () =>
    Effect.gen(function* () {
      const server = yield* MockMeshServer.make()
      const tail = yield* start(["tail", a, "--url", server.url, "-q"])
      yield* awaitOutput(server)
      yield* server.emit(said(a, "first"))
      yield* tail.awaitOut("first")
      yield* tail.closeOutput
      // The first write after the close fails.
      yield* server.emit(said(a, "second")).pipe(
        Effect.andThen(Effect.yieldNow),
        Effect.forever,
        Effect.raceFirst(tail.ended),
        Effect.map(({ code, stderr }) => assert.deepStrictEqual([code, stderr], [130, ""]))
      )
    })
  )

  it.live("the first Ctrl-C prints what has arrived, and ends with 130", () =>
    Effect.gen(function* () {
      const server = yield* MockMeshServer.make()
      const tail = yield* start(["tail", a, "--url", server.url, "-q"])
      yield* awaitOutput(server)
      yield* server.emit(said(a, "first"))
      yield* tail.awaitOut("first")
      const count = 20_000
      yield* server.emitAll(Array.from({ length: count }, (_, n) => said(a, `line ${n}`)))
      yield* server.drain()
      yield* tail.awaitOut("line 0\n")
      yield* tail.signal("SIGINT")
      const { code, stdout } = yield* tail.ended
      assert.strictEqual(code, 130)
      const lines = stdout.trimEnd().split("\n").slice(1)
      // Whole lines in order without a hole, up to the one at which the connection was closed.
      for (const [n, line] of lines.entries()) assert.strictEqual(line, `task-a  assistant  line ${n}`)
    })
  )

  it.live("the second Ctrl-C ends at once, also while its output is not read", () =>
    Effect.gen(function* () {
      const server = yield* MockMeshServer.make()
      const tail = yield* start(["tail", a, "--url", server.url])
      yield* awaitOutput(server)
      yield* tail.stopReading
      const lines = Array.from({ length: 2000 }, (_, n) => said(a, `${n} ${"x".repeat(1000)}`))
      // Until the pipe is full, and the client does not take any more.
      while (((yield* server.connections)[0]?.bufferedBytes ?? 0) < 1 << 20) {
        yield* server.emitAll(lines)
        yield* Effect.yieldNow
      }
      yield* tail.signal("SIGINT")
      // The drain cannot end, and says so.
      yield* tail.awaitErr("Ctrl-C again ends at once")
      yield* tail.signal("SIGINT")
      assert.strictEqual((yield* tail.ended).code, 130)
    })
  )
})

/** What an agent may print: colours, a title, a link, a jump of the cursor, C1 controls, a change of direction. */
const hostile =
  "\u001b[31mred\u001b]0;title\u0007 \u001b]8;;http://x\u001b\\link \u001b[2J\u009b1A\u009d0;t\u009c\r\u202eend"

describe.skipIf(!hasTerminals).concurrent("tail on a terminal", () => {
  it.live("strips the escape sequences of an agent, in text, JSON and raw frames, and has colours of its own", () =>
    Effect.gen(function* () {
      const server = yield* MockMeshServer.make()
      const outputs = ["text", "json", "raw"]
      const running = yield* Effect.forEach(outputs, (output) =>
        start(["tail", a, "--url", server.url, "-n", output === "raw" ? "3" : "1", "-q", "-o", output], {
          terminal: { columns: 80, rows: 24 }
        })
      )
      yield* Effect.forEach(outputs, (_, index) => awaitOutput(server, index + 1))
      yield* server.emit(said(a, hostile))
      const [text, json, raw] = yield* Effect.forEach(running, ({ ended }) => ended)
      assert.strictEqual(
        text?.stdout,
        "\u001b[34mtask-a\u001b[0m  \u001b[2massistant\u001b[0m  red link end\r\n".replace(
          "[34m",
          /\[3\dm/.exec(text?.stdout ?? "")?.[0] ?? ""
        )
      )
      // oxlint-disable-next-line no-control-regex
      for (const { stdout } of [json, raw].flatMap((it) => it ?? [])) assert.notMatch(stdout, /[\u001b\u0080-\u009f]/)
      const object = objects((json?.stdout ?? "").replaceAll("\r\n", "\n")).at(-1)
      assert.strictEqual(object?.["content"], hostile)
    })
  )

  it.live("has no colours with NO_COLOR or TERM=dumb, and prints the same lines as in a pipe", () =>
    Effect.gen(function* () {
      const server = yield* MockMeshServer.make()
      const terminal = { columns: 40, rows: 10 }
      const running = [
        yield* start(["tail", a, "--url", server.url, "-n", "1", "-q"], { terminal, env: { NO_COLOR: "1" } }),
        yield* start(["tail", a, "--url", server.url, "-n", "1", "-q"], { terminal, term: "dumb" }),
        yield* start(["tail", a, "--url", server.url, "-n", "1", "-q"])
      ]
      yield* Effect.forEach(running, (_, index) => awaitOutput(server, index + 1))
      yield* server.emit(said(a, "x".repeat(60)))
      const printed = yield* Effect.forEach(running, ({ ended }) => ended)
      const expected = `task-a  assistant  ${"x".repeat(60)}\n`
      assert.deepStrictEqual(
        printed.map(({ stdout }) => stdout.replaceAll("\r\n", "\n")),
        [expected, expected, expected]
      )
    })
  )

  it.live("Ctrl-C on the keyboard ends it with 130", () =>
    Effect.gen(function* () {
      const server = yield* MockMeshServer.make()
      const tail = yield* start(["tail", a, "--url", server.url], { terminal: { columns: 80, rows: 24 } })
      yield* tail.awaitOut("complete from here on")
      yield* tail.type("\u0003")
      assert.strictEqual((yield* tail.ended).code, 130)
    })
  )
})
