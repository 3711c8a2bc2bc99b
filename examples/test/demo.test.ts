import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as Cli from "@makima-stream/cli/Cli"
import * as MockMeshServer from "@makima-stream/test-kit/MockMeshServer"
import { runCommand } from "../../packages/cli/test/support/command.ts"
import * as Process from "../../packages/test-kit/test/support/process.ts"
import { root } from "../../packages/test-kit/test/support/programs.ts"
import { assertOneLine } from "../../packages/test-kit/test/support/transcript.ts"
import { run } from "./support/process.ts"

// Concurrent, because a run takes ten seconds and waits most of the time.
describe.concurrent("pnpm demo", () => {
  it.live(
    "follows 24 tasks through latency and three faults without an unmarked loss, and reports it in the last line",
    () =>
      Effect.gen(function* () {
        const { code, stderr, stdout } = yield* run("demo")
        assert.deepStrictEqual([code, stderr], [0, ""])
        const lines = stdout.trimEnd().split("\n")
        const result = JSON.parse(lines.at(-1) ?? "")
        assert.deepStrictEqual(Object.keys(result), [
          "events",
          "updates",
          "outputs",
          "reconnects",
          "resyncs",
          "lostWhileConnected",
          "duplicates",
          "outOfOrder",
          "unmarkedGaps",
          "unheard",
          "tasks",
          "costUsd"
        ])
        assert.deepInclude(result, {
          lostWhileConnected: 0,
          duplicates: 0,
          outOfOrder: 0,
          unmarkedGaps: 0
        })
        // On a busy machine the outages are longer, and a task can begin and end in one.
        assert.isAbove(result.tasks, 0)
        assert.isAtMost(result.tasks, 24)
        assert.isAtLeast(result.reconnects, 3)
        assert.isNumber(result.unheard)
        // One mark for each connection, and one for each task that was discovered.
        assert.isAtLeast(result.resyncs, result.reconnects + 1)
        assert.strictEqual(result.events, result.updates + result.outputs)
        assert.isAbove(result.outputs, 0)
        assert.isAbove(result.costUsd, 0)
        const counts =
          /Of (\d+) messages (\d+) arrived, (\d+) were missed while away, (\d+) were unheard, (\d+) were in flight/.exec(
            stdout
          )
        const [total, ...parts] = counts?.slice(1).map(Number) ?? []
        assert.strictEqual(
          total,
          parts.reduce((sum, count) => sum + count, 0)
        )
        assert.strictEqual(parts[0], result.events)
        // The three faults, as the client reports them.
        assert.include(stdout, "The connection was lost")
        assert.include(stdout, "did not answer a ping")
        assert.include(stdout, "HTTP status 503")
      })
  )

  it.live("prints only the object with --json", () =>
    Effect.gen(function* () {
      const { code, stdout } = yield* runCommand(Cli.demo, ["--json", "--seed", "7", "--tasks", "3"])
      assert.strictEqual(code, 0)
      assert.match(stdout, /^\{[^\n]+\}\n$/)
      assert.strictEqual(JSON.parse(stdout).tasks, 3)
    })
  )

  it.live("ends silently when its output is closed, as in `demo | head`", () =>
    Effect.gen(function* () {
      // Not the bundle: as `pnpm demo` starts it.
      const demo = yield* Process.start(`${root}examples/src/demo.ts`, [])
      yield* demo.awaitOut("\n")
      yield* demo.closeOutput
      const { code, stderr } = yield* demo.ended
      assert.deepStrictEqual([code, stderr], [130, ""])
    })
  )

  it.live("reports a wrong command line in one line, with exit code 2", () =>
    Effect.gen(function* () {
      const cases: ReadonlyArray<readonly [ReadonlyArray<string>, string]> = [
        [["--nope"], "--nope"],
        [["--tasks", "0"], "--tasks"],
        [["--seed", "x"], "--seed"],
        [["stray"], "stray"],
        [["--url", "nonsense"], "URL"],
        [["--url", "https://user:hunter2@host"], "URL"],
        [["--url", "http://127.0.0.1:1"], "MAKIMA_API_KEY"],
        [["--url", "http://127.0.0.1:1", "--seed", "1"], "--seed"]
      ]
      for (const [args, includes] of cases) {
        const { code, stderr, stdout } = yield* runCommand(Cli.demo, args)
        assert.deepStrictEqual([code, stdout], [2, ""], args.join(" "))
        assertOneLine(stderr, includes)
        assert.notInclude(stderr, "hunter2")
      }
    })
  )

  it.live("reports a refused key in one line, with exit code 1", () =>
    Effect.gen(function* () {
      const server = yield* MockMeshServer.make({ apiKey: Redacted.make("right") })
      const { code, stderr } = yield* runCommand(Cli.demo, ["--json", "--url", server.url], { MAKIMA_API_KEY: "wrong" })
      assert.strictEqual(code, 1)
      assertOneLine(stderr, "401")
      assert.notInclude(stderr, "wrong")
    })
  )
})
