/**
 * The statuses that end a task, and those that mean that it failed.
 *
 * `status` is an open set, and the server decides which statuses end a task. The sets
 * of this module are defaults: every operator and projection that uses them has the
 * options `terminal` or `failed`.
 *
 * @since 0.1.0
 */

/**
 * The statuses that end a task unsuccessfully: `failed`, `interrupted` and
 * `cancelled`.
 *
 * **Details**
 *
 * The default of every option `failed`. A subset of `defaultTerminal`.
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
 * The default of every option `terminal`.
 *
 * **Gotchas**
 *
 * Statuses are compared exactly, and a status outside the set does not end a task.
 * A server with other statuses needs another set.
 *
 * **Example** (Without `done`)
 *
 * ```ts
 * import * as TaskStatus from "@makima-stream/core/TaskStatus"
 *
 * // On this server a task that is `done` waits for a merge.
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
 * Returns `true` if a status ends a task, by `defaultTerminal`.
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
 * Returns `true` if a status ends a task unsuccessfully, by `defaultFailed`.
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
