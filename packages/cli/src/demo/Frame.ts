/**
 * The text that the demo shows: one frame of the live view, a line for each event, and
 * the summary. Pure, so that tests and the picture of the README use it without a
 * terminal.
 *
 * No line is wider than the terminal. Columns that do not fit are omitted.
 */
import * as CliOutput from "effect/cli/CliOutput"
import * as TaskBoard from "@makima-stream/core/TaskBoard"
import type * as MeshEvent from "@makima-stream/core/MeshEvent"
import type * as TaskState from "@makima-stream/core/TaskState"
import * as Tally from "./Tally.ts"

/** What the output can show. */
export interface Terminal {
  readonly columns: number
  readonly rows: number
  /** Whether colours may be used. */
  readonly colour: boolean
}

/** The last characters of an id. They distinguish tasks well enough for a display. */
const short = (taskId: string): string => taskId.slice(-8)

const usd = (amount: number): string => `$${amount.toFixed(4)}`

/** A line for each event that changes the view. There are many outputs, so only results have a line. */
export const line = (event: MeshEvent.MeshEvent): string | undefined => {
  switch (event._tag) {
    case "Connected":
      return `connected, epoch ${event.epoch}`
    case "Disconnected": {
      const retry =
        event.retryInMillis === undefined ? "giving up" : `next attempt in ${event.retryInMillis.toFixed(0)} ms`
      return `disconnected: ${event.reason.message}; ${retry}`
    }
    case "Resync":
      return `resync: ${event.reason._tag}${event.taskId === undefined ? "" : ` of ${short(event.taskId)}`}`
    case "Restated":
      return event.gone === true
        ? `task ${short(event.taskId)} does not exist any more`
        : event.status === undefined
          ? undefined
          : `task ${short(event.taskId)} ${event.status}, by a snapshot`
    case "Repaired":
      return `repaired: ${event.restated} tasks restated`
    case "RepairFailed":
      return `not repaired after ${event.attempts} attempts: ${event.error}`
    case "TaskUpdated":
      return event.status === undefined ? undefined : `task ${short(event.taskId)} ${event.status}`
    case "TaskOutput":
      return event.messageType === "result"
        ? `task ${short(event.taskId)} result, ${usd(event.costUsd ?? 0)}`
        : undefined
    case "ServerError":
      return `server error ${event.code}: ${event.message}`
    case "UnknownMessage":
      return `message of the unknown type ${event.raw.type}`
  }
}

/** Replaces control characters, so that text from the server cannot control the terminal. */
const oneLine = (text: string): string =>
  [...text].map((character) => (character < " " || character === "\u007f" ? " " : character)).join("")

/** The longest prefix that fits into a number of columns. Some characters take two columns. */
const fit = (text: string, columns: number): string => {
  let width = 0
  let fitting = ""
  for (const character of text) {
    width += CliOutput.displayWidth(character)
    if (width > columns) break
    fitting += character
  }
  return fitting
}

/** Exactly a number of columns: the text is cut or padded with spaces. */
const cell = (text: string, columns: number, align: "left" | "right" = "left"): string => {
  const fitting = fit(text, columns)
  const fill = " ".repeat(Math.max(0, columns - CliOutput.displayWidth(fitting)))
  return align === "left" ? fitting + fill : fill + fitting
}

const dim = 2
const red = 31
const green = 32
const yellow = 33
const cyan = 36

const statusColour = (status: string | undefined): number => {
  switch (status) {
    case "failed":
    case "interrupted":
    case "cancelled":
      return red
    case "done":
    case "completed":
    case "merged":
      return green
    case "running":
      return cyan
    default:
      return yellow
  }
}

interface Column {
  readonly title: string
  readonly width: number
  readonly align?: "right"
  readonly text: (task: TaskState.TaskState) => string
  readonly colour?: (task: TaskState.TaskState) => number
}

const outputsOf = (task: TaskState.TaskState): number =>
  [...task.counts.values()].reduce((sum, count) => sum + count, 0)

/** The columns of the table, the most important first. Columns that do not fit are omitted, the last ones first. */
const columnsOf: ReadonlyArray<Column> = [
  { title: "task", width: 8, text: ({ taskId }) => short(taskId) },
  {
    title: "status",
    width: 11,
    text: ({ status }) => status ?? "?",
    colour: ({ status }) => statusColour(status)
  },
  { title: "cost", width: 9, align: "right", text: ({ costUsd }) => usd(costUsd) },
  { title: "outs", width: 4, align: "right", text: (task) => String(outputsOf(task)) },
  {
    title: "gap",
    width: 3,
    text: ({ outputGaps, updateGaps }) => (updateGaps + outputGaps > 0 ? "gap" : ""),
    colour: () => yellow
  }
]

/** The fewest columns in which the last output of a task is worth showing. */
const minSaid = 9

