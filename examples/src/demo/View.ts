/**
 * What the demo shows while it runs: a live view where there is a terminal,
 * plain lines where the output goes elsewhere, and nothing for `--json`.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import * as CliOutput from "effect/cli/CliOutput"
import * as TaskBoard from "@makima-stream/core/TaskBoard"
import type * as MeshEvent from "@makima-stream/core/MeshEvent"
import type * as TaskState from "@makima-stream/core/TaskState"
import * as Tally from "./Tally.ts"

export interface View {
  /** Shows a batch, and what the tally has become with it. */
  readonly show: (batch: ReadonlyArray<MeshEvent.MeshEvent>, tally: Tally.Tally, at: number) => Effect.Effect<void>
}

const write = (text: string) => Effect.sync(() => process.stdout.write(text))

export const silent: View = { show: () => Effect.void }

/** The end of an id, which tells tasks apart well enough to look at. */
const short = (taskId: string) => taskId.slice(-8)

const seconds = (millis: number) => (millis / 1000).toFixed(1).padStart(5)

const usd = (amount: number) => `$${amount.toFixed(4)}`

// ---------------------------------------------------------------------------
// plain lines
// ---------------------------------------------------------------------------

/** A line for whatever changes the picture. Outputs are many, so only results have one. */
const line = (event: MeshEvent.MeshEvent): string | undefined => {
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

export const plain: Effect.Effect<View> = Effect.map(Clock.currentTimeMillis, (start) => ({
  show: (batch, _, at) => {
    const lines = batch.flatMap((event) => line(event) ?? [])
    return lines.length === 0 ? Effect.void : write(lines.map((text) => `${seconds(at - start)}s  ${text}\n`).join(""))
  }
}))

// ---------------------------------------------------------------------------
// a live view
// ---------------------------------------------------------------------------

const escape = (code: string) => `\u001b[${code}`
const dim = (text: string) => `${escape("2m")}${text}${escape("0m")}`
const colour = (code: number, text: string) => `${escape(`${code}m`)}${text}${escape("0m")}`

const statusColour = (status: string | undefined): number => {
  switch (status) {
    case "failed":
    case "interrupted":
    case "cancelled":
      return 31
    case "done":
    case "completed":
    case "merged":
      return 32
    case "running":
      return 36
    default:
      return 33
  }
}

/** Text of another's making, on one line and without what a terminal would obey. */
const oneLine = (text: string): string =>
  [...text].map((character) => (character < " " || character === "\u007f" ? " " : character)).join("")

/** As much of a text as fits into a number of columns, of which some characters take two. */
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

const row = (task: TaskState.TaskState, width: number): string => {
  const status = (task.status ?? "?").padEnd(11)
  const gap = task.gaps > 0 ? colour(33, "gap") : "   "
  const said = oneLine(task.lastOutput?.content ?? "")
  const outputs = [...task.counts.values()].reduce((sum, count) => sum + count, 0)
  const head = `${short(task.taskId)}  ${colour(statusColour(task.status), status)} ${gap} ${String(outputs).padStart(4)} `
  const cost = usd(task.costUsd).padStart(10)
  // Colours take no columns, so the columns are counted without them.
  const left = width - (8 + 2 + 11 + 1 + 3 + 1 + 4 + 1 + 10 + 2)
  return `${head}${cost}  ${dim(fit(said, left))}`
}

const bar = (done: number, of: number, width: number): string => {
  const full = of === 0 ? 0 : Math.round((done / of) * width)
  return `${"█".repeat(full)}${dim("░".repeat(width - full))} ${done} of ${of} tasks ended`
}

const frame = (
  tally: Tally.Tally,
  expected: number | undefined,
  columns: number,
  rows: number
): ReadonlyArray<string> => {
  const known = [...TaskBoard.live(tally.board), ...TaskBoard.ended(tally.board)]
  const order = (task: TaskState.TaskState) => (task.endedAt === undefined ? 0 : 1)
  const table = known
    .toSorted((a, b) => order(a) - order(b) || (b.lastEventAt ?? 0) - (a.lastEventAt ?? 0))
    .slice(0, Math.max(1, rows - 7))
  const online = tally.connection.startsWith("online")
  return [
    `${colour(online ? 32 : 31, "●")} ${fit(oneLine(tally.connection), columns - 2)}`,
    bar(Tally.ended(tally), expected ?? Tally.tasks(tally), Math.min(40, Math.max(10, columns - 24))),
    fit(
      `${tally.updates} updates, ${tally.outputs} outputs, ${tally.connections} connections, ${tally.resyncs} resyncs, ${usd(tally.ledger.totalUsd)}`,
      columns
    ),
    "",
    dim("task      status      gap  outs       cost  last said"),
    ...table.map((task) => row(task, columns))
  ]
}

/** Draws the newest tally ten times a second, over what it drew before. */
export const live = (expected: number | undefined): Effect.Effect<View, never, Scope.Scope> =>
  Effect.gen(function* () {
    let newest = Tally.empty
    let drawn = 0
    const draw = Effect.suspend(() => {
      const lines = frame(newest, expected, process.stdout.columns, process.stdout.rows)
      const up = drawn === 0 ? "" : escape(`${drawn}A`)
      drawn = lines.length
      return write(`${up}${lines.map((text) => `${escape("2K")}${text}\n`).join("")}${escape("0J")}`)
    })
    yield* Effect.acquireRelease(write(escape("?25l")), () => Effect.andThen(draw, write(escape("?25h"))))
    yield* draw.pipe(Effect.delay("100 millis"), Effect.forever, Effect.forkScoped)
    return {
      show: (_, tally) =>
        Effect.sync(() => {
          newest = tally
        })
    }
  })

/** The view that suits the place that the output goes to. */
export const auto = (options: {
  readonly json: boolean
  readonly expected: number | undefined
}): Effect.Effect<View, never, Scope.Scope> =>
  options.json ? Effect.succeed(silent) : process.stdout.isTTY ? live(options.expected) : plain

/** What a task was last known to be, for the summary. */
export const statuses = (tally: Tally.Tally): ReadonlyMap<string, number> => {
  const counts = new Map<string, number>()
  for (const task of [...TaskBoard.ended(tally.board), ...TaskBoard.live(tally.board)]) {
    const status = Option.getOrElse(Option.fromUndefinedOr(task.status), () => "unknown")
    counts.set(status, (counts.get(status) ?? 0) + 1)
  }
  return counts
}
