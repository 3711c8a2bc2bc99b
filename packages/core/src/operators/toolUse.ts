/**
 * The agents' use of tools, with the tool's input as the caller's type.
 *
 * `toolInput` is any JSON on the wire. A Schema of the caller's reads it, and an
 * input that does not fit becomes a value in the stream: agents change their
 * tools without notice, and that may not end a feed.
 */
import { dual } from "effect/Function"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import type { Lifecycle, MeshEvent } from "../MeshEvent.ts"
import type { TaskOutput } from "../ServerMessage.ts"
import type { TaskId } from "../TaskId.ts"
import { isDataFirst, keptBy, type From, type Kept, type NoUnknownOptions } from "../internal/operators.ts"
import type { KeepOptions } from "./options.ts"

/**
 * An agent used a tool, and its input is of the expected shape.
 *
 * **Details**
 *
 * `toolName` is `undefined` where the output names no tool. `input` is what the
 * schema made of the tool's input. `output` is the event as it came.
 *
 * @category models
 * @since 0.1.0
 */
export interface ToolUse<out Input, out Name extends string | undefined = string | undefined> {
  readonly _tag: "ToolUse"
  readonly taskId: TaskId
  readonly toolName: Name
  readonly input: Input
  readonly output: TaskOutput
}

/**
 * An agent used a tool with an input that is not of the expected shape, or with
 * none. `error` says what was expected; for the other members see `ToolUse`.
 *
 * @category models
 * @since 0.1.0
 */
export interface ToolUseMismatch<out Name extends string | undefined = string | undefined> {
  readonly _tag: "ToolUseMismatch"
  readonly taskId: TaskId
  readonly toolName: Name
  readonly error: Schema.SchemaError
  readonly output: TaskOutput
}

/**
 * A schema that reads a tool's input, or one for each tool, by the tool's name.
 *
 * @category options
 * @since 0.1.0
 */
export type ToolInput =
  | Schema.ConstraintDecoder<unknown>
  | { readonly [toolName: string]: Schema.ConstraintDecoder<unknown> }

/**
 * The elements that `toolUse` makes with the schemas `S`.
 *
 * @category models
 * @since 0.1.0
 */
export type ToolUses<S extends ToolInput> =
  S extends Schema.ConstraintDecoder<infer Input>
    ? ToolUse<Input> | ToolUseMismatch
    : {
        readonly [Name in keyof S & string]: S[Name] extends Schema.ConstraintDecoder<infer Input>
          ? ToolUse<Input, Name> | ToolUseMismatch<Name>
          : never
      }[keyof S & string]

type Decode = (input: unknown) => Result.Result<unknown, Schema.SchemaError>

const isSchema = (schemas: ToolInput): schemas is Schema.ConstraintDecoder<unknown> => Schema.isSchema(schemas)

const decoderOf = (schemas: ToolInput): ((toolName: string | undefined) => Decode | undefined) => {
  if (isSchema(schemas)) {
    const decode = Schema.decodeUnknownResult(schemas)
    return () => decode
  }
  const decoders = new Map<string | undefined, Decode>(
    Object.entries(schemas).map(([toolName, schema]) => [toolName, Schema.decodeUnknownResult(schema)])
  )
  return (toolName) => decoders.get(toolName)
}

