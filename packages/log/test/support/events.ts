/**
 * Events to append, and what was read of them.
 */
import * as TaskId from "@makima-stream/core/TaskId"
import type * as MeshLog from "@makima-stream/log/MeshLog"

const tasks = ["a", "b", "c", "d"].map((id) => TaskId.make(id))

/** Outputs whose content is their number, and a text that follows it. */
export const outputs = (from: number, to: number, text = ""): Array<MeshLog.NewEvent> =>
  Array.from({ length: to - from }, (_, i) => {
    const n = from + i
    return {
      id: `${n}`,
      event: {
        _tag: "TaskOutput",
        taskId: tasks[n % tasks.length] ?? TaskId.make("a"),
        messageType: "assistant",
        content: text === "" ? `${n}` : `${n} ${text}`
      }
    }
  })

/** Updates of one task, from version `from` on. */
export const update = (id: string, version: number, status = "running"): MeshLog.NewEvent => ({
  id: `u:${id}:${version}`,
  event: { _tag: "TaskUpdated", taskId: TaskId.make(id), version, status }
})

/** The numbers of outputs, the reasons of marks, and the tags of everything else. */
export const contents = (entries: Iterable<MeshLog.Entry>): Array<string> =>
  Array.from(entries, ({ event }) =>
    event._tag === "TaskOutput"
      ? (event.content.split(" ")[0] ?? "")
      : event._tag === "Resync"
        ? event.reason._tag
        : event._tag
  )

export const range = (from: number, to: number): Array<string> => outputs(from, to).map(({ id }) => id)
