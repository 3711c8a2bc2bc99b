/**
 * The id of a task: a branded, opaque, non-empty string.
 *
 * A task id is a UUID in practice, but the protocol only promises an opaque, non-empty
 * string, and the schema checks only that. All other modules use this type.
 *
 * @since 0.1.0
 */
import * as Schema from "effect/Schema"

/**
 * The schema of a task id.
 *
 * **When to use**
 *
 * Use it for a string from outside: an empty string is a schema issue. Use `make` for a
 * string of the program itself. The schema's own `make` is the same function.
 *
 * **Example** (Decoding an id from outside)
 *
 * ```ts
 * import * as Schema from "effect/Schema"
 * import * as TaskId from "@makima-stream/core/TaskId"
 *
 * const id = Schema.decodeUnknownSync(TaskId.TaskId)("7f1c")
 * console.log(id) // 7f1c
 * ```
 *
 * @category schemas
 * @since 0.1.0
 */
export const TaskId = /*#__PURE__*/ Object.defineProperty(
  /*#__PURE__*/ Schema.NonEmptyString.pipe(/*#__PURE__*/ Schema.brand("TaskId")),
  // The schema's own `make` throws an error with the whole schema as its cause, which a terminal prints on 60 lines.
  "make",
  { value: (id: string): TaskId => make(id) }
)

/**
 * A non-empty string that names a task.
 *
 * @category models
 * @since 0.1.0
 */
export type TaskId = typeof TaskId.Type

/**
 * The error that `make` throws for an empty string.
 *
 * @category errors
 * @since 0.2.0
 */
export class InvalidTaskId extends Schema.TaggedError<InvalidTaskId>("@makima-stream/core/TaskId/InvalidTaskId")(
  "InvalidTaskId",
  {}
) {
  /** What is wrong, in one line. */
  override get message(): string {
    return "A task id must be a non-empty string"
  }
}

const isTaskId = (id: unknown): id is TaskId => typeof id === "string" && id !== ""

/**
 * Brands a string as a task id.
 *
 * **Gotchas**
 *
 * Throws `InvalidTaskId` for an empty string. For a string from a person or another
 * system, use the schema.
 *
 * **Example** (Naming a task)
 *
 * ```ts
 * import * as TaskId from "@makima-stream/core/TaskId"
 *
 * console.log(TaskId.make("7f1c")) // 7f1c
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (id: string): TaskId => {
  if (!isTaskId(id)) throw new InvalidTaskId()
  return id
}
