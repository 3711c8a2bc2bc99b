/**
 * The outputs in `docs/cli.md` are those of the built command. To write them anew:
 * `UPDATE_DOCS=1 pnpm test docs.process`.
 */
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as NodeServices from "@effect/platform-node/NodeServices"
import * as CostLedger from "@makima-stream/core/CostLedger"
import type { ServerMessage } from "@makima-stream/core/ServerMessage"
import * as TaskBoard from "@makima-stream/core/TaskBoard"
import * as TaskId from "@makima-stream/core/TaskId"
import * as MockMeshServer from "@makima-stream/test-kit/MockMeshServer"
import { fileURLToPath } from "node:url"
import * as Board from "../src/internal/board.ts"
import { result, said, update } from "./support/mesh.ts"
import { awaitFile } from "./support/output.ts"
import { run, start } from "./support/process.ts"

const page = fileURLToPath(new URL("../../../docs/cli.md", import.meta.url))

const one = TaskId.make("7f1c")
const two = TaskId.make("a2b9")
const begin = [update(one, "running", 1), update(two, "running", 1)]
const rest = [
  said(one, "I will fix the failing test first."),
  said(two, "Reading the report."),
  result(one, 0.42),
  update(one, "done", 2),
  result(two, 0.17),
  update(two, "failed", 2)
]

/** Plays the story to the first client: what it subscribes to decides how far. */
const story = Effect.fnUntraced(function* (server: MockMeshServer.Service, end: ReadonlyArray<ServerMessage>) {
  const { message } = yield* server.awaitReceived(() => true)
  yield* server.emitAll(begin)
  if (message._tag === "SubscribeAll") {
    yield* server.awaitReceived((it) => it.message._tag === "SubscribeOutput" && it.message.taskId === two)
  }
  yield* server.emitAll(end)
})

const topFrame = (): string => {
  let board = TaskBoard.make()
  let ledger = CostLedger.make()
  const events = [...begin, ...rest.slice(0, 4)]
  for (const [n, event] of events.entries()) {
    board = TaskBoard.update(board, event, n * 1000)
    ledger = CostLedger.update(ledger, event, n * 1000)
  }
  const model: Board.Model = {
    tasks: [...TaskBoard.live(board), ...TaskBoard.ended(board)],
    ledger,
    online: true,
    connection: "online, connection 1",
    events: events.length,
    rate: 1,
    gaps: 0,
    output: [],
    now: 9000
  }
  const lines = Board.frame(model, Board.initial, { columns: 76, rows: 9 }, false)
  return `${lines.map((line) => line.trimEnd()).join("\n")}\n`
}

/** The default port of `serve`. In the test it takes a free one. */
const gatewayPort = "8787"

/** What differs from run to run. */
const stable = (text: string, home: string): string =>
  text
    .replaceAll(/"at":\d+/g, '"at":1767225600000')
    .replaceAll(/\(\d+ ms\)/g, "(1 ms)")
    .replaceAll(/127\.0\.0\.1:(\d+)/g, (_, port) => `127.0.0.1:${port === gatewayPort ? port : "8080"}`)
    .replaceAll(/token=[\w-]{43}/g, "token=…")
    .replaceAll(/port \d+/g, "port 8080")
    .replaceAll(`${home}/`, "~/.config/")

const output = Effect.fnUntraced(function* (args: ReadonlyArray<string>, home: string) {
  if (args[0] === "top") return topFrame()
  const server = yield* MockMeshServer.make()
  // A spent budget ends the command. What was sent after that may have arrived or not.
  yield* Effect.forkScoped(story(server, args.includes("--budget") ? rest.slice(0, -1) : rest))
  const env = { XDG_CONFIG_HOME: home, ...(args[0] === "context" ? {} : { MAKIMA_API_URL: server.url }) }
  const resolved = args
    .map((arg) => (arg === "8080" ? "0" : arg))
    .concat(args[0] === "serve" ? ["--port", "0"] : [])
    .map((arg) => (/^(session\.jsonl|feed\.db)$/.test(arg) ? `${home}/${arg}` : arg))
  const isEndless = ["record", "relay", "mock", "serve"].includes(args[0] ?? "")
  if (!isEndless) {
    const { stderr, stdout } = yield* run(resolved, { env })
    return stdout === "" ? stderr : stdout
  }
  const running = yield* start(resolved, { env })
  if (args[0] === "mock") {
    yield* running.awaitErr("Try:")
  } else if (args[0] === "serve") {
    yield* running.awaitErr("complete from here on")
  } else {
    // Until the last event of the story is written.
    if (args[0] === "relay")
      yield* Effect.andThen(
        running.awaitErr("writes to the log"),
        run(["log", "--log", `${home}/feed.db`, "--follow", "--status", "failed", "-n", "1"])
      )
    else yield* awaitFile(`${home}/session.jsonl`, "failed")
  }
  yield* running.signal("SIGINT")
  const { stderr, stdout } = yield* running.ended
  const printed = args[0] === "serve" ? stdout.replace(/:\d+\//, `:${gatewayPort}/`) : stdout
  return `${printed}${stderr}`
}, Effect.scoped)

it.live("docs/cli.md shows what the command prints", () =>
  Effect.gen(function* () {
    const fs = yield* FileSystem.FileSystem
    const home = yield* fs.makeTempDirectoryScoped()
    const text = yield* fs.readFileString(page)
    let written = ""
    let end = 0
    for (const match of text.matchAll(/```console\n(.*?)```/gs)) {
      written += text.slice(end, match.index)
      end = match.index + match[0].length
      const commands = (match[1] ?? "").split("\n").filter((line) => line.startsWith("$ makima-stream "))
      let block = ""
      for (const command of commands) {
        const args = command.replace("$ makima-stream ", "").split(" ")
        block += `${command}\n${stable(yield* output(args, home), home)}`
      }
      written += `\`\`\`console\n${block}\`\`\``
    }
    written += text.slice(end)
    if (process.env["UPDATE_DOCS"] !== undefined) yield* fs.writeFileString(page, written)
    else assert.strictEqual(text, written)
  }).pipe(Effect.provide(NodeServices.layer))
)
