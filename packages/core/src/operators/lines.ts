/**
 * Splits the agents' text into lines.
 *
 * `Splitter` is the state machine, `lines` the operator around it. Invariants of the
 * state machine: a task is in `tasks` only while a line or a message of it is open;
 * `tail` contains no newline and at most `maxLength` code units; the lines of a text
 * do not depend on how it was split into pieces.
 */
import { dual } from "effect/Function"
import * as Stream from "effect/Stream"
import type { Lifecycle, MeshEvent } from "../MeshEvent.ts"
import type { TaskOutput } from "../ServerMessage.ts"
import type { TaskId } from "../TaskId.ts"
import { atLeast, oneOf } from "../internal/bounds.ts"
import { isDataFirst, keptBy, toPredicate } from "../internal/operators.ts"
import type { Events, From, Kept, NoUnknownOptions } from "../internal/operators.ts"
import type { KeepOptions, Selector } from "./options.ts"
import { cutsText, defaultMaxTotalLength, detach, maxKinds, pieceSettings } from "./pieces.ts"
import type { PieceOptions, PieceSettings, UnfinishedReason } from "./pieces.ts"
import { defaultMaxTasks, Recent } from "../internal/queue/recent.ts"

/**
 * A line of a task's text, without its line end, or an unfinished part of a line with
 * the reason.
 *
 * @category models
 * @since 0.1.0
 */
export interface TaskLine {
  readonly _tag: "TaskLine"
  readonly taskId: TaskId
  /** The message type of the output. */
  readonly messageType: string
  /** The line, without its line end. */
  readonly text: string
  /** Present if the rest of the line is missing. */
  readonly unfinished?: true
  /** Why the rest is missing. */
  readonly why?: UnfinishedReason
}

/**
 * Options of `lines`.
 *
 * @category options
 * @since 0.1.0
 */
export interface LinesOptions extends PieceOptions, KeepOptions {
  /** The message types whose text is read. Defaults to `"assistant"`. */
  readonly messageType?: Selector<string> | undefined
  /**
   * What ends a line: `"message"`, a newline or the end of a whole message;
   * `"newline"`, only a newline, for text that the server splits anywhere, such as
   * the raw output of a process. Defaults to `"message"`.
   */
  readonly ends?: "message" | "newline" | undefined
  /**
   * The longest line, in UTF-16 code units, at least 2. A longer line is split into
   * parts of that length; all but the last are unfinished. Defaults to 65,536.
   */
  readonly maxLength?: number | undefined
  /** The most tasks with an open line, at least 1. Defaults to 10,000. */
  readonly maxTasks?: number | undefined
  /**
   * The most text in open lines of all tasks, in UTF-16 code units. Beyond it, the open
   * lines of the tasks that were silent for longest are emitted as unfinished
   * (`Evicted`). Defaults to 16,777,216 (32 MiB).
   */
  readonly maxTotalLength?: number | undefined
}

/** A task's text of one message type. */
interface Open {
  readonly taskId: TaskId
  readonly messageType: string
  /** The incomplete line. */
  tail: string
  /** The number of characters that were read of the open message; 0 if no message is open. */
  read: number
  /** The last characters that were read of the open message, to check whether a text continues it. */
  mark: string
}

const markLength = 64

type Out = Array<TaskLine | Lifecycle>

const isHighSurrogate = (code: number): boolean => code >= 0xd800 && code <= 0xdbff

interface Settings extends PieceSettings {
  readonly isSelected: (messageType: string) => boolean
  readonly isKept: ReturnType<typeof keptBy>
  readonly messageEnds: boolean
  readonly maxLength: number
  readonly maxTasks: number
  readonly maxTotalLength: number
}

const settingsOf = (options: LinesOptions | undefined): Settings => ({
  ...pieceSettings(options),
  isSelected: toPredicate(options?.messageType ?? "assistant"),
  isKept: keptBy(options),
  messageEnds: oneOf("ends", options?.ends, ["message", "newline"]) === "message",
  // At least two code units, so that a character outside the basic plane fits into a line.
  maxLength: atLeast(2, options?.maxLength ?? 65_536),
  maxTasks: options?.maxTasks ?? defaultMaxTasks,
  maxTotalLength: atLeast(0, options?.maxTotalLength ?? defaultMaxTotalLength)
})

class Splitter {
  readonly #settings: Settings
  /** By task and message type, oldest first. */
  readonly #tasks: Recent<TaskId, Map<string, Open>>
  /** The length of all open lines. */
  #total = 0

  constructor(settings: Settings) {
    this.#settings = settings
    this.#tasks = new Recent(settings.maxTasks)
  }

