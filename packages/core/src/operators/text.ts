/**
 * The text of the agents' messages.
 */
import { dual } from "effect/Function"
import * as Stream from "effect/Stream"
import type { Lifecycle, MeshEvent } from "../MeshEvent.ts"
import type { TaskOutput } from "../ServerMessage.ts"
import { isDataFirst, keptBy, toPredicate } from "../internal/operators.ts"
import type { Events, From, Kept, NoUnknownOptions } from "../internal/operators.ts"
import type { KeepOptions, Selector } from "./options.ts"

/**
 * Options of `text`.
 *
 * @category options
 * @since 0.1.0
 */
export interface TextOptions extends KeepOptions {
  /** The message types whose text is emitted. Defaults to `"assistant"`. */
  readonly messageType?: Selector<string> | undefined
}

/** The type of `text`, which can be used without a call in a pipe, called with options, or called data-first. */
interface TextOperator {
  <Arg extends Events | TextOptions = {}, O extends TextOptions = {}>(
    selfOrOptions?: Arg & NoUnknownOptions<Arg, TextOptions>,
    options?: O & NoUnknownOptions<O, TextOptions>
  ): [Arg] extends [Stream.Stream<infer A, infer E, infer R>]
    ? Stream.Stream<From<A, TaskOutput, string> | Extract<A, Kept<O>>, E, R>
    : <A extends MeshEvent, E, R>(
        self: Stream.Stream<A, E, R>
      ) => Stream.Stream<From<A, TaskOutput, string> | Extract<A, Kept<Arg>>, E, R>
}

/**
 * Returns the text of the agents' messages.
 *
 * **When to use**
 *
 * Use it to print or search the messages of an agent, usually after `filterTask`,
 * because a text does not name its task.
 *
 * **Details**
 *
 * Emits the `content` of each whole message of the type `assistant`, or of the types
 * in `messageType`. Pieces of messages (`isPartial`) are dropped, because the closing
 * message repeats them. Unfinished messages of `joinPartials` are emitted, because no
 * message repeats them. If the server sends only pieces, put `joinPartials` before it.
 *
 * All other events are dropped. Lifecycle elements are dropped unless `keep` selects
 * them.
 *
 * **Example** (The messages of an agent)
 *
 * ```ts
 * import * as Effect from "effect/Effect"
 * import * as Stream from "effect/Stream"
 * import * as MeshEvent from "@makima-stream/core/MeshEvent"
 * import * as MeshStream from "@makima-stream/core/MeshStream"
 * import * as TaskId from "@makima-stream/core/TaskId"
 *
 * const taskId = TaskId.make("7f1c")
 * const feed = Stream.fromIterable<MeshEvent.MeshEvent>([
 *   { _tag: "TaskOutput", taskId, messageType: "assistant", content: "Hello" },
 *   { _tag: "TaskOutput", taskId, messageType: "tool_use", content: "", toolName: "Bash" }
 * ])
 *
 * // Stream<string>
 * const said = feed.pipe(MeshStream.filterTask(taskId), MeshStream.text)
 * console.log(Effect.runSync(Stream.runCollect(said))) // ["Hello"]
 * ```
 *
 * @category text
 * @since 0.1.0
 */
export const text: TextOperator = dual(
  isDataFirst,
  <E, R>(self: Stream.Stream<MeshEvent, E, R>, options?: TextOptions) => {
    const isSelected = toPredicate(options?.messageType ?? "assistant")
    const isKept = keptBy(options)
    return self.pipe(
      Stream.filter(
        (event): event is TaskOutput | Lifecycle =>
          (event._tag === "TaskOutput" &&
            isSelected(event.messageType) &&
            (event.isPartial !== true || "unfinished" in event)) ||
          isKept?.(event) === true
      ),
      Stream.map((event) => (event._tag === "TaskOutput" ? event.content : event))
    )
  }
)
