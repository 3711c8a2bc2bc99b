/**
 * What `top` shows and how keys change it. Pure, so that tests need no terminal.
 *
 * No line is wider than the terminal. Columns that do not fit are left out.
 */
import type * as CostLedger from "@makima-stream/core/CostLedger"
import type * as TaskState from "@makima-stream/core/TaskState"
import * as Text from "./text.ts"

/** The orders of the tasks. */
export const sorts = ["activity", "cost", "status", "age", "task"] as const

/** An order of the tasks. */
export type Sort = (typeof sorts)[number]

/** What the user sees and has chosen. */
export interface View {
  readonly sort: Sort
  readonly reverse: boolean
  /** Only tasks whose id, status or last output contains this text are shown. */
  readonly filter: string
  /** Whether keys go to the filter. */
  readonly typing: boolean
  /** The selected task; `undefined` for the first one. */
  readonly selected: string | undefined
  /** Whether the selected task is open. */
  readonly open: boolean
  /** Whether ended tasks are shown. */
  readonly ended: boolean
}

/** The view at the start. */
export const initial: View = {
  sort: "activity",
  reverse: false,
  filter: "",
  typing: false,
  selected: undefined,
  open: false,
  ended: true
}

/** A key of the keyboard. */
export interface Key {
  /** The name, such as `up` or `q`. */
  readonly name: string
  /** The text that it types; empty for a key without text. */
  readonly text: string
  readonly ctrl: boolean
}

/** What the board knows. */
export interface Model {
  readonly tasks: ReadonlyArray<TaskState.TaskState>
  readonly ledger: CostLedger.CostLedger
  readonly online: boolean
  /** The state of the connection, in words. */
  readonly connection: string
  /** Data messages since the start. */
  readonly events: number
  /** Data messages in the last second. */
  readonly rate: number
  /** Marks of a gap. */
  readonly gaps: number
  /** Output of the open task, newest last. */
  readonly output: ReadonlyArray<string>
  readonly now: number
}

/** The size of the terminal. */
export interface Size {
  readonly columns: number
  readonly rows: number
}

const order: Readonly<Record<Sort, (a: TaskState.TaskState, b: TaskState.TaskState) => number>> = {
  activity: (a, b) => Number(a.endedAt !== undefined) - Number(b.endedAt !== undefined) || lastOf(b) - lastOf(a),
  cost: (a, b) => b.costUsd - a.costUsd,
  status: (a, b) => compare(a.status ?? "", b.status ?? ""),
  age: (a, b) => (a.startedAt ?? Infinity) - (b.startedAt ?? Infinity),
  task: (a, b) => compare(a.taskId, b.taskId)
}

const compare = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0)

const lastOf = ({ lastEventAt = 0 }: TaskState.TaskState): number => Math.floor(lastEventAt / 1000)

/** The tasks that are shown, in their order. */
export const visible = (model: Model, view: View): ReadonlyArray<TaskState.TaskState> => {
  const wanted = view.filter.toLowerCase()
  const isVisible = (task: TaskState.TaskState): boolean =>
    (view.ended || task.endedAt === undefined) &&
    (wanted === "" ||
      `${task.taskId} ${task.status ?? ""} ${task.lastOutput?.content ?? ""}`.toLowerCase().includes(wanted))
  const sign = view.reverse ? -1 : 1
  return model.tasks
    .filter(isVisible)
    .toSorted((a, b) => sign * (order[view.sort](a, b) || compare(a.taskId, b.taskId)))
}

/** The position of the selected task. */
const indexOf = (tasks: ReadonlyArray<TaskState.TaskState>, view: View): number =>
  Math.max(
    0,
    tasks.findIndex(({ taskId }) => taskId === view.selected)
  )

const move = (tasks: ReadonlyArray<TaskState.TaskState>, view: View, by: number): View => {
  const index = Math.min(tasks.length - 1, Math.max(0, indexOf(tasks, view) + by))
  return { ...view, selected: tasks[index]?.taskId }
}

const type = (view: View, key: Key): View => {
  switch (key.name) {
    case "return":
    case "enter":
      return { ...view, typing: false }
    case "escape":
      return { ...view, typing: false, filter: "" }
    case "backspace":
      return { ...view, filter: [...view.filter].slice(0, -1).join("") }
    default:
      return key.ctrl ? view : { ...view, filter: view.filter + Text.oneLine(key.text) }
  }
}

