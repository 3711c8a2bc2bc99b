/**
 * Joins pieces of messages into whole messages.
 *
 * `Joiner` is the state machine, `joinPartials` the operator around it. Invariants of
 * the state machine: a task is in `tasks` only while it has pending text; the pending
 * text of a task has at most `maxLength` characters, and at most `maxKinds` message
 * types; pending text is emitted exactly once, as a whole or an unfinished message,
 * unless the server replaces it.
 */
import { dual } from "effect/Function"
import * as Stream from "effect/Stream"
import type { MeshEvent } from "../MeshEvent.ts"
import type { TaskOutput } from "../ServerMessage.ts"
import type { TaskId } from "../TaskId.ts"
import { atLeast } from "../internal/bounds.ts"
import { isDataFirst, type Events, type NoUnknownOptions } from "../internal/operators.ts"
import { cutsText, defaultMaxTotalLength, maxKinds, pieceSettings } from "./pieces.ts"
import type { PieceOptions, PieceSettings, UnfinishedReason } from "./pieces.ts"
import { defaultMaxTasks, Recent } from "../internal/queue/recent.ts"

/**
 * An output after `joinPartials`: a whole message, or the unfinished beginning of
 * a message, with the reason.
 *
 * **Details**
 *
 * An unfinished message keeps `isPartial: true`, so that operators for whole messages
 * ignore it.
 *
 * @category models
 * @since 0.1.0
 */
export interface JoinedOutput extends TaskOutput {
  /** Present if the rest of the message is missing. */
  readonly unfinished?: true
  /** Why the rest is missing. */
  readonly why?: UnfinishedReason
}

/** The elements of `joinPartials` for a stream of `A`. */
type Joined<A> = A extends TaskOutput ? JoinedOutput : A

/**
 * Options of `joinPartials`.
 *
 * @category options
 * @since 0.1.0
 */
export interface JoinPartialsOptions extends PieceOptions {
  /** The most pending text of one task, in UTF-16 code units. Defaults to 100,000. */
  readonly maxLength?: number | undefined
  /** The most tasks with pending text, at least 1. Defaults to 10,000. */
  readonly maxTasks?: number | undefined
  /**
   * The most pending text of all tasks, in UTF-16 code units. Beyond it, the pending
   * text of the tasks that were silent for longest is emitted as unfinished
   * (`Evicted`). Defaults to 16,777,216 (32 MiB).
   */
  readonly maxTotalLength?: number | undefined
}

interface Pending {
  text: string
  /** The last piece. An unfinished message has its members. */
  last: TaskOutput
}

/** By message type, oldest first. */
interface Waiting {
  readonly taskId: TaskId
  readonly kinds: Map<string, Pending>
  length: number
}

const unfinished = (last: TaskOutput, content: string, why: UnfinishedReason): JoinedOutput => ({
  ...last,
  content,
  unfinished: true,
  why
})

interface Settings extends PieceSettings {
  readonly maxLength: number
  readonly maxTasks: number
  readonly maxTotalLength: number
}

const settingsOf = (options: JoinPartialsOptions | undefined): Settings => ({
  ...pieceSettings(options),
  maxLength: atLeast(0, options?.maxLength ?? 100_000),
  maxTasks: options?.maxTasks ?? defaultMaxTasks,
  maxTotalLength: atLeast(0, options?.maxTotalLength ?? defaultMaxTotalLength)
})

class Joiner {
  readonly #settings: Settings
  readonly #tasks: Recent<TaskId, Waiting>
  /** The length of all pending text. */
  #total = 0

  constructor(settings: Settings) {
    this.#settings = settings
    this.#tasks = new Recent(settings.maxTasks)
  }

