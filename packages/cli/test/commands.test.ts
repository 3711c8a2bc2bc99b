/** The other commands against the mock server. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as TestClock from "effect/testing/TestClock"
import * as NodeServices from "@effect/platform-node/NodeServices"
import * as MockMeshServer from "@makima-stream/test-kit/MockMeshServer"
import { createServer } from "node:http"
import { run, start } from "./support/command.ts"
import { a, b, result, said, update } from "./support/mesh.ts"
import { assertOneLine, awaitFile, objects } from "./support/output.ts"

const awaitUpdates = (server: MockMeshServer.Service, connection = 1) =>
  server.awaitReceived((it) => it.connection === connection && it.message._tag === "Subscribe")

const awaitAll = (server: MockMeshServer.Service, connection = 1) =>
  server.awaitReceived((it) => it.connection === connection && it.message._tag === "SubscribeAll")

const awaitOutput = (server: MockMeshServer.Service, connection = 1) =>
  server.awaitReceived((it) => it.connection === connection && it.message._tag === "SubscribeOutput")

/** An HTTP server that answers every request with JSON, and notes the requests. */
const snapshots = (answer: () => unknown) =>
  Effect.acquireRelease(
    Effect.callback<{
      readonly url: string
      readonly requests: Array<{ readonly path: string; readonly key: unknown }>
      readonly stop: () => void
    }>((resume) => {
      const requests: Array<{ readonly path: string; readonly key: unknown }> = []
      const server = createServer((request, response) => {
        requests.push({ path: request.url ?? "", key: request.headers["x-makima-api-key"] })
        response.setHeader("content-type", "application/json").end(JSON.stringify(answer()))
      })
      server.listen(0, "127.0.0.1", () => {
        const address = server.address()
        const port = typeof address === "object" && address !== null ? address.port : 0
        const stop = () => {
          server.close()
          server.closeAllConnections()
        }
        resume(Effect.succeed({ url: `http://127.0.0.1:${port}`, requests, stop }))
      })
    }),
    ({ stop }) => Effect.sync(stop)
  )

