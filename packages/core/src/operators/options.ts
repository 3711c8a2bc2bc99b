/**
 * Options that several operators share.
 */

/**
 * The option of all filters for lifecycle elements.
 *
 * @category options
 * @since 0.1.0
 */
export interface KeepOptions {
  /**
   * Which lifecycle elements stay in the stream, at their places: `"resync"` keeps
   * `Resync`, and `Repaired` and `RepairFailed` of a `Repair`; `"lifecycle"` keeps
   * `Connected` and `Disconnected` as well. The element type shows what is kept. By
   * default all are dropped.
   */
  readonly keep?: "resync" | "lifecycle" | undefined
}

/**
 * The option of operators that compare the versions of updates.
 *
 * **Details**
 *
 * Of two updates of a task, the update with the higher `version` is newer, in any
 * order of arrival. An update without a `version` counts as newer. A server that was
 * restored from a backup continues from a lower version, and at first its updates
 * look like late ones. They are accepted only after a `Resync` of a new connection
 * (`Reconnected`, `JoinedLate` or `Started`), when `restartAfter` consecutive updates
 * of a task have versions below its highest version, each above the one before.
 *
 * @category options
 * @since 0.2.0
 */
export interface RestartOptions {
  /**
   * After a reconnect, how many consecutive updates of a task with lower, growing
   * versions show that the server was restored from a backup. At least 1; `Infinity`
   * ignores lower versions always. Defaults to 3.
   */
  readonly restartAfter?: number | undefined
}

/**
 * Selects values: one value, any of several values, or those that satisfy a predicate.
 * A collection is read once, when the operator is applied. A predicate is called for
 * every element.
 *
 * @category options
 * @since 0.1.0
 */
export type Selector<T extends string> = T | Iterable<T> | ((value: T) => boolean)