  push(event: MeshEvent, out: Array<MeshEvent>): void {
    if (event._tag === "TaskOutput") {
      // An unfinished message of an earlier `joinPartials` is not joined again.
      if ("unfinished" in event) out.push(event)
      else if (event.isPartial === true) this.#piece(event, out)
      else out.push(this.#close(event, out))
      return
    }
    if (event._tag === "Resync" && cutsText(event)) {
      if (event.taskId === undefined) this.flush("Resync", out)
      else this.#release(event.taskId, "Resync", out)
    }
    out.push(event)
  }

  /** Emits all pending text as unfinished. */
  flush(why: UnfinishedReason, out: Array<MeshEvent>): void {
    for (const waiting of this.#tasks.values()) this.#emit(waiting, why, out)
    this.#tasks.clear()
  }

  #release(taskId: TaskId, why: UnfinishedReason, out: Array<MeshEvent>): void {
    const waiting = this.#tasks.get(taskId)
    if (waiting === undefined) return
    this.#emit(waiting, why, out)
    this.#tasks.delete(taskId)
  }

  /** Emits all pending text of a task as unfinished. */
  #emit(waiting: Waiting, why: UnfinishedReason, out: Array<MeshEvent>): void {
    for (const { last, text } of waiting.kinds.values()) {
      if (text !== "") out.push(unfinished(last, text, why))
    }
    waiting.kinds.clear()
    this.#grow(waiting, -waiting.length)
  }

  #grow(waiting: Waiting, length: number): void {
    waiting.length += length
    this.#total += length
  }

  /** Keeps the total within its bound. */
  #shrink(out: Array<MeshEvent>): void {
    if (this.#total <= this.#settings.maxTotalLength) return
    for (const oldest of this.#tasks.values()) {
      this.#emit(oldest, "Evicted", out)
      this.#tasks.delete(oldest.taskId)
      if (this.#total <= this.#settings.maxTotalLength) return
    }
  }

  #piece(piece: TaskOutput, out: Array<MeshEvent>): void {
    const { content, messageType, taskId } = piece
    const waiting = this.#tasks.get(taskId) ?? { taskId, kinds: new Map<string, Pending>(), length: 0 }
    const before = waiting.kinds.get(messageType)
    const { maxLength, snapshots } = this.#settings
    if (snapshots && before !== undefined) {
      this.#grow(waiting, -before.text.length)
      before.text = ""
    }
    if (waiting.length + content.length > maxLength) {
      this.#emit(waiting, "TooLong", out)
      if (content.length > maxLength) {
        this.#tasks.delete(taskId)
        out.push(unfinished(piece, content, "TooLong"))
        return
      }
    }
    const pending = waiting.kinds.get(messageType)
    if (pending === undefined) {
      if (waiting.kinds.size === maxKinds) this.#emitOldest(waiting, out)
      waiting.kinds.set(messageType, { text: content, last: piece })
    } else {
      pending.text += content
      pending.last = piece
    }
    this.#grow(waiting, content.length)
    const evicted = this.#tasks.set(taskId, waiting)
    if (evicted !== undefined) this.#emit(evicted, "Evicted", out)
    this.#shrink(out)
  }

  /** Emits the pending text of the message type that has waited for longest. */
  #emitOldest(waiting: Waiting, out: Array<MeshEvent>): void {
    for (const [messageType, { last, text }] of waiting.kinds) {
      if (text !== "") out.push(unfinished(last, text, "Evicted"))
      waiting.kinds.delete(messageType)
      this.#grow(waiting, -text.length)
      return
    }
  }

  /** Returns the message that a closing output completes. */
  #close(output: TaskOutput, out: Array<MeshEvent>): TaskOutput {
    const waiting = this.#tasks.get(output.taskId)
    if (waiting === undefined) return output
    const pending = waiting.kinds.get(output.messageType)
    if (pending !== undefined) {
      waiting.kinds.delete(output.messageType)
      this.#grow(waiting, -pending.text.length)
    }
    if (output.messageType === "result") this.#emit(waiting, "RunEnded", out)
    if (waiting.kinds.size === 0) this.#tasks.delete(output.taskId)
    if (pending === undefined) return output
    if (!this.#settings.closedByWhole) return { ...output, content: pending.text + output.content }
    return output.content === "" ? { ...output, content: pending.text } : output
  }
}