  push(event: MeshEvent, out: Out): void {
    if (event._tag === "TaskOutput") {
      if (this.#settings.isSelected(event.messageType)) this.#output(event, out)
      return
    }
    if (event._tag === "Resync" && cutsText(event)) {
      if (event.taskId === undefined) this.flush("Resync", out)
      else this.#release(event.taskId, out)
    }
    if (this.#settings.isKept?.(event) === true) out.push(event)
  }

  /** Emits every open line as unfinished. */
  flush(why: UnfinishedReason, out: Out): void {
    for (const kinds of this.#tasks.values()) releaseAll(kinds, why, out)
    this.#tasks.clear()
    this.#total = 0
  }

  #release(taskId: TaskId, out: Out): void {
    const kinds = this.#tasks.get(taskId)
    if (kinds === undefined) return
    this.#total -= releaseAll(kinds, "Resync", out)
    this.#tasks.delete(taskId)
  }

  #output(output: TaskOutput, out: Out): void {
    const { content, messageType, taskId } = output
    const kinds = this.#tasks.get(taskId)
    const open = kinds?.get(messageType) ?? { taskId, messageType, tail: "", read: 0, mark: "" }
    this.#total -= open.tail.length
    const partial = output.isPartial === true
    const repeats = partial ? this.#settings.snapshots : this.#settings.closedByWhole && open.read > 0
    const news = repeats ? this.#newsOf(open, content, partial, out) : content
    this.#read(open, news, out)
    if (partial) {
      open.read += news.length
      open.mark = detach((open.mark + news.slice(-markLength)).slice(-markLength))
    } else {
      open.read = 0
      open.mark = ""
      if (this.#settings.messageEnds && open.tail !== "") {
        out.push({ _tag: "TaskLine", taskId, messageType, text: open.tail })
        open.tail = ""
      }
    }
    this.#total += open.tail.length
    this.#keep(kinds, open, out)
    this.#shrink(out)
  }

  /** Keeps the total within its bound. */
  #shrink(out: Out): void {
    const { maxTotalLength } = this.#settings
    if (this.#total <= maxTotalLength) return
    for (const kinds of this.#tasks.values()) {
      for (const { taskId } of kinds.values()) this.#tasks.delete(taskId)
      this.#total -= releaseAll(kinds, "Evicted", out)
      if (this.#total <= maxTotalLength) return
    }
  }

  /** Returns the new part of a text that repeats the open message from its beginning. */
  #newsOf(open: Open, content: string, partial: boolean, out: Out): string {
    const { mark, read } = open
    if (content.slice(read - mark.length, read) === mark) {
      return detach(content.slice(read))
    }
    if (content === "" && !partial) return ""
    release(open, "Replaced", out)
    open.read = 0
    open.mark = ""
    return content
  }

  /** Reads more text of a task. Emits the complete lines, and keeps the incomplete one. */
  #read(open: Open, text: string, out: Out): void {
    const { maxLength } = this.#settings
    if (open.tail.length + text.length <= maxLength && !text.includes("\n")) {
      open.tail += text
      return
    }
    const searched = open.tail.length
    const all = open.tail + text
    let start = 0
    for (;;) {
      const newline = all.indexOf("\n", Math.max(start, searched))
      const end = newline === -1 ? all.length : newline
      while (end - start > maxLength) {
        let cut = start + maxLength
        if (isHighSurrogate(all.charCodeAt(cut - 1))) cut--
        out.push(unfinished(open, detach(all.slice(start, cut)), "TooLong"))
        start = cut
      }
      if (newline === -1) break
      const returned = all.charCodeAt(newline - 1) === 13
      const { messageType, taskId } = open
      out.push({ _tag: "TaskLine", taskId, messageType, text: all.slice(start, returned ? newline - 1 : newline) })
      start = newline + 1
    }
    open.tail = start === 0 ? all : detach(all.slice(start))
  }

  #keep(kinds: Map<string, Open> | undefined, open: Open, out: Out): void {
    const { messageType, taskId } = open
    if (open.tail === "" && open.read === 0) {
      if (kinds?.delete(messageType) === true && kinds.size === 0) this.#tasks.delete(taskId)
      return
    }
    const kept = kinds ?? new Map<string, Open>()
    if (kept.size === maxKinds && !kept.has(messageType)) this.#total -= releaseOldest(kept, out)
    kept.set(messageType, open)
    const evicted = this.#tasks.set(taskId, kept)
    if (evicted !== undefined) this.#total -= releaseAll(evicted, "Evicted", out)
  }
}

const unfinished = ({ messageType, taskId }: Open, text: string, why: UnfinishedReason): TaskLine => ({
  _tag: "TaskLine",
  taskId,
  messageType,
  text,
  unfinished: true,
  why
})

/** Emits an open line as unfinished. Returns the length of its text. */
const release = (open: Open, why: UnfinishedReason, out: Out): number => {
  const { length } = open.tail
  if (length > 0) out.push(unfinished(open, open.tail, why))
  open.tail = ""
  return length
}