describe("makima-stream", () => {
  it.live("--help describes every command, and completions prints what a shell can load", () =>
    Effect.gen(function* () {
      const help = yield* run(["--help"])
      assert.strictEqual(help.code, 0)
      const commands = [
        "tail",
        "top",
        "wait",
        "cost",
        "record",
        "replay",
        "relay",
        "log",
        "mock",
        "demo",
        "doctor",
        "completions"
      ]
      for (const command of commands) assert.include(help.stdout, `\n  ${command} `)
      const { code, stdout } = yield* run(["completions", "bash"])
      assert.strictEqual(code, 0)
      for (const command of commands) assert.include(stdout, command)
      assert.include(stdout, "complete -F")
    })
  )

  it.live("wait ends with 0 if the task succeeds and with 1 if it fails, and prints the verdict", () =>
    Effect.gen(function* () {
      const server = yield* MockMeshServer.make()
      const options = ["--url", server.url, "--timeout", "1h", "-q"]
      const good = yield* start(["wait", a, ...options])
      const bad = yield* start(["wait", b, ...options])
      const json = yield* start(["wait", b, ...options, "-o", "json"])
      yield* Effect.forEach([1, 2, 3], (n) => awaitUpdates(server, n), { concurrency: 3 })
      yield* server.emitAll([
        update(a, "running", 1),
        update(b, "running", 1),
        update(a, "done", 2),
        update(b, "failed", 2)
      ])
      assert.deepStrictEqual(yield* good.ended, { code: 0, stdout: "Task task-a is done\n", stderr: "" })
      assert.deepStrictEqual(yield* bad.ended, { code: 1, stdout: "", stderr: "Task task-b is failed\n" })
      const { code, stdout } = yield* json.ended
      assert.strictEqual(code, 1)
      assert.deepStrictEqual(objects(stdout), [{ taskId: b, verdict: "failure", status: "failed" }])
    })
  )

  it.effect("wait ends with 124 when the time is up, also while the server is down", () =>
    Effect.gen(function* () {
      const server = yield* MockMeshServer.make()
      const late = yield* start(["wait", a, "--url", server.url, "--timeout", "500ms", "-q"])
      yield* awaitUpdates(server)
      yield* TestClock.adjust("500 millis")
      const { code, stderr, stdout } = yield* late.ended
      assert.deepStrictEqual([code, stdout], [124, ""])
      assertOneLine(stderr, "did not end within")
      const down = yield* start(["wait", a, "--url", "http://127.0.0.1:1", "--timeout", "500ms"])
      yield* down.awaitErr("not connected")
      yield* TestClock.adjust("500 millis")
      assert.strictEqual((yield* down.ended).code, 124)
    })
  )

  it.effect("wait ends with 4 when the time is up while the feed has a gap", () =>
    Effect.gen(function* () {
      const server = yield* MockMeshServer.make()
      const wait = yield* start(["wait", a, "--url", server.url, "--timeout", "3s"])
      yield* awaitUpdates(server)
      yield* server.emit(update(a, "running", 1))
      yield* server.refuse(1000, 503)
      yield* server.kill()
      yield* wait.awaitErr("disconnected")
      yield* TestClock.adjust("3 seconds")
      const { code, stderr, stdout } = yield* wait.ended
      assert.deepStrictEqual([code, stdout], [4, ""], stderr)
      assertOneLine(`${stderr.trimEnd().split("\n").at(-1)}\n`, "may have been missed")
    })
  )

  it.live("wait knows an end before the start, and one that fell into a gap, from the snapshot", () =>
    Effect.gen(function* () {
      const server = yield* MockMeshServer.make()
      let status = "done"
      let version = 7
      const rest = yield* snapshots(() => ({ tasks: [{ id: a, version, status }] }))
      const before = yield* run(["wait", a, "--url", server.url, "--snapshot-url", `${rest.url}/tasks/{task}`, "-q"], {
        env: { MAKIMA_API_KEY: "secret" }
      })
      assert.deepStrictEqual(before, { code: 0, stdout: "Task task-a is done\n", stderr: "" })
      // The key is for the feed's server, not for another one.
      assert.deepStrictEqual(rest.requests, [{ path: "/tasks/task-a", key: undefined }])

      status = "running"
      const gap = yield* start(["wait", a, "--url", server.url, "--snapshot-url", rest.url])
      yield* gap.awaitErr("repaired by a snapshot")
      status = "failed"
      version++
      yield* server.kill()
      const { code } = yield* gap.ended
      assert.strictEqual(code, 1)
    })
  )

  it.live("cost prints each result and the total, and --budget ends with 1", () =>
    Effect.gen(function* () {
      const server = yield* MockMeshServer.make()
      const text = yield* start(["cost", "--url", server.url, "-q"])
      yield* awaitAll(server, 1)
      const json = yield* start(["cost", a, b, "--url", server.url, "-q", "-o", "json"])
      yield* awaitOutput(server, 2)
      const budget = yield* start(["cost", "--url", server.url, "-q", "--budget", "0.6"])
      yield* awaitAll(server, 3)
      yield* server.emitAll([update(a, "running", 1), update(b, "running", 1)])
      for (const n of [1, 3]) {
        for (const task of [a, b]) {
          yield* server.awaitReceived(
            (it) => it.connection === n && it.message._tag === "SubscribeOutput" && it.message.taskId === task
          )
        }
      }
      yield* server.emitAll([result(a, 0.5), result(b, 0.25), update(a, "done", 2), update(b, "failed", 2)])
      yield* text.awaitOut("total $0.7500\n")
      yield* text.interrupt
      const ended = yield* text.ended
      assert.strictEqual(ended.code, 130)
      assert.strictEqual(
        ended.stdout.replaceAll(/ {2,}/g, "  "),
        "task-a  $0.5000  total $0.5000\ntask-b  $0.2500  total $0.7500\n" +
          "task-a  $0.5000  1.0 s  1 run  done\ntask-b  $0.2500  1.0 s  1 run  failed\ntotal $0.7500 of 2 tasks\n"
      )
      const over = yield* budget.ended
      assert.strictEqual(over.code, 1)
      assertOneLine(over.stderr, "The budget of $0.6000 is spent: $0.7500")
      const { code, stdout } = yield* json.ended
      assert.strictEqual(code, 0)
      assert.deepStrictEqual(
        objects(stdout).map(({ kind, totalUsd }) => [kind, totalUsd]),
        [
          ["result", 0.5],
          ["result", 0.75],
          ["total", 0.75]
        ]
      )
    })
  )

  it.live("record writes a session that every command plays, and replay --serve serves it", () =>
    Effect.gen(function* () {
      const fs = yield* FileSystem.FileSystem
      const file = `${yield* fs.makeTempDirectoryScoped()}/session.jsonl`
      const server = yield* MockMeshServer.make()
      const record = yield* start(["record", file, "--url", server.url])
      yield* awaitAll(server)
      yield* server.emit(update(a, "running", 1))
      yield* awaitOutput(server)
      yield* server.emitAll([said(a, "one"), result(a, 0.5), update(a, "done", 2)])
      yield* awaitFile(file, "done")
      yield* record.interrupt
      const recorded = yield* record.ended
      assert.strictEqual(recorded.code, 130)
      assert.match(recorded.stderr, /recorded \d+ frames\n$/)

      const again = yield* run(["record", file, "--url", server.url])
      assert.strictEqual(again.code, 1)
      assert.include(again.stderr, "--force")

      const replay = yield* run(["replay", file, "--speed", "max", "-q"])
      assert.deepStrictEqual(replay, {
        code: 0,
        stdout: "task-a  running\ntask-a  assistant  one\ntask-a  result $0.5000 1.0 s  ok\ntask-a  done\n",
        stderr: ""
      })
      const cost = yield* run(["cost", "--replay", file, "--speed", "100", "-q", "-o", "json"])
      assert.strictEqual(objects(cost.stdout).at(-1)?.["totalUsd"], 0.5)
      const wait = yield* run(["wait", a, "--replay", file, "--timeout", "1h", "-q"])
      assert.strictEqual(wait.code, 0)

      const served = yield* start(["replay", file, "--serve", "--speed", "max"])
      const url = (yield* served.awaitOut("\n")).trim()
      const waiting = yield* run(["wait", a, "--url", url, "--timeout", "1h", "-q"])
      assert.deepStrictEqual(waiting, { code: 0, stdout: "Task task-a is done\n", stderr: "" })

      yield* fs.writeFileString(file, "no recording\n")
      const broken = yield* run(["replay", file, "-q"])
      assert.strictEqual(broken.code, 3)
      assertOneLine(broken.stderr, "not a recording")
    }).pipe(Effect.provide(NodeServices.layer))
  )

  it.live("relay keeps the feed in a log, and log, cost and wait read it", () =>
    Effect.gen(function* () {
      const fs = yield* FileSystem.FileSystem
      const file = `${yield* fs.makeTempDirectoryScoped()}/feed.db`
      const server = yield* MockMeshServer.make()
      const relay = yield* start(["relay", "--log", file, "--url", server.url])
      yield* relay.awaitErr("writes to the log")
      yield* server.emit(update(a, "running", 1))
      yield* awaitOutput(server)
      yield* server.emitAll([said(a, "one"), result(a, 0.5), update(a, "done", 2)])
      // A reader that follows shows that it is stored.
      const following = yield* start(["log", "--log", file, "--follow", "--status", "done", "-n", "1", "-q"])
      assert.deepStrictEqual(yield* following.ended, { code: 0, stdout: "task-a  done\n", stderr: "" })
      yield* relay.interrupt
      assert.strictEqual((yield* relay.ended).code, 130)

      const all = yield* run(["log", "--log", file, "-o", "json"])
      assert.strictEqual(all.code, 0)
      const stored = objects(all.stdout)
      assert.deepStrictEqual(
        stored.flatMap(({ _tag }) => (_tag === "TaskUpdated" || _tag === "TaskOutput" ? [_tag] : [])),
        ["TaskUpdated", "TaskOutput", "TaskOutput", "TaskUpdated"]
      )
      assert.isTrue(
        stored.every(({ position, storedAt }) => typeof position === "number" && typeof storedAt === "number")
      )
      const position = String(stored.at(-1)?.["position"])
      const cases: ReadonlyArray<readonly [ReadonlyArray<string>, string]> = [
        [["--last-per-task"], "task-a  done\n"],
        [["--task", b], ""],
        [["--from", position], "task-a  done\n"],
        [["--from", "new"], ""],
        [["--since", "1h", "--type", "assistant"], "task-a  assistant  one\n"]
      ]
      for (const [args, expected] of cases) {
        const { code, stdout } = yield* run(["log", "--log", file, "-q", ...args])
        assert.deepStrictEqual([code, stdout], [0, expected], args.join(" "))
      }
      const cost = yield* run(["cost", "--log", file, "--since", "1h", "--no-follow", "-q", "-o", "json"])
      assert.strictEqual(objects(cost.stdout).at(-1)?.["totalUsd"], 0.5)
      // The task ended before, so that only the log knows it.
      const wait = yield* run(["wait", a, "--log", file, "--url", server.url, "-q"])
      assert.deepStrictEqual(wait, { code: 0, stdout: "Task task-a is done\n", stderr: "" })
      const none = yield* run(["log", "--log", `${file}.none`])
      assert.strictEqual(none.code, 2)
      assertOneLine(none.stderr, "There is no log")
    }).pipe(Effect.provide(NodeServices.layer))
  )

  it.live("mock prints its URL, plays the same workload to every client, and checks a key", () =>
    Effect.gen(function* () {
      const mock = yield* start(["mock", "--tasks", "3", "--speed", "max", "--no-loop", "--key-env", "KEY"], {
        env: { KEY: "right" }
      })
      const url = (yield* mock.awaitOut("\n")).trim()
      assert.match(url, /^http:\/\/127\.0\.0\.1:\d+$/)
      const refused = yield* run(["tail", "--url", url, "-q"], { env: { MAKIMA_API_KEY: "wrong" } })
      assert.strictEqual(refused.code, 3)
      const tail = yield* run(["tail", "--url", url, "--status", "pending", "-n", "3", "-q"], {
        env: { MAKIMA_API_KEY: "right" }
      })
      assert.deepStrictEqual([tail.code, tail.stdout.split("\n").length], [0, 4])
      assert.strictEqual((yield* mock.ended).code, 0)
      const taken = yield* MockMeshServer.make()
      const busy = yield* run(["mock", "--port", String(taken.port)])
      assert.strictEqual(busy.code, 2)
      assertOneLine(busy.stderr, String(taken.port))
    })
  )
})
