/** The command line of each example, against the mock server on real sockets. Details are in their own tests. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as FileSystem from "effect/FileSystem"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import * as NodeServices from "@effect/platform-node/NodeServices"
import * as MeshEvent from "@makima-stream/core/MeshEvent"
import * as MockMeshServer from "@makima-stream/test-kit/MockMeshServer"
import { runCommand } from "../../packages/cli/test/support/command.ts"
import * as Process from "../../packages/test-kit/test/support/process.ts"
import { root } from "../../packages/test-kit/test/support/programs.ts"
import { assertOneLine, type Ended } from "../../packages/test-kit/test/support/transcript.ts"
import { readdirSync, readFileSync } from "node:fs"
import * as FollowOneTask from "../src/01_follow-one-task.ts"
import * as CostMeter from "../src/02_cost-meter.ts"
import * as NotifyOnFailures from "../src/03_notify-on-failures.ts"
import * as CiGate from "../src/04_ci-gate.ts"
import * as AuditPipeline from "../src/05_audit-pipeline.ts"
import * as Otlp from "../src/06_otlp.ts"
import * as Prometheus from "../src/07_prometheus.ts"
import * as LiveBoard from "../src/08_live-board.ts"
import { a, result, said, update } from "./support/mesh.ts"
import { start } from "./support/process.ts"
import * as Receiver from "./support/receiver.ts"

const key = "sk-canary-7f1c"

const decode = Schema.decodeEffect(Schema.fromJsonString(AuditPipeline.Batch))

const makeServer = Effect.map(MockMeshServer.make({ apiKey: Redacted.make(key) }), (server) => ({
  ...server,
  env: { MAKIMA_API_KEY: key, MAKIMA_API_URL: server.url },
  awaitUpdates: server.awaitReceived(({ message }) => message._tag === "SubscribeAll" || message._tag === "Subscribe"),
  awaitOutput: server.awaitReceived(({ message }) => message._tag === "SubscribeOutput")
}))

interface Example {
  readonly name: string
  readonly args?: ReadonlyArray<string>
  /** Its exit code if the server refuses the key. */
  readonly refused: number
  /** Runs it to its end, in this process. */
  readonly command: (args: ReadonlyArray<string>, env: Record<string, string>) => Effect.Effect<Ended>
}

const examples: ReadonlyArray<Example> = [
  {
    name: "01_follow-one-task",
    args: ["a"],
    refused: 1,
    command: (...call) => runCommand(FollowOneTask.command, ...call)
  },
  { name: "02_cost-meter", refused: 1, command: (...call) => runCommand(CostMeter.command, ...call) },
  { name: "03_notify-on-failures", refused: 1, command: (...call) => runCommand(NotifyOnFailures.command, ...call) },
  { name: "04_ci-gate", args: ["a"], refused: 3, command: (...call) => runCommand(CiGate.command, ...call) },
  {
    name: "05_audit-pipeline",
    args: ["unused.jsonl"],
    refused: 1,
    command: (...call) => runCommand(AuditPipeline.command, ...call)
  },
  { name: "06_otlp", refused: 1, command: (...call) => runCommand(Otlp.command, ...call) },
  {
    name: "07_prometheus",
    args: ["--port", "0"],
    refused: 1,
    command: (...call) => runCommand(Prometheus.command, ...call)
  },
  { name: "08_live-board", refused: 1, command: (...call) => runCommand(LiveBoard.command, ...call) }
]

describe("the examples", () => {
  it("are all in the index, in order, and all run in the tests", () => {
    const files = readdirSync(new URL("../src", import.meta.url))
      .filter((file) => /^\d/.test(file))
      .sort()
    const index = readFileSync(new URL("../README.md", import.meta.url), "utf8")
    assert.deepStrictEqual(
      [...index.matchAll(/^\| \[(.+?)\]\(src\/(.+?)\)/gm)].map(([, name, path]) => [name, path]),
      files.map((file) => [file, file])
    )
    // These two read a kept feed instead of a server, and have tests of their own.
    const tested = [...examples.map(({ name }) => `${name}.ts`), "09_exactly-once.ts", "10_fleet.ts"]
    assert.sameMembers(tested, files)
  })
})

