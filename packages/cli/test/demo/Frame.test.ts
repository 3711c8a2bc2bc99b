import { assert, describe, it } from "@effect/vitest"
import * as CliOutput from "effect/cli/CliOutput"
import * as MeshError from "@makima-stream/core/MeshError"
import type * as MeshEvent from "@makima-stream/core/MeshEvent"
import * as TaskId from "@makima-stream/core/TaskId"
import * as Frame from "../../src/demo/Frame.ts"
import * as Tally from "../../src/demo/Tally.ts"

const taskId = TaskId.make("00000000-0000-4000-8000-0000000000ab")

const events: ReadonlyArray<MeshEvent.MeshEvent> = [
  { _tag: "Connected", epoch: 1, at: 0 },
  { _tag: "Resync", epoch: 1, reason: { _tag: "Started" } },
  { _tag: "TaskUpdated", taskId, version: 1, status: "waiting-for-a-reviewer" },
  { _tag: "TaskOutput", taskId, messageType: "assistant", content: "界 wide\u001b[31m text ".repeat(20) },
  { _tag: "TaskOutput", taskId, messageType: "result", content: "ok", costUsd: 123456.5 }
]

const tally = Tally.add(Tally.empty, events, 0)

const ansi = new RegExp(`${String.fromCharCode(27)}\\[\\d+m`, "g")

const widthOf = (line: string): number => CliOutput.displayWidth(line.replaceAll(ansi, ""))

describe("Frame", () => {
  it("draws no line wider than the terminal, and no more lines than fit above the cursor, at any size", () => {
    for (let columns = 1; columns <= 130; columns++) {
      for (const rows of [1, 2, 5, 8, 24]) {
        const lines = Frame.frame(tally, 24, { columns, rows, colour: columns % 2 === 0 })
        assert.isAtMost(lines.length, Math.max(1, rows - 1), `${columns}x${rows}`)
        for (const line of lines) assert.isAtMost(widthOf(line), columns, `${columns}x${rows}: ${line}`)
      }
    }
  })

  it("shows the id and the status of a task on a terminal of 30 columns", () => {
    const lines = Frame.frame(tally, 24, { columns: 30, rows: 24, colour: false })
    assert.deepStrictEqual(lines.slice(4), ["task     status           cost", "000000ab waiting-for $123456.5"])
  })

  it("has no escape sequence without colours, whatever the server sends", () => {
    const lines = Frame.frame(tally, 24, { columns: 100, rows: 24, colour: false })
    assert.notInclude(lines.join("\n"), String.fromCharCode(27))
  })

  it("breaks the summary at words", () => {
    const text = Frame.summary(tally, "clean")
    for (const columns of [30, 43, 80]) {
      const lines = Frame.wrap(text, columns).split("\n")
      for (const line of lines) assert.isAtMost(widthOf(line), columns)
      assert.deepStrictEqual(lines.join(" ").split(" "), text.split(/[ \n]/))
    }
  })

  it("says that the server was never reached instead of counting nothing", () => {
    const failed = Tally.add(
      Tally.empty,
      [
        {
          _tag: "Disconnected",
          epoch: 0,
          opened: false,
          attempt: 1,
          at: 0,
          reason: new MeshError.DialTimeout({ timeoutMillis: 10_000 })
        }
      ],
      0
    )
    const text = Frame.summary(failed)
    assert.include(text, "The server was never reached")
    assert.include(text, failed.connection)
    assert.notInclude(text, "()")
  })

  it("counts the marks by their reason", () => {
    assert.include(Frame.summary(tally), "1 Resync mark (1 Started)")
  })
})