const releaseAll = (kinds: Map<string, Open>, why: UnfinishedReason, out: Out): number => {
  let length = 0
  for (const open of kinds.values()) length += release(open, why, out)
  return length
}

const releaseOldest = (kinds: Map<string, Open>, out: Out): number => {
  for (const [messageType, open] of kinds) {
    kinds.delete(messageType)
    return release(open, "Evicted", out)
  }
  return 0
}

/** The type of `lines`, which can be used without a call in a pipe, called with options, or called data-first. */
interface LinesOperator {
  <Arg extends Events | LinesOptions = {}, O extends LinesOptions = {}>(
    selfOrOptions?: Arg & NoUnknownOptions<Arg, LinesOptions>,
    options?: O & NoUnknownOptions<O, LinesOptions>
  ): [Arg] extends [Stream.Stream<infer A, infer E, infer R>]
    ? Stream.Stream<From<A, TaskOutput, TaskLine> | Extract<A, Kept<O>>, E, R>
    : <A extends MeshEvent, E, R>(
        self: Stream.Stream<A, E, R>
      ) => Stream.Stream<From<A, TaskOutput, TaskLine> | Extract<A, Kept<Arg>>, E, R>
}

/**
 * Returns the text of each task, line by line.
 *
 * **When to use**
 *
 * Use it for a log, a terminal, or a search for a pattern. It emits a line as soon as
 * the line is complete, even while its message is still being written.
 *
 * **Details**
 *
 * - Reads the output of the message type `assistant`, or of the types in
 *   `messageType`. Each task and type has its own text.
 * - A line ends at `\n` or `\r\n`, and at the end of a whole message, unless `ends`
 *   is `"newline"`. A line that begins in one output and ends in another is joined.
 * - Pieces (`isPartial`) are read by the conventions of `PieceOptions`. If an output
 *   repeats the text of its pieces, only the rest is read. If its text differs from
 *   that of the pieces, all of it is read, and the open line is emitted as unfinished
 *   (`Replaced`).
 * - An incomplete line is emitted with `unfinished: true` and the reason in `why`:
 *   before a `Resync` that affects its task's output (it names that task or no task,
 *   and is not a `Subscribed` of updates), when the stream ends or fails, and at the
 *   bounds `maxLength`, `maxTasks`, `maxTotalLength`, and 16 message types of a task.
 *
 * All other events are dropped. Lifecycle elements are dropped unless `keep` selects
 * them. Memory: at most one open line, of at most `maxLength` code units, for each of
 * `maxTasks` tasks and each of its message types, and `maxTotalLength` in total.
 *
 * **Gotchas**
 *
 * Filters drop `Resync` by default, and without it text from before and after a gap
 * is joined: put `lines` before the filters, or pass `keep: "resync"` to them.
 *
 * After a `Resync`, or after the task was evicted, the whole message that closes
 * earlier pieces is read from its beginning, so its first lines are emitted twice.
 *
 * **Example** (A line in two pieces)
 *
 * ```ts
 * import * as Effect from "effect/Effect"
 * import * as Stream from "effect/Stream"
 * import * as MeshEvent from "@makima-stream/core/MeshEvent"
 * import * as MeshStream from "@makima-stream/core/MeshStream"
 * import * as TaskId from "@makima-stream/core/TaskId"
 *
 * const piece = { _tag: "TaskOutput", taskId: TaskId.make("7f1c"), messageType: "assistant", isPartial: true } as const
 * const feed = Stream.fromIterable<MeshEvent.MeshEvent>([
 *   { ...piece, content: "one\ntw" },
 *   { ...piece, content: "o\nthree" },
 *   { ...piece, content: "one\ntwo\nthree", isPartial: false }
 * ])
 *
 * // Stream<TaskLine>
 * const lines = feed.pipe(MeshStream.lines)
 * console.log(Effect.runSync(Stream.runCollect(lines)).map((line) => line.text)) // ["one", "two", "three"]
 * ```
 *
 * @category text
 * @since 0.1.0
 */
export const lines: LinesOperator = dual(
  isDataFirst,
  <E, R>(self: Stream.Stream<MeshEvent, E, R>, options?: LinesOptions): Stream.Stream<TaskLine | Lifecycle, E, R> => {
    const settings = settingsOf(options)
    return Stream.mapAccumArray(
      self,
      () => new Splitter(settings),
      (splitter, batch) => {
        const out: Out = []
        for (const event of batch) splitter.push(event, out)
        return [splitter, out]
      },
      {
        onHalt: (splitter) => {
          const out: Out = []
          splitter.flush("Ended", out)
          return out
        }
      }
    )
  }
)