describe("each example, in the process of the test", () => {
  for (const { args = [], command, name, refused } of examples) {
    it.live(`${name} reports a missing and a refused key in one line, and by its exit code`, () =>
      Effect.gen(function* () {
        const server = yield* makeServer
        const collector = yield* Receiver.make
        const env = {
          MAKIMA_API_URL: server.url,
          OTEL_EXPORTER_OTLP_ENDPOINT: collector.url,
          TASKS_URL: `${server.url}/tasks`
        }
        const missing = yield* command(args, env)
        assert.strictEqual(missing.code, 2)
        assertOneLine(missing.stderr, "MAKIMA_API_KEY")
        const wrong = yield* command(args, { ...env, MAKIMA_API_KEY: "sk-wrong-0" })
        assert.strictEqual(wrong.code, refused)
        assertOneLine(wrong.stderr, "401")
        assert.notInclude(wrong.stdout + wrong.stderr + JSON.stringify(collector.requests), "sk-wrong-0")
      })
    )
  }

  it.live("03 posts a failure to WEBHOOK_URL", () =>
    Effect.gen(function* () {
      const server = yield* makeServer
      const webhook = yield* Receiver.make
      const env = { ...server.env, WEBHOOK_URL: `${webhook.url}/hook` }
      yield* Effect.forkScoped(runCommand(NotifyOnFailures.command, [], env))
      yield* server.awaitUpdates
      yield* server.emit(update(a, "failed"))
      const { body, path } = yield* webhook.await(() => true)
      assert.deepStrictEqual([path, JSON.parse(body)], ["/hook", { text: "Task a is failed" }])
    })
  )

  it.live("03 and 04 report an invalid option in one line", () =>
    Effect.gen(function* () {
      const env = { MAKIMA_API_KEY: key }
      const webhook = yield* runCommand(NotifyOnFailures.command, [], { ...env, WEBHOOK_URL: "no url" })
      const gate = yield* runCommand(CiGate.command, ["a", "--timeout", "soon"], env)
      assert.deepStrictEqual([webhook.code, gate.code], [2, 2])
      assertOneLine(webhook.stderr, "WEBHOOK_URL")
      assertOneLine(gate.stderr, "--timeout")
    })
  )

  it.live("04 describes its argument and its time limit", () =>
    Effect.gen(function* () {
      const { code, stdout } = yield* runCommand(CiGate.command, ["--help"])
      assert.strictEqual(code, 0)
      assert.include(stdout, "The task to wait for")
      assert.include(stdout, 'Defaults to "1 hour"')
    })
  )

  it.live("04 exits with 0 if the task is done, and with 3 if the time is up", () =>
    Effect.gen(function* () {
      const server = yield* makeServer
      const running = yield* Effect.forkScoped(runCommand(CiGate.command, ["a"], server.env))
      yield* server.awaitUpdates
      yield* server.emit(update(a, "done"))
      assert.deepStrictEqual(yield* Fiber.join(running), { code: 0, stdout: "Task a is done\n", stderr: "" })
      const late = yield* runCommand(CiGate.command, ["a", "--timeout", "100 millis"], server.env)
      assert.strictEqual(late.code, 3)
      assertOneLine(late.stderr, "100ms")
    })
  )

  it.live("05 reports in one line that its file cannot be created", () =>
    Effect.gen(function* () {
      const fs = yield* FileSystem.FileSystem
      const path = `${yield* fs.makeTempDirectoryScoped()}/missing/audit.jsonl`
      const server = yield* makeServer
      const running = yield* Effect.forkScoped(runCommand(AuditPipeline.command, [path], server.env))
      yield* server.awaitUpdates
      yield* server.emit(update(a, "running"))
      yield* server.awaitOutput
      yield* server.emit(said(a, "one"))
      const { code, stderr } = yield* Fiber.join(running)
      assert.strictEqual(code, 1)
      assertOneLine(stderr, path)
    }).pipe(Effect.provide(NodeServices.layer))
  )

  it.live("07 reports in one line that its port is in use or invalid", () =>
    Effect.gen(function* () {
      const server = yield* makeServer
      const port = new URL(server.url).port
      const taken = yield* runCommand(Prometheus.command, ["--port", port], server.env)
      assert.strictEqual(taken.code, 1)
      assertOneLine(taken.stderr, "EADDRINUSE")
      assert.include(taken.stderr, port)
      const invalid = yield* runCommand(Prometheus.command, ["--port", "99999"], server.env)
      assert.strictEqual(invalid.code, 2)
      assertOneLine(invalid.stderr, "--port")
    })
  )
})

