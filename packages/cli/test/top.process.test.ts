/** `top` on a pseudo-terminal. What it draws in detail is in `board.test.ts`. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as MockMeshServer from "@makima-stream/test-kit/MockMeshServer"
import { restore } from "../src/internal/screen.ts"
import { a, b, said, update } from "./support/mesh.ts"
import { hasTerminals, start } from "./support/process.ts"

const terminal = { columns: 80, rows: 24 }

const feed = Effect.fnUntraced(function* (server: MockMeshServer.Service) {
  yield* server.awaitReceived(({ message }) => message._tag === "SubscribeAll")
  yield* server.emitAll([update(a, "running", 1), update(b, "blocked", 1)])
  yield* server.awaitReceived(({ message }) => message._tag === "SubscribeOutput" && message.taskId === b)
  yield* server.emitAll([said(a, "表 emoji 👩‍👩‍👧 wide"), said(b, "\u001b[2Jhello")])
})

describe.skipIf(!hasTerminals).concurrent("top", () => {
  it.live("draws the tasks on the alternate screen, follows the keys, and restores the terminal", () =>
    Effect.gen(function* () {
      const server = yield* MockMeshServer.make()
      const top = yield* start(["top", "--url", server.url, "--sort", "task"], { terminal })
      yield* feed(server)
      yield* top.awaitOut("hello")
      yield* top.type("s")
      yield* top.awaitOut("sorted by activity")
      yield* top.type("/block")
      yield* top.awaitOut("filter: block")
      yield* top.type("\r")
      yield* top.type("\r")
      yield* top.awaitOut("esc back")
      yield* top.type("q")
      const { code, stdout } = yield* top.ended
      assert.strictEqual(code, 0)
      assert.isTrue(stdout.startsWith("\u001b[?1049h"))
      assert.isTrue(stdout.endsWith(restore))
      assert.notInclude(stdout, "\u001b[2Jhello")
      // Every frame is one synchronized update.
      assert.strictEqual(stdout.split("\u001b[?2026h").length, stdout.split("\u001b[?2026l").length - 1)
    })
  )

  it.live("restores the terminal when Ctrl-C, a signal or the server's refusal ends it", () =>
    Effect.gen(function* () {
      const server = yield* MockMeshServer.make()
      const keyboard = yield* start(["top", "--url", server.url], { terminal })
      yield* keyboard.awaitOut("online")
      yield* keyboard.type("\u0003")
      const first = yield* keyboard.ended
      assert.isTrue(first.stdout.endsWith(restore))
      assert.strictEqual(first.code, 130)

      const refused = yield* start(["top", "--url", server.url], { terminal })
      yield* refused.awaitOut("online")
      yield* server.close(4403, "no")
      const second = yield* refused.ended
      assert.strictEqual(second.code, 3)
      assert.isTrue(second.stdout.includes(restore))
    })
  )

  it.live("fits into 40 columns without colours", () =>
    Effect.gen(function* () {
      const server = yield* MockMeshServer.make()
      const top = yield* start(["top", "--url", server.url], {
        terminal: { columns: 40, rows: 12 },
        env: { NO_COLOR: "1" }
      })
      yield* feed(server)
      const printed = yield* top.awaitOut("blocked")
      // oxlint-disable-next-line no-control-regex
      assert.notMatch(printed, /\u001b\[[0-9;]*m/)
      yield* top.type("q")
      assert.strictEqual((yield* top.ended).code, 0)
    })
  )
})
