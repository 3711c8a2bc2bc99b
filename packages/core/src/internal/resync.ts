/** The shape of a mark. */
import type { Resync } from "../MeshEvent.ts"
import type { TaskId } from "../TaskId.ts"

/** Makes a mark. Absent members are omitted: `taskId`, and `unconfirmed` if it is 0. */
export const resync = (epoch: number, reason: Resync["reason"], unconfirmed = 0, taskId?: TaskId): Resync => ({
  _tag: "Resync",
  epoch,
  ...(taskId === undefined ? {} : { taskId }),
  reason,
  ...(unconfirmed === 0 ? {} : { unconfirmed })
})