/**
 * The lines of one frame of the live view.
 *
 * @param expected the number of tasks in the workload; defaults to the number of tasks seen
 */
export const frame = (tally: Tally.Tally, expected: number | undefined, terminal: Terminal): ReadonlyArray<string> => {
  const width = Math.max(1, Math.floor(terminal.columns))
  const height = Math.max(1, Math.floor(terminal.rows))
  const paint = (code: number, text: string): string =>
    terminal.colour && text.trim() !== "" ? `\u001b[${code}m${text}\u001b[0m` : text

  const connection = (): string => {
    const text = width > 2 ? ` ${fit(oneLine(tally.connection), width - 2)}` : ""
    return `${paint(tally.online ? green : red, "●")}${text}`
  }

  const progress = (): string => {
    const done = Tally.ended(tally)
    const of = expected ?? Tally.tasks(tally)
    const label = `${done} of ${of} tasks ended`
    const size = Math.min(40, width - CliOutput.displayWidth(label) - 1)
    if (size < 5) return fit(label, width)
    const full = of === 0 ? 0 : Math.min(size, Math.round((done / of) * size))
    return `${"█".repeat(full)}${paint(dim, "░".repeat(size - full))} ${label}`
  }

  const shown: Array<Column> = []
  let used = 0
  for (const column of columnsOf) {
    const next = used + column.width + (used === 0 ? 0 : 1)
    if (next > width && shown.length > 0) break
    shown.push(column)
    used = next
  }
  const said = shown.length === columnsOf.length && width - used - 2 >= minSaid ? width - used - 2 : 0

  const header = (): string => {
    const titles = shown.map(({ align, title, width }) => cell(title, width, align)).join(" ")
    return paint(dim, fit(said > 0 ? `${titles}  last said` : titles, width))
  }

  const row = (task: TaskState.TaskState): string => {
    const cells = shown.map(({ align, colour, text, width }) => {
      const content = cell(oneLine(text(task)), width, align)
      return colour === undefined ? content : paint(colour(task), content)
    })
    if (shown.length === 1) return fit(short(task.taskId), width)
    const last = said > 0 ? `  ${paint(dim, fit(oneLine(task.lastOutput?.content ?? ""), said))}` : ""
    return `${cells.join(" ")}${last}`
  }

  const known = [...TaskBoard.live(tally.board), ...TaskBoard.ended(tally.board)]
  const order = (task: TaskState.TaskState) => (task.endedAt === undefined ? 0 : 1)
  const table = known
    .toSorted((a, b) => order(a) - order(b) || (b.lastEventAt ?? 0) - (a.lastEventAt ?? 0))
    .slice(0, Math.max(1, height - 7))
  const counts = [
    `${tally.updates} updates`,
    `${tally.outputs} outputs`,
    `${tally.connections} connections`,
    `${tally.resyncs} resyncs`,
    usd(tally.ledger.totalUsd)
  ].join(", ")
  // The last row stays free for the cursor.
  return [connection(), progress(), fit(counts, width), "", header(), ...table.map(row)].slice(
    0,
    Math.max(1, height - 1)
  )
}

/** Breaks text at spaces, so that no line is wider than `columns`. A longer word has a line of its own. */
export const wrap = (text: string, columns: number): string =>
  text
    .split("\n")
    .map((paragraph) => {
      const lines: Array<string> = []
      let current = ""
      for (const word of paragraph.split(" ")) {
        const longer = current === "" ? word : `${current} ${word}`
        if (current !== "" && CliOutput.displayWidth(longer) > columns) {
          lines.push(current)
          current = word
        } else {
          current = longer
        }
      }
      return [...lines, current].join("\n")
    })
    .join("\n")

const counted = (counts: ReadonlyMap<string, number>): string =>
  counts.size === 0 ? "" : ` (${[...counts].map(([name, count]) => `${count} ${name}`).join(", ")})`

const plural = (count: number, one: string, many: string): string => `${count} ${count === 1 ? one : many}`

/**
 * The text after the end of the demo, without the final object.
 *
 * @param audit the result of the audit, if there is a server's log to compare with
 */
export const summary = (tally: Tally.Tally, audit?: string): string => {
  if (tally.connections === 0) return `The server was never reached. ${tally.connection}`
  const lines = [
    `${plural(Tally.tasks(tally), "task", "tasks")}${counted(Tally.statuses(tally))}, ` +
      `${plural(tally.updates, "update", "updates")}, ${plural(tally.outputs, "output", "outputs")}, ` +
      `$${tally.ledger.totalUsd.toFixed(2)} as far as received.`,
    `${plural(tally.connections, "connection", "connections")}, ` +
      `${plural(tally.resyncs, "Resync mark", "Resync marks")}${counted(tally.marks)}.`
  ]
  if (audit !== undefined) lines.push(`Compared with the server's log: ${audit}`)
  return lines.join("\n")
}