/** The view after a key; `undefined` for the key that ends the program. */
export const press = (model: Model, view: View, key: Key, rows: number): View | undefined => {
  if (view.typing) return type(view, key)
  const tasks = visible(model, view)
  switch (key.text === "/" ? "/" : key.name) {
    case "q":
      return undefined
    case "escape":
      return view.open ? { ...view, open: false } : { ...view, filter: "" }
    case "left":
    case "h":
      return { ...view, open: false }
    case "return":
    case "enter":
    case "right":
    case "l":
      return tasks.length === 0 ? view : { ...view, open: true, selected: tasks[indexOf(tasks, view)]?.taskId }
    case "up":
    case "k":
      return move(tasks, view, -1)
    case "down":
    case "j":
      return move(tasks, view, 1)
    case "pageup":
      return move(tasks, view, -rows)
    case "pagedown":
    case "space":
      return move(tasks, view, rows)
    case "home":
    case "g":
      return move(tasks, view, -Infinity)
    case "end":
      return move(tasks, view, Infinity)
    case "s":
      return { ...view, sort: sorts[(sorts.indexOf(view.sort) + 1) % sorts.length] ?? "activity" }
    case "r":
      return { ...view, reverse: !view.reverse }
    case "e":
      return { ...view, ended: !view.ended }
    case "/":
      return { ...view, typing: true }
    default:
      return view
  }
}

const age = (millis: number | undefined): string => {
  if (millis === undefined || millis < 0) return ""
  const seconds = Math.floor(millis / 1000)
  if (seconds < 60) return `${seconds}s`
  const minutes = Math.floor(seconds / 60)
  return minutes < 60
    ? `${minutes}m${String(seconds % 60).padStart(2, "0")}`
    : `${Math.floor(minutes / 60)}h${String(minutes % 60).padStart(2, "0")}`
}

const elapsed = (task: TaskState.TaskState, now: number): number | undefined =>
  task.startedAt === undefined ? undefined : (task.endedAt ?? now) - task.startedAt

interface Column {
  readonly title: string
  readonly width: number
  readonly align?: "right"
  readonly text: (task: TaskState.TaskState, now: number) => string
  readonly color?: (task: TaskState.TaskState) => number
}

/** The most important ones first: those that do not fit are left out from the end. */
const columnsOf: ReadonlyArray<Column> = [
  { title: "TASK", width: 8, text: ({ taskId }) => Text.shortId(taskId) },
  {
    title: "STATUS",
    width: 11,
    text: ({ status }) => status ?? "?",
    color: ({ status }) => Text.statusColor(status)
  },
  { title: "COST", width: 9, align: "right", text: ({ costUsd }) => Text.usd(costUsd) },
  { title: "TIME", width: 5, align: "right", text: (task, now) => age(elapsed(task, now)) },
  {
    title: "GAP",
    width: 3,
    text: ({ outputGaps, updateGaps }) => (updateGaps + outputGaps > 0 ? "gap" : ""),
    color: () => Text.colors.yellow
  }
]

/** The last output of a task is shown if it has at least this many columns. */
const minOutput = 10

const layout = (width: number): { readonly columns: ReadonlyArray<Column>; readonly output: number } => {
  const columns: Array<Column> = []
  let used = 0
  for (const column of columnsOf) {
    const next = used + column.width + (used === 0 ? 0 : 1)
    if (next > width && columns.length > 0) break
    columns.push(column)
    used = next
  }
  const left = width - used - 2
  return { columns, output: columns.length === columnsOf.length && left >= minOutput ? left : 0 }
}

const listKeys = "↑↓ select  ⏎ open  s sort  r reverse  / filter  e ended  q quit"
const openKeys = "esc back  ↑↓ other task  q quit"

const header = (model: Model, view: View, size: Size, paint: Text.Paint): ReadonlyArray<string> => {
  const { columns } = size
  const live = model.tasks.filter(({ endedAt }) => endedAt === undefined).length
  const bound = model.ledger.updateGaps + model.ledger.outputGaps > 0 ? "≥" : ""
  const counts = [
    `${live} live`,
    `${model.tasks.length - live} ended`,
    `${bound}${Text.usd(model.ledger.totalUsd)}`,
    `${model.rate}/s`,
    `${model.events} events`,
    `${model.gaps} gaps`
  ].join("  ")
  const dot = paint(model.online ? Text.colors.green : Text.colors.red, "●")
  const connection = columns > 2 ? `${dot} ${Text.fit(Text.oneLine(model.connection), columns - 2)}` : dot
  const shown = `sorted by ${view.sort}${view.reverse ? ", reversed" : ""}${view.ended ? "" : ", live only"}`
  const filter = view.typing ? `filter: ${view.filter}▏` : view.filter === "" ? "" : `filter: ${view.filter}`
  return [
    connection,
    Text.fit(counts, columns),
    paint(Text.colors.dim, Text.fit(`${shown}  ${filter}`.trimEnd(), columns))
  ]
}

