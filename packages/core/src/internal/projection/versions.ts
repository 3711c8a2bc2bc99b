/**
 * Decides which of two updates of a task is newer, by their versions.
 *
 * Versions grow with each update, so the higher version is newer in any order of
 * arrival. The exception is a server that was restored from a backup: it continues
 * from a lower version. At first, a late message and a restored server cannot be
 * distinguished. These rules decide:
 *
 * - A server is replaced only between two connections. Without the mark of a new
 *   connection since the highest version was seen, a lower version is late.
 * - After such a mark, lower versions are a new count once `restartAfter`
 *   consecutive updates of the task are below the highest version and each is
 *   higher than the one before. The last of them becomes the highest version.
 *
 * Pure: the caller keeps one `Versions` for each task, and one count of new
 * connections.
 */
import type { MeshEvent } from "../../MeshEvent.ts"

/** The recorded versions of a task. */
export interface Versions {
  /** The highest version of the current count. */
  readonly highest: number
  /** The number of marked connections when `highest` was last seen. */
  readonly connections: number
  /** The last of `count` consecutive lower versions, which may be a new count. */
  readonly lower?: { readonly last: number; readonly count: number }
}

/** The default number of consecutive lower versions that start a new count. */
export const defaultRestartAfter = 3

/**
 * Returns `true` for a mark of a new connection: `Started`, `Reconnected` and
 * `JoinedLate`. Another or a restored server may answer after it. The caller counts
 * these marks.
 */
export const isNewConnection = (event: MeshEvent): boolean =>
  event._tag === "Resync" &&
  (event.reason._tag === "Reconnected" || event.reason._tag === "JoinedLate" || event.reason._tag === "Started")

/**
 * Returns the record after an update with `version`. `isNewer` then returns whether
 * that update is the newest of its task.
 */
export const next = (
  known: Versions | undefined,
  version: number,
  connections: number,
  restartAfter: number = defaultRestartAfter
): Versions => {
  if (known === undefined || version >= known.highest) return { highest: version, connections }
  if (connections === known.connections) return known
  const count = known.lower !== undefined && version > known.lower.last ? known.lower.count + 1 : 1
  if (count >= restartAfter) return { highest: version, connections }
  return { ...known, lower: { last: version, count } }
}

/** Whether the update that led from `before` to `after` is the newest of its task. */
export const isNewer = (before: Versions | undefined, after: Versions): boolean => after.highest !== before?.highest
