/** Settings that the processes of a chaos run share. Times are in milliseconds. */
import * as TaskId from "@makima-stream/core/TaskId"

export const interval = 400
/** Long enough that no connection ends without a fault when a busy machine stops a process for seconds. */
export const deadline = 5000

export const taskIds: ReadonlyArray<TaskId.TaskId> = Array.from({ length: 10 }, (_, i) => TaskId.make(`task-${i}`))

/** The delay of the network in each direction. */
export const latency = 60
