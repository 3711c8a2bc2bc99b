/**
 * The identity of a task: a branded, opaque, non-empty string.
 *
 * A task id is a UUID in practice, but nothing here relies on that: the wire
 * promises an opaque non-empty string, so that is what the schema checks.
 * Every other module names tasks by this type.
 *
 * @since 0.1.0
 */
import * as Schema from "effect/Schema"

/**
 * The schema of a task id.
 *
 * **Example** (Decoding an id that came from outside)
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
export const TaskId = Schema.NonEmptyString.pipe(Schema.brand("TaskId"))

/**
 * A non-empty string that is known to name a task.
 *
 * @category models
 * @since 0.1.0
 */
export type TaskId = typeof TaskId.Type

/**
 * Brands a string as a task id.
 *
 * **Gotchas**
 *
 * Throws on an empty string: use the schema for a string that a person or
 * another system gave.
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
export const make = (id: string): TaskId => TaskId.make(id)
