/**
 * Processes on logs in SQLite that are killed, or have no space. `scripts/test/takeovers.test.ts`
 * kills relays, at each step of an append.
 */
import { assert, describe, it } from "@effect/vitest"
import { spawnSync } from "node:child_process"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import * as SqliteLog from "@makima-stream/log/SqliteLog"
import { contents, outputs, range } from "./support/events.ts"
import { start } from "./support/process.ts"
import { temporaryFile } from "./support/sqlite.ts"

const readFile = (filename: string) =>
  Effect.scoped(Effect.flatMap(SqliteLog.make({ filename }), (log) => Stream.runCollect(log.read())))

/** Runs a shell command that ends with `exec "$0" "$@"`: the program that appends until it fails. */
const fill = Effect.fnUntraced(function* (filename: string, command: string) {
  const program = yield* start("killed", ["fill", filename], { shell: command })
  yield* program.ended
  return JSON.parse(yield* program.printed) as {
    readonly reason?: string
    readonly stored?: number
    readonly read?: number
  }
})

const canMount = spawnSync("unshare", ["-rm", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]).status === 0

describe("a log without space", () => {
  it.live(
    "fails at the largest allowed size of a file, keeps what was stored readable, and accepts the rest later",
    () =>
      Effect.gen(function* () {
        const filename = yield* temporaryFile
        // In units of 512 bytes. The signal is ignored, so that the write fails.
        const { read, reason, stored = 0 } = yield* fill(filename, 'trap \'\' XFSZ; ulimit -f 800; exec "$0" "$@"')
        assert.strictEqual(reason, "Unavailable")
        assert.isAbove(stored, 0)
        assert.strictEqual(read, stored)
        yield* Effect.scoped(
          Effect.flatMap(SqliteLog.make({ filename }), (log) => log.append(outputs(stored, stored + 10)))
        )
        assert.deepStrictEqual(contents(yield* readFile(filename)), range(0, stored + 10))
      })
  )

  it.live.skipIf(!canMount)("fails with Full on a full disk, and keeps what was stored readable", () =>
    Effect.gen(function* () {
      const filename = "/mnt/feed.db"
      const mount = 'mount -t tmpfs -o size=1m tmpfs /mnt; exec "$0" "$@"'
      const { read, reason, stored = 0 } = yield* fill(filename, `exec unshare -rm sh -c '${mount}' "$0" "$@"`)
      assert.strictEqual(reason, "Full")
      assert.isAbove(stored, 0)
      assert.strictEqual(read, stored)
    })
  )
})

describe("a process that is killed with SIGKILL", () => {
  it.live("is delivered again what it handled and did not acknowledge, and nothing else", () =>
    Effect.gen(function* () {
      const filename = yield* temporaryFile
      yield* Effect.scoped(Effect.flatMap(SqliteLog.make({ filename }), (log) => log.append(outputs(0, 30))))
      const first = yield* start("killed", ["reader", filename, "12"])
      yield* first.ended
      assert.strictEqual(first.child.signalCode, "SIGKILL")
      const second = yield* start("killed", ["reader", filename, "19"])
      yield* second.ended
      assert.strictEqual(second.child.signalCode, "SIGKILL")
      assert.deepStrictEqual((yield* first.printed).trim().split("\n"), range(0, 12))
      // The twelfth entry was not acknowledged.
      assert.deepStrictEqual((yield* second.printed).trim().split("\n"), range(11, 30))
    })
  )
})
