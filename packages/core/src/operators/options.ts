/**
 * Options that several operators share.
 */
export { isDataFirst, toPredicate, type NoUnknownOptions } from "../internal/operators.ts"

/**
 * The option of every filter for the lifecycle elements.
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
 * The option of the operators that compare the versions of updates.
 *
 * **Details**
 *
 * Of two updates of a task the one with the higher `version` is newer, whatever the
 * order of arrival; an update without a `version` counts as newer. A server that
 * was restored from a backup counts from a lower version again. Its updates look
 * like late ones at first. They are accepted only after a `Resync` of a new
 * connection (`Reconnected`, `JoinedLate` or `Started`), once `restartAfter`
 * consecutive updates of a task are below its highest version and grow among
 * themselves.
 *
 * @category options
 * @since 0.2.0
 */
export interface RestartOptions {
  /**
   * How many updates of a task with lower versions, each higher than the one before,
   * show after a reconnect that the server counts anew. At least 1; `Infinity` means
   * never. Default: 3.
   */
  readonly restartAfter?: number | undefined
}

/**
 * Which values are meant: one, any of several, or those that a predicate takes.
 * A collection is read when the operator is put on a stream, and not again when
 * that stream runs; a predicate is called for every element.
 *
 * @category options
 * @since 0.1.0
 */
export type Selector<T extends string> = T | Iterable<T> | ((value: T) => boolean)
