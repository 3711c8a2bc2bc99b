/**
 * The agents' words without the events around them.
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
  /** The message types whose text is wanted. Default: `"assistant"`. */
  readonly messageType?: Selector<string> | undefined
}

/**
 * The texts of the agents' messages.
 *
 * **When to use**
 *
 * Use it to print or to search what an agent says, usually after `filterTask`:
 * a text does not say whose it is.
 *
 * **Details**
 *
 * Emits the `content` of each whole message of the type `assistant`, or of the
 * types that `messageType` names. Pieces of messages (`isPartial`) are dropped,
 * because the message that closes them says the same again; what `joinPartials`
 * left unfinished is not, because nothing else will say it. Where pieces are all
 * that the server sends, put `joinPartials` before it.
 *
 * Every other event is dropped: `Connected` and `Disconnected`, and `Resync` as
 * well unless `keep` asks for it. Nothing is held.
 *
 * **Example** (Reading along)
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
export const text: <Arg extends Events | TextOptions = {}, O extends TextOptions = {}>(
  selfOrOptions?: Arg & NoUnknownOptions<Arg, TextOptions>,
  options?: O & NoUnknownOptions<O, TextOptions>
) => [Arg] extends [Stream.Stream<infer A, infer E, infer R>]
  ? Stream.Stream<From<A, TaskOutput, string> | Extract<A, Kept<O>>, E, R>
  : <A extends MeshEvent, E, R>(
      self: Stream.Stream<A, E, R>
    ) => Stream.Stream<From<A, TaskOutput, string> | Extract<A, Kept<Arg>>, E, R> = dual(
  isDataFirst,
  <E, R>(self: Stream.Stream<MeshEvent, E, R>, options?: TextOptions) => {
    const isMeant = toPredicate(options?.messageType ?? "assistant")
    const isKept = keptBy(options)
    return self.pipe(
      Stream.filter(
        (event): event is TaskOutput | Lifecycle =>
          (event._tag === "TaskOutput" &&
            isMeant(event.messageType) &&
            (event.isPartial !== true || "unfinished" in event)) ||
          isKept?.(event) === true
      ),
      Stream.map((event) => (event._tag === "TaskOutput" ? event.content : event))
    )
  }
)