/**
 * The agents' use of tools, with the input read through a schema.
 *
 * **When to use**
 *
 * Use it to act on what agents do: to list the commands they run, the files they
 * touch. With one schema for each tool, by name, `toolName` tells the inputs
 * apart; with a single schema, every tool's input is read through it.
 *
 * **Details**
 *
 * - Takes output of the message type `tool_use` that is whole. A piece
 *   (`isPartial`) is dropped, because its input is not whole either.
 * - With schemas by name, tools that are not named are dropped.
 * - An input that fits becomes a `ToolUse`; one that does not fit, or is missing,
 *   becomes a `ToolUseMismatch`. The stream never fails because of an input.
 * - Every other event is dropped: `Connected` and `Disconnected`, and `Resync`
 *   as well unless `keep` asks for it.
 *
 * **Gotchas**
 *
 * The schema decodes on the spot: it may need no services, and a transformation
 * in it may neither wait nor throw (either is a defect). `error` repeats the
 * input that did not fit, which may be long or private: mind that before you log
 * it.
 *
 * **Example** (The commands that agents run)
 *
 * ```ts
 * import * as Effect from "effect/Effect"
 * import * as Schema from "effect/Schema"
 * import * as Stream from "effect/Stream"
 * import * as MeshEvent from "@makima-stream/core/MeshEvent"
 * import * as MeshStream from "@makima-stream/core/MeshStream"
 * import * as TaskId from "@makima-stream/core/TaskId"
 *
 * const taskId = TaskId.make("7f1c")
 * const tool = { _tag: "TaskOutput", taskId, messageType: "tool_use", content: "" } as const
 * const feed = Stream.fromIterable<MeshEvent.MeshEvent>([
 *   { ...tool, toolName: "Bash", toolInput: { command: "ls" } },
 *   { ...tool, toolName: "Bash", toolInput: { script: "ls" } },
 *   { ...tool, toolName: "Read", toolInput: { path: "README.md" } }
 * ])
 *
 * const lines = feed.pipe(
 *   MeshStream.toolUse({
 *     Bash: Schema.Struct({ command: Schema.String }),
 *     Read: Schema.Struct({ path: Schema.String })
 *   }),
 *   Stream.map((use) => {
 *     if (use._tag === "ToolUseMismatch") return `${use.toolName}: input not understood`
 *     return use.toolName === "Bash" ? `ran ${use.input.command}` : `read ${use.input.path}`
 *   })
 * )
 * console.log(Effect.runSync(Stream.runCollect(lines)))
 * // ["ran ls", "Bash: input not understood", "read README.md"]
 * ```
 *
 * @category filters
 * @since 0.1.0
 */
export const toolUse: {
  <A extends MeshEvent, E, R, const S extends ToolInput, O extends KeepOptions = {}>(
    self: Stream.Stream<A, E, R>,
    input: S,
    options?: O & NoUnknownOptions<O, KeepOptions>
  ): Stream.Stream<From<A, TaskOutput, ToolUses<S>> | Extract<A, Kept<O>>, E, R>
  <const S extends ToolInput, O extends KeepOptions = {}>(
    input: S,
    options?: O & NoUnknownOptions<O, KeepOptions>
  ): <A extends MeshEvent, E, R>(
    self: Stream.Stream<A, E, R>
  ) => Stream.Stream<From<A, TaskOutput, ToolUses<S>> | Extract<A, Kept<O>>, E, R>
} = dual(isDataFirst, <E, R>(self: Stream.Stream<MeshEvent, E, R>, input: ToolInput, options?: KeepOptions) => {
  const decoder = decoderOf(input)
  const isKept = keptBy(options)
  return Stream.filterMap(self, (event): Result.Result<ToolUse<unknown> | ToolUseMismatch | Lifecycle, MeshEvent> => {
    if (isKept?.(event) === true) return Result.succeed(event)
    if (event._tag !== "TaskOutput" || event.messageType !== "tool_use" || event.isPartial === true) {
      return Result.fail(event)
    }
    const { taskId, toolInput, toolName } = event
    const decode = decoder(toolName)
    if (decode === undefined) return Result.fail(event)
    return Result.succeed(
      Result.match(decode(toolInput), {
        onSuccess: (input): ToolUse<unknown> => ({ _tag: "ToolUse", taskId, toolName, input, output: event }),
        onFailure: (error): ToolUseMismatch => ({ _tag: "ToolUseMismatch", taskId, toolName, error, output: event })
      })
    )
  })
})