const table = (model: Model, view: View, size: Size, height: number, paint: Text.Paint): ReadonlyArray<string> => {
  const { columns, output } = layout(size.columns)
  const tasks = visible(model, view)
  const selected = indexOf(tasks, view)
  // The selected task stays within the rows.
  const first = Math.max(0, Math.min(selected - Math.floor(height / 2), tasks.length - height))
  const titles = columns.map(({ align, title, width }) => Text.cell(title, width, align)).join(" ")
  const lines = [paint(Text.colors.dim, Text.fit(output > 0 ? `${titles}  LAST OUTPUT` : titles, size.columns))]
  for (const [index, task] of tasks.slice(first, first + height).entries()) {
    const isSelected = first + index === selected
    const cells = columns.map(({ align, color, text, width }) => {
      const content = Text.cell(Text.oneLine(text(task, model.now)), width, align)
      return color === undefined || isSelected ? content : paint(color(task), content)
    })
    const last = output === 0 ? "" : Text.cell(Text.oneLine(task.lastOutput?.content ?? ""), output)
    const line =
      output === 0 ? cells.join(" ") : `${cells.join(" ")}  ${isSelected ? last : paint(Text.colors.dim, last)}`
    const fitting = columns.length === 1 ? Text.fit(Text.shortId(task.taskId), size.columns) : line
    lines.push(isSelected ? paint(Text.colors.inverse, fitting) : fitting)
  }
  return lines
}

/** Breaks text into lines of a number of columns. */
export const wrap = (text: string, columns: number): ReadonlyArray<string> => {
  const lines: Array<string> = []
  for (let rest of text.split("\n")) {
    do {
      const line = Text.fit(rest, columns)
      // A character that is wider than the terminal is dropped.
      if (line === "" && rest !== "") break
      lines.push(line)
      rest = rest.slice(line.length)
    } while (rest !== "")
  }
  return lines
}

const detail = (model: Model, view: View, size: Size, height: number, paint: Text.Paint): ReadonlyArray<string> => {
  const tasks = visible(model, view)
  const task = tasks[indexOf(tasks, view)]
  if (task === undefined) return ["No task"]
  const fact = (name: string, value: string) =>
    `${paint(Text.colors.dim, Text.cell(name, Math.min(9, size.columns)))}${Text.fit(` ${value}`, Math.max(0, size.columns - 9))}`
  const counts = [...task.counts].map(([type, count]) => `${Text.oneLine(type)} ${count}`).join(", ")
  const facts = [
    fact("task", Text.oneLine(task.taskId)),
    fact(
      "status",
      `${Text.oneLine(task.status ?? "?")}${task.version === undefined ? "" : `  version ${task.version}`}`
    ),
    fact("cost", `${Text.usd(task.costUsd)}  ${task.runs === 1 ? "1 run" : `${task.runs} runs`}`),
    fact("time", age(elapsed(task, model.now))),
    fact("output", counts),
    fact("gaps", `${task.updateGaps} of updates, ${task.outputGaps} of output`),
    ""
  ]
  const texts = model.output.length > 0 ? model.output : [Text.strip(task.lastOutput?.content ?? "")]
  const output = texts.flatMap((text) => wrap(text.replaceAll("\t", "  "), size.columns))
  return [...facts, ...output.slice(-Math.max(0, height - facts.length))].slice(0, height)
}

/** One frame, a line each: never more lines than the terminal has rows. */
export const frame = (model: Model, view: View, terminal: Size, color: boolean): ReadonlyArray<string> => {
  const size = { columns: Math.max(1, terminal.columns), rows: Math.max(1, terminal.rows) }
  const paint = Text.painter(color)
  const head = header(model, view, size, paint)
  const height = Math.max(1, size.rows - head.length - 2)
  const body = view.open ? detail(model, view, size, height + 1, paint) : table(model, view, size, height, paint)
  const keys = paint(Text.colors.dim, Text.fit(view.open ? openKeys : listKeys, size.columns))
  const filled = [...head, ...body].slice(0, Math.max(0, size.rows - 1))
  while (filled.length < size.rows - 1) filled.push("")
  return [...filled, keys]
}
