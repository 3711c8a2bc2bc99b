/**
 * Which of two updates of a task is the newer one, by their versions.
 *
 * Versions grow with each update, so the higher version is newer whatever the
 * order of arrival. The exception is a server that was restored from a backup: it
 * counts again from a lower version. A late message and a restored server look
 * alike at first. They are told apart by these rules:
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

/** What is remembered of a task's versions. */
export interface Versions {
  /** The highest version of the present count. */
  readonly highest: number
  /** How many new connections had been marked when `highest` was last seen. */
  readonly connections: number
  /** The last of `count` consecutive lower versions, which may be a new count. */
  readonly lower?: { readonly last: number; readonly count: number }
}

/** The default number of consecutive lower versions that start a new count. */
export const defaultRestartAfter = 3

/**
 * Returns `true` for a mark after which another server, or a restored one, may
 * answer: `Started`, `Reconnected` and `JoinedLate`. The caller counts them.
 */
export const isNewConnection = (event: MeshEvent): boolean =>
  event._tag === "Resync" &&
  (event.reason._tag === "Reconnected" || event.reason._tag === "JoinedLate" || event.reason._tag === "Started")

/**
 * What is known after an update with `version`. `isNewer` tells whether it is the
 * newest update of its task.
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