/** The type of `joinPartials`, which can be used without a call in a pipe, called with options, or called data-first. */
interface JoinPartials {
  <Arg extends Events | JoinPartialsOptions = {}>(
    selfOrOptions?: Arg & NoUnknownOptions<Arg, JoinPartialsOptions>,
    options?: JoinPartialsOptions
  ): [Arg] extends [Stream.Stream<infer A, infer E, infer R>]
    ? Stream.Stream<Joined<A>, E, R>
    : <A extends MeshEvent, E, R>(self: Stream.Stream<A, E, R>) => Stream.Stream<Joined<A>, E, R>
}

/**
 * Joins the pieces of messages (output with `isPartial`) into whole messages.
 *
 * **When to use**
 *
 * Use it if a program needs whole messages: to log a conversation, to pass it to
 * another model, or to count messages.
 *
 * **Details**
 *
 * A piece is pending until the next output of the same task and message type without
 * `isPartial`, which closes the message. With the default conventions
 * (`pieces: "delta"`, `closing: "whole"`) pieces are concatenated, and the closing
 * output, which contains the whole text, replaces them. If the closing output is
 * empty, its `content` becomes the text of the pieces. For servers with other
 * conventions see `PieceOptions`.
 *
 * In the following cases pending text is emitted as a separate, unfinished output: the
 * last piece with the text, `unfinished: true`, and the reason in `why`.
 *
 * - Before a `Resync` that affects the task's output (it names that task or no task,
 *   and is not a `Subscribed` of updates).
 * - When the stream ends or fails, as its last elements.
 * - Before the task's whole `result`, if the text has another message type.
 * - When the text of the task would exceed `maxLength`. The text then restarts; a
 *   single piece that is longer is emitted at once.
 * - When `maxTasks` other tasks, or 16 message types of the task, have newer pending
 *   text, or when other tasks with newer text fill `maxTotalLength`.
 *
 * All other events pass at once, including the lifecycle elements and outputs without
 * earlier pieces. Memory: at most `maxLength` code units for each of `maxTasks` tasks,
 * and at most `maxTotalLength` in total.
 *
 * **Gotchas**
 *
 * Filters drop `Resync` by default, and without it pieces from before and after a gap
 * are joined: put `joinPartials` before the filters, or pass `keep: "resync"` to them.
 *
 * A message with a `Resync` inside becomes two outputs: the unfinished beginning, and
 * the closing output. The same applies to text beyond `maxLength`. With
 * `closing: "whole"`, the second output repeats the text of the first.
 *
 * **Example** (A message in pieces)
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
 *   { ...piece, content: "Hel" },
 *   { ...piece, content: "lo" },
 *   { ...piece, content: "", isPartial: false }
 * ])
 *
 * const messages = feed.pipe(MeshStream.joinPartials, MeshStream.outputOnly)
 * console.log(Effect.runSync(Stream.runCollect(messages)).map((message) => message.content)) // ["Hello"]
 * ```
 *
 * @category text
 * @since 0.1.0
 */
export const joinPartials: JoinPartials = dual(
  isDataFirst,
  <E, R>(self: Stream.Stream<MeshEvent, E, R>, options?: JoinPartialsOptions): Stream.Stream<MeshEvent, E, R> => {
    const settings = settingsOf(options)
    return Stream.mapAccumArray(
      self,
      () => new Joiner(settings),
      (joiner, batch) => {
        const out: Array<MeshEvent> = []
        for (const event of batch) joiner.push(event, out)
        return [joiner, out]
      },
      {
        onHalt: (joiner) => {
          const out: Array<MeshEvent> = []
          joiner.flush("Ended", out)
          return out
        }
      }
    )
  }
)
