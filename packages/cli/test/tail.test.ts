/** `tail` against the mock server: formats, filters, contexts and exit codes. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Redacted from "effect/Redacted"
import * as NodeServices from "@effect/platform-node/NodeServices"
import * as MockMeshServer from "@makima-stream/test-kit/MockMeshServer"
import { run, start } from "./support/command.ts"
import { a, b, said, update } from "./support/mesh.ts"
import { assertOneLine, objects } from "./support/output.ts"

/** The client has subscribed to the updates of all tasks. */
const awaitAll = (server: MockMeshServer.Service, connection = 1) =>
  server.awaitReceived((it) => it.connection === connection && it.message._tag === "SubscribeAll")

/** The client has subscribed to the output of a task. */
const awaitOutput = (server: MockMeshServer.Service, connection = 1) =>
  server.awaitReceived((it) => it.connection === connection && it.message._tag === "SubscribeOutput")

// oxlint-disable-next-line no-control-regex
const escapes = /\u001b\[[0-9;]*m/

describe("tail", () => {
  it.live("-o json prints one object a line with the marks in their places, and nothing else", () =>
    Effect.gen(function* () {
      const server = yield* MockMeshServer.make()
      const tail = yield* start(["tail", "--url", server.url, "--count", "2", "-o", "json"])
      yield* awaitAll(server)
      yield* server.emit(update(a, "running", 1))
      yield* awaitOutput(server)
      yield* server.emit(said(a, "one"))
      const { code, stderr, stdout } = yield* tail.ended
      assert.deepStrictEqual([code, stderr], [0, ""])
      const printed = objects(stdout)
      assert.deepStrictEqual(
        printed.map(({ _tag }) => _tag),
        ["Connected", "Resync", "TaskUpdated", "Resync", "TaskOutput"]
      )
      assert.deepStrictEqual(printed[2], { ...update(a, "running", 1) })
      assert.deepStrictEqual(printed[3]?.["reason"], { _tag: "Subscribed", kind: "output" })
    })
  )

  it.live("-o raw prints the frames of the server as they are, acknowledgements included", () =>
    Effect.gen(function* () {
      const server = yield* MockMeshServer.make()
      const tail = yield* start(["tail", "--url", server.url, "--count", "3", "-o", "raw", "-q"])
      yield* awaitAll(server)
      yield* server.emitRawAll(['{"type":"later","n":12345678901234567890}', "no json"])
      const { code, stderr, stdout } = yield* tail.ended
      assert.deepStrictEqual([code, stderr], [0, ""])
      assert.strictEqual(stdout, '{"type":"subscribedAll"}\n{"type":"later","n":12345678901234567890}\nno json\n')
    })
  )

  it.live("follows the named tasks only, and --no-follow ends with them", () =>
    Effect.gen(function* () {
      const server = yield* MockMeshServer.make()
      const tail = yield* start(["tail", a, "--url", server.url, "--no-follow", "-q"])
      yield* awaitOutput(server)
      yield* server.emitAll([update(b, "running"), said(a, "hello"), update(a, "failed")])
      assert.deepStrictEqual(yield* tail.ended, {
        code: 0,
        stdout: "task-a  assistant  hello\ntask-a  failed\n",
        stderr: ""
      })
    })
  )

  it.live("--status, --type, --include and --exclude choose what is printed", () =>
    Effect.gen(function* () {
      const server = yield* MockMeshServer.make()
      const messages = [
        update(a, "running"),
        said(a, "all is well"),
        said(a, "ls", "tool_use"),
        said(a, "all is lost"),
        update(a, "failed")
      ]
      const cases: ReadonlyArray<readonly [ReadonlyArray<string>, string]> = [
        [["--status", "failed,done"], "task-a  failed\n"],
        [["--type", "tool_use"], "task-a  tool_use  ls\n"],
        [["--type", "tool_use", "--status", "failed"], "task-a  tool_use  ls\ntask-a  failed\n"],
        [["-i", "^all", "-e", "lost$"], "task-a  assistant  all is well\n"],
        [["--template", "{taskId}={status}", "--status", "running"], "task-a=running\n"]
      ]
      const running = yield* Effect.forEach(
        cases,
        ([args]) => start(["tail", a, "--url", server.url, "--no-follow", "-q", ...args]),
        { concurrency: "unbounded" }
      )
      yield* Effect.forEach(cases, (_, index) => awaitOutput(server, index + 1), { concurrency: "unbounded" })
      yield* server.emitAll(messages)
      // The end of the task does not pass every filter, but it ends every stream.
      for (const [index, tail] of running.entries()) {
        assert.deepStrictEqual(yield* tail.ended, { code: 0, stdout: cases[index]?.[1] ?? "", stderr: "" })
      }
    })
  )

  it.live("--timestamps puts an absolute time in the time zone before each line", () =>
    Effect.gen(function* () {
      const server = yield* MockMeshServer.make()
      const tail = yield* start(["tail", a, "--url", server.url, "-n", "1", "-t", "--timezone", "Asia/Tokyo"])
      yield* awaitOutput(server)
      yield* server.emit(update(a, "running"))
      const { code, stdout } = yield* tail.ended
      assert.strictEqual(code, 0)
      assert.match(stdout, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+09:00 task-a {2}running\n$/)
    })
  )

  it.live("continues when the server restarts, and marks the gap", () =>
    Effect.gen(function* () {
      const server = yield* MockMeshServer.make()
      const tail = yield* start(["tail", a, "--url", server.url, "-n", "2"])
      yield* awaitOutput(server)
      yield* server.emit(update(a, "running", 1))
      yield* tail.awaitOut("running")
      yield* server.kill()
      yield* awaitOutput(server, 2)
      yield* server.emit(update(a, "done", 2))
      const { code, stderr, stdout } = yield* tail.ended
      assert.deepStrictEqual([code, stdout], [0, "task-a  running\ntask-a  done\n"])
      assert.match(
        stderr,
        /\ndisconnected: .*; next attempt in .*\nconnected \(connection 2\)\ncomplete again from here on;/
      )
    })
  )

  it.live("a refused key ends with 3 and one line that does not hold the key", () =>
    Effect.gen(function* () {
      const server = yield* MockMeshServer.make({ apiKey: Redacted.make("right") })
      const { code, stderr, stdout } = yield* run(["tail", "--url", server.url, "-q"], {
        env: { MAKIMA_API_KEY: "hunter2" }
      })
      assert.deepStrictEqual([code, stdout], [3, ""])
      assertOneLine(stderr, "401")
      assert.notInclude(stderr, "hunter2")
    })
  )

  it.live("a wrong command line ends with 2 and one line that names the flag", () =>
    Effect.gen(function* () {
      const cases: ReadonlyArray<readonly [ReadonlyArray<string>, string]> = [
        [["tail", "--nope"], "--nope"],
        [["nope"], "nope"],
        [["tail", "--count", "0"], "--count"],
        [["tail", "-i", "("], "--include"],
        [["tail", "--timezone", "Mars/Olympus"], "--timezone"],
        [["tail", "--template", "{a"], "--template"],
        [["tail", "--no-follow"], "--no-follow"],
        [["tail", "--url", "nonsense"], "URL"],
        [["tail", "--url", "https://user:hunter2@host"], "URL"],
        [["tail", "--context", "nope"], "nope"],
        [["tail", "--key-env", "NO_SUCH_VARIABLE"], "NO_SUCH_VARIABLE"],
        [["tail", "--key-file", "/nonexistent"], "/nonexistent"],
        [["tail", "--key-command", "exit 7"], "7"],
        [["tail", "--key-env", "A", "--key-file", "B"], "--key-env"],
        [["tail", "-o", "raw", "--status", "done"], "-o raw"],
        [["wait", "x"], "--timeout"],
        [["top"], "terminal"]
      ]
      yield* Effect.forEach(
        cases,
        ([args, includes]) =>
          Effect.map(run(args), ({ code, stderr, stdout }) => {
            assert.deepStrictEqual([code, stdout], [2, ""], `${args.join(" ")}: ${stderr}`)
            assertOneLine(stderr, includes)
            assert.notInclude(stderr, "hunter2")
          }),
        { concurrency: 3 }
      )
    })
  )

  it.live("takes the server and the key from the context, and the flag before the environment before the context", () =>
    Effect.gen(function* () {
      const fs = yield* FileSystem.FileSystem
      const home = yield* fs.makeTempDirectoryScoped()
      const server = yield* MockMeshServer.make({ apiKey: Redacted.make("right") })
      yield* fs.writeFileString(`${home}/key`, "right\n")
      const env = { XDG_CONFIG_HOME: home }
      const add = (name: string, ...args: ReadonlyArray<string>) =>
        run(["context", "add", name, "--url", server.url, ...args], { env })
      assert.strictEqual((yield* add("local", "--key-file", `${home}/key`)).code, 0)
      assert.strictEqual((yield* add("wrong", "--key-command", "echo wrong")).code, 0)
      const file = `${home}/makima-stream/contexts/local.json`
      assert.strictEqual(Number((yield* fs.stat(file)).mode) & 0o777, 0o600)
      assert.notInclude(yield* fs.readFileString(file), "right")
      const listed = yield* run(["context", "list"], { env })
      assert.strictEqual(listed.stdout, `* local  ${server.url}\n  wrong  ${server.url}\n`)

      /** The exit code: 0 if the key was accepted, 3 if it was refused. */
      const codeOf = (args: ReadonlyArray<string>, more: Record<string, string> = {}) =>
        Effect.map(
          run(["tail", "-o", "raw", "-q", "-n", "1", ...args], { env: { ...env, ...more } }),
          ({ code }) => code
        )
      const codes = yield* Effect.all(
        {
          selected: codeOf([]),
          named: codeOf(["--context", "wrong"]),
          variable: codeOf([], { MAKIMA_CONTEXT: "wrong" }),
          keyVariable: codeOf([], { MAKIMA_API_KEY: "wrong" }),
          flagBeforeVariable: codeOf(["--context", "local"], { MAKIMA_API_KEY: "wrong" }),
          keyFlag: codeOf(["--key-file", `${home}/key`], { MAKIMA_API_KEY: "wrong" })
        },
        { concurrency: 3 }
      )
      assert.deepStrictEqual(codes, {
        selected: 0,
        named: 3,
        variable: 3,
        keyVariable: 3,
        flagBeforeVariable: 0,
        keyFlag: 0
      })
    }).pipe(Effect.provide(NodeServices.layer))
  )

  it.live("sends the key of a context to the server of the context only", () =>
    Effect.gen(function* () {
      const fs = yield* FileSystem.FileSystem
      const home = yield* fs.makeTempDirectoryScoped()
      const env = { XDG_CONFIG_HOME: home }
      const other = yield* MockMeshServer.make()
      yield* run(["context", "add", "prod", "--url", "https://prod.example", "--key-command", "echo secret"], { env })
      const tail = yield* start(["tail", "--url", other.url, "--context", "prod"], { env })
      const { apiKey } = yield* other.awaitConnection()
      assert.isUndefined(apiKey)
      yield* tail.interrupt
      yield* tail.ended
    }).pipe(Effect.provide(NodeServices.layer))
  )

  it.live("has no colours in a pipe, and has them with --color always and FORCE_COLOR", () =>
    Effect.gen(function* () {
      const server = yield* MockMeshServer.make()
      const cases: ReadonlyArray<readonly [ReadonlyArray<string>, Record<string, string>, boolean]> = [
        [[], {}, false],
        [["--color", "always"], { NO_COLOR: "1" }, true],
        [[], { FORCE_COLOR: "1" }, true],
        [[], { FORCE_COLOR: "1", NO_COLOR: "1" }, false],
        [["--color", "never"], { FORCE_COLOR: "1" }, false]
      ]
      const running = yield* Effect.forEach(cases, ([args, env]) =>
        start(["tail", a, "--url", server.url, "-n", "1", "-q", ...args], { env })
      )
      yield* Effect.forEach(cases, (_, index) => awaitOutput(server, index + 1))
      yield* server.emit(update(a, "running"))
      for (const [index, tail] of running.entries()) {
        const { code, stdout } = yield* tail.ended
        assert.deepStrictEqual([code, escapes.test(stdout)], [0, cases[index]?.[2]], JSON.stringify(cases[index]))
      }
    })
  )
})
