import { assert, describe, it } from "@effect/vitest"
import * as CliOutput from "effect/cli/CliOutput"
import * as CostLedger from "@makima-stream/core/CostLedger"
import type * as MeshEvent from "@makima-stream/core/MeshEvent"
import * as TaskBoard from "@makima-stream/core/TaskBoard"
import * as TaskId from "@makima-stream/core/TaskId"
import * as Board from "../../src/internal/board.ts"
import * as Screen from "../../src/internal/screen.ts"
import { a, b, result, said, update } from "../support/mesh.ts"

const c = TaskId.make("task-c")

const modelOf = (events: ReadonlyArray<MeshEvent.MeshEvent>): Board.Model => {
  let board = TaskBoard.make()
  let ledger = CostLedger.make()
  for (const [at, event] of events.entries()) {
    board = TaskBoard.update(board, event, at * 1000)
    ledger = CostLedger.update(ledger, event, at * 1000)
  }
  return {
    tasks: [...TaskBoard.live(board), ...TaskBoard.ended(board)],
    ledger,
    online: true,
    connection: "online\u001b[2J, connection 1",
    events: events.length,
    rate: 12,
    gaps: 0,
    output: [],
    now: 60_000
  }
}

const model = modelOf([
  update(a, "running", 1),
  update(b, "blocked", 1),
  update(c, "running", 1),
  said(a, "日本語 👩‍👩‍👧 wide\u001b[31m text ".repeat(9)),
  result(b, 1.5),
  update(c, "done", 2)
])

const key = (name: string, text = "", ctrl = false): Board.Key => ({ name, text, ctrl })

const press = (view: Board.View, ...keys: ReadonlyArray<Board.Key>): Board.View =>
  keys.reduce((current, it) => Board.press(model, current, it, 10) ?? current, view)

const ids = (view: Board.View) => Board.visible(model, view).map(({ taskId }) => taskId)

// oxlint-disable-next-line no-control-regex
const widthOf = (line: string): number => CliOutput.displayWidth(line.replaceAll(/\u001b\[\d+m/g, ""))

describe("Board", () => {
  it("draws no line wider than the terminal, and as many lines as it has rows, at any size and in every view", () => {
    const views = [Board.initial, { ...Board.initial, open: true }, { ...Board.initial, filter: "none", typing: true }]
    for (let columns = 1; columns <= 100; columns += 3) {
      for (const rows of [1, 2, 4, 6, 24]) {
        for (const view of views) {
          const lines = Board.frame(model, view, { columns, rows }, columns % 2 === 0)
          assert.strictEqual(lines.length, rows, `${columns}x${rows}`)
          for (const line of lines) assert.isAtMost(widthOf(line), columns, `${columns}x${rows}: ${line}`)
        }
      }
    }
  })

  it("aligns the columns of rows with wide characters and emoji", () => {
    const lines = Board.frame(model, Board.initial, { columns: 80, rows: 12 }, false)
    const rows = lines.filter((line) => /^task-[abc]/.test(line))
    assert.strictEqual(rows.length, 3)
    for (const row of rows) assert.strictEqual(widthOf(row), 80)
    assert.isTrue(rows.every((row) => row.indexOf("$") === rows[0]?.indexOf("$")))
  })

  it("shows the keys, and other ones while a task is open", () => {
    const size = { columns: 80, rows: 12 }
    assert.include(Board.frame(model, Board.initial, size, false).at(-1) ?? "", "q quit")
    assert.include(Board.frame(model, { ...Board.initial, open: true }, size, false).at(-1) ?? "", "esc back")
  })

  it("strips what the server says", () => {
    assert.notInclude(Board.frame(model, Board.initial, { columns: 80, rows: 12 }, false).join("\n"), "\u001b")
  })

  it("sorts by each column, and in reverse", () => {
    assert.deepStrictEqual(ids({ ...Board.initial, sort: "task" }), [a, b, c])
    assert.deepStrictEqual(ids({ ...Board.initial, sort: "task", reverse: true }), [c, b, a])
    assert.deepStrictEqual(ids({ ...Board.initial, sort: "cost" }), [b, a, c])
    assert.deepStrictEqual(ids({ ...Board.initial, sort: "status" }), [b, c, a])
    // Live tasks first, the one with the newest event before the others.
    assert.deepStrictEqual(ids(Board.initial), [b, a, c])
    assert.strictEqual(press(Board.initial, key("s")).sort, "cost")
  })

  it("filters by what is typed, and forgets the filter at Escape", () => {
    const typed = press(Board.initial, key("", "/"), key("b", "b"), key("l", "l"), key("x", "x"), key("backspace"))
    assert.deepStrictEqual([typed.filter, typed.typing], ["bl", true])
    assert.deepStrictEqual(ids(typed), [b])
    assert.isFalse(press(typed, key("return")).typing)
    assert.strictEqual(press(typed, key("escape")).filter, "")
  })

  it("types q into the filter instead of quitting", () => {
    assert.strictEqual(press(Board.initial, key("", "/"), key("q", "q")).filter, "q")
    assert.isUndefined(Board.press(model, Board.initial, key("q", "q"), 10))
  })

  it("hides ended tasks", () => {
    assert.deepStrictEqual(ids(press(Board.initial, key("e"))), [b, a])
  })

  it("keeps the selected task selected when the order changes, and opens it", () => {
    const view = press({ ...Board.initial, sort: "task" }, key("down"), key("down"), key("up"), key("s"))
    assert.strictEqual(view.selected, b)
    const open = press(view, key("return"))
    assert.isTrue(open.open)
    assert.include(Board.frame(model, open, { columns: 80, rows: 12 }, false).join("\n"), "$1.5000")
    assert.isFalse(press(open, key("escape")).open)
    assert.strictEqual(press(view, key("end")).selected, ids(view).at(-1))
    assert.strictEqual(press(view, key("home")).selected, ids(view)[0])
  })
})

describe("Screen.diff", () => {
  it("writes only the lines that changed, within one synchronized update", () => {
    assert.strictEqual(
      Screen.diff(["one", "two", "three"], ["one", "2", "three"]),
      "\u001b[?2026h\u001b[2;1H2\u001b[K\u001b[?2026l"
    )
  })

  it("writes nothing if nothing changed", () => {
    assert.strictEqual(Screen.diff(["one"], ["one"]), "")
  })

  it("clears lines that are gone, and draws everything without a previous frame", () => {
    assert.include(Screen.diff(["one", "two"], ["one"]), "\u001b[2;1H\u001b[K")
    assert.include(Screen.diff(undefined, ["one"]), "\u001b[2J\u001b[1;1Hone")
  })
})
