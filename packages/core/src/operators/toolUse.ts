/**
 * The agents' use of tools, with the tool's input decoded by a schema.
 *
 * On the wire, `toolInput` is any JSON. A schema of the caller decodes it. An input
 * that does not match becomes an element of the stream, because agents change their
 * tools without notice, and that must not end a feed.
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
 * An agent used a tool, and its input matches the schema.
 *
 * **Details**
 *
 * `toolName` is `undefined` if the output names no tool. `input` is the decoded input
 * of the tool. `output` is the original event.
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
 * An agent used a tool, and its input is missing or does not match the schema. `error`
 * says what was expected. For the other members see `ToolUse`.
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
 * A schema for the input of every tool, or one schema for each tool by its name.
 *
 * @category options
 * @since 0.1.0
 */
export type ToolInput =
  | Schema.ConstraintDecoder<unknown>
  | { readonly [toolName: string]: Schema.ConstraintDecoder<unknown> }

/** The elements of `toolUse` with the schemas `S`. */
type ToolUses<S extends ToolInput> =
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
 * Returns the agents' use of tools, with the input decoded by a schema.
 *
 * **When to use**
 *
 * Use it to react to the actions of agents, for example to list the commands that they
 * run. With one schema for each tool, `toolName` discriminates the type of `input`.
 * With a single schema, the input of every tool is decoded by it.
 *
 * **Details**
 *
 * - Reads whole output of the message type `tool_use`. A piece (`isPartial`) is
 *   dropped, because its input may be incomplete.
 * - With schemas by name, other tools are dropped.
 * - An input that matches becomes a `ToolUse`; an input that does not match, or is
 *   missing, becomes a `ToolUseMismatch`. The stream never fails because of an input.
 * - All other events are dropped. Lifecycle elements are dropped unless `keep` selects
 *   them.
 *
 * **Gotchas**
 *
 * The schema decodes synchronously: it must not need services, and a transformation in
 * it must not wait or throw (both are defects). `error` contains the input that did
 * not match, which may be long or private: consider that before you log it.
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
