/**
 * The text of an event: a line to read, a JSON object for programs, or a filled
 * template.
 */
import * as Schema from "effect/Schema"
import * as MeshEvent from "@makima-stream/core/MeshEvent"
import * as Text from "./text.ts"

const encode = Schema.encodeSync(Schema.toCodecJson(MeshEvent.MeshEvent))

/** The event as one line of JSON, with more members if there are any. */
export const json = (event: MeshEvent.MeshEvent, more?: object): string => {
  // Data is plain and needs no encoding. The other elements may hold errors.
  const value: object = MeshEvent.isLifecycle(event) ? Object(encode(event)) : event
  const text = JSON.stringify(more === undefined ? value : { ...value, ...more })
  return `${Text.escapeJson(text)}\n`
}

/** Formats a time as a date, a time and the offset from UTC, in a time zone. */
export const clock = (timeZone: string | undefined): ((at: number) => string) => {
  const format = new Intl.DateTimeFormat("en-CA", {
    ...(timeZone === undefined ? {} : { timeZone }),
    year: "numeric",
    month: "2-digit",
    day: "2-digit",
    hour: "2-digit",
    minute: "2-digit",
    second: "2-digit",
    fractionalSecondDigits: 3,
    hourCycle: "h23",
    timeZoneName: "longOffset"
  })
  let last = Number.NaN
  let text = ""
  return (at) => {
    // Many events arrive in the same millisecond.
    if (at === last) return text
    const parts = Object.fromEntries(format.formatToParts(at).map(({ type, value }) => [type, value]))
    const offset = parts["timeZoneName"] === "GMT" ? "Z" : (parts["timeZoneName"] ?? "").replace("GMT", "")
    last = at
    text = `${parts["year"]}-${parts["month"]}-${parts["day"]}T${parts["hour"]}:${parts["minute"]}:${parts["second"]}.${parts["fractionalSecond"]}${offset}`
    return text
  }
}

const escapes: Readonly<Record<string, string>> = { n: "\n", t: "\t", "\\": "\\" }

/**
 * Reads a template such as `{taskId} {status}\n`. `{name}` stands for a member of
 * the event, or for nothing if the event does not have it; `{{` and `}}` are braces.
 * Throws an error that says what is wrong.
 */
export const template = (text: string): ((event: MeshEvent.MeshEvent, at: string) => string) => {
  const pieces: Array<string | { readonly member: string }> = []
  for (const [piece, member] of text.matchAll(/\{\{|\}\}|\{([A-Za-z_][\w.]*)\}|\\[nt\\]|[^{}\\]+|./gs)) {
    if (member !== undefined) pieces.push({ member })
    else if (piece === "{{" || piece === "}}") pieces.push(piece.charAt(0))
    else if (piece === "{" || piece === "}") throw new Error(`A "${piece}" of the template is not closed or opened`)
    else if (piece.length === 2 && piece.startsWith("\\")) pieces.push(escapes[piece.charAt(1)] ?? piece)
    else pieces.push(piece)
  }
  return (event, at) =>
    pieces
      .map((piece) => {
        if (typeof piece === "string") return piece
        if (piece.member === "at") return at
        let value: unknown = event
        for (const name of piece.member.split(".")) {
          value = typeof value === "object" && value !== null ? Reflect.get(value, name) : undefined
        }
        if (value === undefined) return ""
        return Text.strip(typeof value === "string" ? value : JSON.stringify(value))
      })
      .join("")
}

/** What a line looks like. */
export interface Style {
  readonly color: boolean
  /** Formats the time of arrival, if lines start with it. */
  readonly time: ((at: number) => string) | undefined
}

/** Colours that tell tasks apart. */
const taskColors = [Text.colors.cyan, Text.colors.magenta, Text.colors.blue, Text.colors.green, Text.colors.yellow]

const taskColor = (taskId: string): number => {
  let sum = 0
  for (let i = 0; i < taskId.length; i++) sum = (sum * 31 + taskId.charCodeAt(i)) >>> 0
  return taskColors[sum % taskColors.length] ?? Text.colors.cyan
}

const seconds = (millis: number): string => `${(millis / 1000).toFixed(1)} s`