describe("each example as a process", () => {
  it.live("01 prints the text of a task and ends with it", () =>
    Effect.gen(function* () {
      const server = yield* makeServer
      const running = yield* start("01_follow-one-task", { args: ["a"], env: server.env })
      yield* server.awaitOutput
      yield* server.emitAll([said(a, "one\ntwo"), update(a, "done")])
      assert.deepStrictEqual(yield* running.ended, { code: 0, stdout: "one\ntwo\n", stderr: "" })
    })
  )

  it.live("01 reports a refused key in one line, and by its exit code", () =>
    Effect.gen(function* () {
      const server = yield* makeServer
      const env = { ...server.env, MAKIMA_API_KEY: "sk-wrong-0" }
      // Not the bundle: as the README starts it.
      const { code, stderr, stdout } = yield* Process.run(`${root}examples/src/01_follow-one-task.ts`, ["a"], { env })
      assert.deepStrictEqual([code, stdout], [1, ""])
      assertOneLine(stderr, "401")
    })
  )

  it.live("02 prints the total until it is stopped", () =>
    Effect.gen(function* () {
      const server = yield* makeServer
      const running = yield* start("02_cost-meter", { env: server.env })
      yield* server.awaitUpdates
      yield* server.emit(update(a, "running"))
      yield* server.awaitOutput
      yield* server.emit(result(a, 0.5))
      yield* running.awaitOut("$0.50 for 1 task\n")
      yield* running.signal("SIGINT")
      const { code, stderr } = yield* running.ended
      assert.deepStrictEqual([code, stderr], [130, ""])
    })
  )

  it.live("03 prints a failure until it is stopped", () =>
    Effect.gen(function* () {
      const server = yield* makeServer
      const running = yield* start("03_notify-on-failures", { env: server.env })
      yield* server.awaitUpdates
      yield* server.emit(update(a, "failed"))
      yield* running.awaitOut("Task a is failed\n")
      yield* running.signal("SIGINT")
      assert.deepStrictEqual(yield* running.ended, { code: 130, stdout: "Task a is failed\n", stderr: "" })
    })
  )

  it.live("04 exits with 1 if the task failed", () =>
    Effect.gen(function* () {
      const server = yield* makeServer
      const running = yield* start("04_ci-gate", { args: ["a"], env: server.env })
      yield* server.awaitUpdates
      yield* server.emit(update(a, "failed"))
      assert.deepStrictEqual(yield* running.ended, { code: 1, stdout: "", stderr: "Task a is failed\n" })
    })
  )

  it.live("05 writes everything that was sent before it was stopped", () =>
    Effect.gen(function* () {
      const fs = yield* FileSystem.FileSystem
      const path = `${yield* fs.makeTempDirectoryScoped()}/audit.jsonl`
      const server = yield* makeServer
      const running = yield* start("05_audit-pipeline", { args: [path], env: server.env })
      yield* server.awaitUpdates
      yield* server.emit(update(a, "running"))
      yield* server.awaitOutput
      const outputs = Array.from({ length: 250 }, (_, n) => said(a, `line ${n}`))
      yield* server.emitAll(outputs)
      yield* running.signal("SIGINT")
      const { code, stderr } = yield* running.ended
      assert.deepStrictEqual([code, stderr], [130, ""])
      const lines = (yield* fs.readFileString(path)).trimEnd().split("\n")
      const batches = yield* Effect.forEach(lines, (line) => decode(line))
      assert.deepStrictEqual(
        batches.flatMap(({ events }) => events.filter(MeshEvent.isData)),
        outputs
      )
    }).pipe(Effect.provide(NodeServices.layer))
  )

  it.live("06 exports to the collector that the environment names, at the latest when it stops", () =>
    Effect.gen(function* () {
      const server = yield* makeServer
      const collector = yield* Receiver.make
      const running = yield* start("06_otlp", {
        env: { ...server.env, OTEL_EXPORTER_OTLP_ENDPOINT: collector.url }
      })
      yield* server.awaitUpdates
      yield* server.emit(update(a, "running"))
      yield* running.awaitOut("The status changed")
      yield* running.signal("SIGINT")
      assert.strictEqual((yield* running.ended).code, 130)
      assert.deepStrictEqual(
        new Set(collector.requests.map(({ path }) => path)),
        new Set(["/v1/logs", "/v1/metrics", "/v1/traces"])
      )
      assert.notInclude(JSON.stringify(collector.requests), key)
    })
  )

  it.live("07 serves the metrics at the address that it prints", () =>
    Effect.gen(function* () {
      const server = yield* makeServer
      const running = yield* start("07_prometheus", { args: ["--port", "0"], env: server.env })
      yield* server.awaitUpdates
      const url = (yield* running.awaitOut("/metrics\n")).trim()
      const page = yield* Effect.promise(() => fetch(url).then((response) => response.text()))
      assert.include(page, "makima_connection_dials 1\n")
      yield* running.signal("SIGINT")
      const { code, stderr } = yield* running.ended
      assert.deepStrictEqual([code, stderr], [130, ""])
    })
  )
})
