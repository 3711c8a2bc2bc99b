/** The messages that the server of a run emits. */
import type { ServerMessage } from "@makima-stream/core/ServerMessage"
import * as Interests from "./interests.ts"
import type { Emit } from "./program.ts"

/** Makes the messages of a run, each with a unique number. */
export const make = () => {
  const versions = new Map<string, number>()
  let number = 0
  return ({ task, times, what }: Emit): ReadonlyArray<ServerMessage> =>
    Array.from({ length: times }, (): ServerMessage => {
      const id = `#${++number}`
      const taskId = Interests.taskOf(task)
      switch (what) {
        case "update":
        case "done": {
          const version = (versions.get(task) ?? 0) + 1
          versions.set(task, version)
          return { _tag: "TaskUpdated", taskId, version, status: what === "done" ? "done" : "running", updatedBy: id }
        }
        case "output":
          return { _tag: "TaskOutput", taskId, messageType: "assistant", content: id }
        case "partial":
          return { _tag: "TaskOutput", taskId, messageType: "assistant", content: id, isPartial: true }
        case "error":
          return { _tag: "ServerError", code: "SIMULATED", message: id }
      }
    })
}
