/**
 * What a task's status means, as far as this toolkit needs a meaning.
 *
 * `status` is an open set on the wire, and which statuses end a task is the
 * server's business. So the sets here are defaults: every operator and
 * projection that asks whether a task ended takes its own set as an option, and
 * starts from these.
 *
 * @since 0.1.0
 */

/**
 * The statuses that end a task unsuccessfully: `failed`, `interrupted` and
 * `cancelled`.
 *
 * **Details**
 *
 * The default of every option that asks which statuses are a failure. A subset
 * of `defaultTerminal`.
 *
 * **Example** (Another status that counts as a failure)
 *
 * ```ts
 * import * as TaskStatus from "@makima-stream/core/TaskStatus"
 *
 * const failed = new Set([...TaskStatus.defaultFailed, "rejected"])
 * console.log(failed.has("cancelled")) // true
 * ```
 *
 * @category defaults
 * @since 0.1.0
 */
export const defaultFailed: ReadonlySet<string> = new Set(["failed", "interrupted", "cancelled"])

/**
 * The statuses that end a task: `done`, `completed` and `merged`, and those of
 * `defaultFailed`.
 *
 * **Details**
 *
 * The default of every option that asks which statuses are terminal.
 *
 * **Gotchas**
 *
 * A status is compared as it stands on the wire, and one that this set does not
 * know does not end a task. A server with statuses of its own needs a set of
 * its own.
 *
 * **Example** (Taking a status out)
 *
 * ```ts
 * import * as TaskStatus from "@makima-stream/core/TaskStatus"
 *
 * // Here `done` waits for a merge.
 * const terminal = new Set(TaskStatus.defaultTerminal)
 * terminal.delete("done")
 * console.log(terminal.has("merged")) // true
 * ```
 *
 * @category defaults
 * @since 0.1.0
 */
export const defaultTerminal: ReadonlySet<string> = new Set(["done", "completed", "merged", ...defaultFailed])

/**
 * Whether a status ends a task, by `defaultTerminal`.
 *
 * **Example** (A status that ends a task, and one that does not)
 *
 * ```ts
 * import * as TaskStatus from "@makima-stream/core/TaskStatus"
 *
 * console.log(TaskStatus.isTerminal("merged")) // true
 * console.log(TaskStatus.isTerminal("paused")) // false
 * ```
 *
 * @category predicates
 * @since 0.1.0
 */
export const isTerminal = (status: string): boolean => defaultTerminal.has(status)

/**
 * Whether a status ends a task unsuccessfully, by `defaultFailed`.
 *
 * **Example** (A failure)
 *
 * ```ts
 * import * as TaskStatus from "@makima-stream/core/TaskStatus"
 *
 * console.log(TaskStatus.isFailed("interrupted")) // true
 * ```
 *
 * @category predicates
 * @since 0.1.0
 */
export const isFailed = (status: string): boolean => defaultFailed.has(status)
