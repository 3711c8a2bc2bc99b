/** Settings that the processes of a chaos run share. Times are in milliseconds. */
import * as TaskId from "@makima-stream/core/TaskId"

export const interval = 400
export const deadline = 1200

/** The deadline of a run with two connections, whose networks must not fail by themselves on a slow machine. */
export const pairDeadline = 3000

export const taskIds: ReadonlyArray<TaskId.TaskId> = Array.from({ length: 10 }, (_, i) => TaskId.make(`task-${i}`))

/** The delay of the network in each direction. */
export const latency = 60