const reasonText = ({ reason, taskId, unconfirmed }: MeshEvent.Resync): string => {
  const of = taskId === undefined ? "" : ` of ${Text.shortId(taskId)}`
  const open =
    unconfirmed === undefined
      ? ""
      : `, ${unconfirmed} ${unconfirmed === 1 ? "subscription" : "subscriptions"} not confirmed yet`
  switch (reason._tag) {
    case "Started":
    case "JoinedLate":
      return `complete from here on${open}`
    case "Reconnected":
      return `complete again from here on; events of ${seconds(reason.downMillis)} may be missing${open}`
    case "Subscribed":
      return `${reason.kind}${of}: complete from here on`
    case "VersionGap":
      return `updates${of} are missing between the versions ${reason.lastVersion} and ${reason.version}`
    case "BadFrame":
      return `a frame could not be decoded: ${reason.error.message}`
    case "Overflow":
      return `${reason.dropped} events${of} were dropped, because the output is too slow`
    case "LogTruncated":
      return `the log no longer has the positions ${reason.from} to ${reason.to}`
    case "Unaligned":
      return `the connections could not be aligned (${reason.cause})`
  }
}

/** The close code at the end of a recording: see `Recording.isOver`, which need not be loaded for it. */
const replayOver = 4499

/** A line about the connection for standard error; `undefined` for data. */
export const lifecycle = (event: MeshEvent.MeshEvent): string | undefined => {
  switch (event._tag) {
    case "Connected":
      return `connected (connection ${event.epoch})`
    case "Disconnected":
      if (event.reason._tag === "ConnectionClosed" && event.reason.code === replayOver) return "the recording is over"
      return `${event.opened ? "disconnected" : "not connected"}: ${event.reason.message}${
        event.retryInMillis === undefined ? "" : `; next attempt in ${seconds(event.retryInMillis)}`
      }`
    case "Resync":
      // There is a mark for each task that is discovered. Printed, they would hide the others.
      return event.reason._tag === "Subscribed" && event.taskId !== undefined ? undefined : reasonText(event)
    case "Repaired":
      return `repaired by a snapshot: ${event.restated} tasks restated`
    case "RepairFailed":
      return `no snapshot could be fetched: ${event.error}`
    default:
      return undefined
  }
}

/** The text of a data element after its task, in whole lines, without the last line break. */
const body = (event: Exclude<MeshEvent.MeshEvent, MeshEvent.Lifecycle>, paint: Text.Paint): string => {
  switch (event._tag) {
    case "TaskUpdated": {
      const by = event.updatedBy === undefined ? "" : ` by ${Text.oneLine(event.updatedBy)}`
      const status = event.status === undefined ? undefined : Text.oneLine(event.status)
      const fields =
        event.updatedFields === undefined || event.updatedFields.length === 0
          ? ""
          : ` (${Text.oneLine(event.updatedFields.join(", "))})`
      return `${status === undefined ? "updated" : paint(Text.statusColor(status), status)}${fields}${by}`
    }
    case "Restated":
      return `${event.gone === true ? "gone" : Text.oneLine(event.status ?? "known")} (from a snapshot)`
    case "TaskOutput": {
      const tool = event.toolName === undefined ? "" : ` ${Text.oneLine(event.toolName)}`
      const cost = event.costUsd === undefined ? "" : ` ${Text.usd(event.costUsd)}`
      const time = event.durationMs === undefined ? "" : ` ${seconds(event.durationMs)}`
      const head = paint(
        event.isError === true ? Text.colors.red : Text.colors.dim,
        `${Text.oneLine(event.messageType)}${tool}${cost}${time}${event.isError === true ? " failed" : ""}`
      )
      const text =
        event.content === "" && event.toolInput !== undefined ? JSON.stringify(event.toolInput) : event.content
      const content = Text.strip(text).replace(/\n+$/, "")
      return content === "" ? head : `${head}  ${content}`
    }
    case "ServerError":
      return paint(Text.colors.red, `server error ${Text.oneLine(event.code)}: ${Text.oneLine(event.message)}`)
    case "UnknownMessage":
      return `message of the unknown type ${Text.oneLine(event.raw.type)}`
  }
}

/** The text of a data element: a line, or more if the output has more, each with its time and its task. */
export const text = (event: MeshEvent.MeshEvent, at: number, style: Style): string => {
  if (MeshEvent.isLifecycle(event)) return ""
  const paint = Text.painter(style.color)
  const time = style.time === undefined ? "" : `${paint(Text.colors.dim, style.time(at))} `
  const task = "taskId" in event ? `${paint(taskColor(event.taskId), Text.shortId(event.taskId))}  ` : ""
  return body(event, paint)
    .split("\n")
    .map((line) => `${time}${task}${line}\n`)
    .join("")
}

/** The text by which `--include` and `--exclude` choose. */
export const searchable = (event: MeshEvent.MeshEvent): string => {
  switch (event._tag) {
    case "TaskOutput":
      return event.content
    case "TaskUpdated":
    case "Restated":
      return event.status ?? ""
    case "ServerError":
      return event.message
    default:
      return ""
  }
}
