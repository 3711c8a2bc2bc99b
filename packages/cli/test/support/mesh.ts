/** Messages of the server for the tests. */
import * as TaskId from "@makima-stream/core/TaskId"

export { result, said, update } from "../../../test-kit/test/support/messages.ts"

export const a = TaskId.make("task-a")
export const b = TaskId.make("task-b")
