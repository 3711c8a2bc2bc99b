/**
 * What any well-behaved program keeps to, judged by the server's log alone: one
 * connection at a time, and nothing asked for twice.
 */
import * as Effect from "effect/Effect"
import type { ScriptedMesh } from "../../ScriptedMesh.ts"
import type { Entry } from "../../ServerLog.ts"

export interface Judge {
  /** What was wrong since the last look. */
  readonly look: Effect.Effect<string | undefined>
}

export const make = (mesh: ScriptedMesh["Service"], maxConnections: number): Judge => {
  const open = new Set<number>()
  const requested = new Set<string>()
  let seen = 0

  const read = (entry: Entry): string | undefined => {
    switch (entry._tag) {
      case "Opened":
        open.add(entry.connection)
        return open.size > maxConnections ? `connections ${[...open].join(", ")} were open at once` : undefined
      case "Closed":
      case "Killed":
        open.delete(entry.connection)
        return undefined
      case "Received": {
        const { connection, message } = entry
        const key = `${connection} ${message._tag.replace(/^Uns|^S/, "s")} ${"taskId" in message ? message.taskId : ""}`
        const wanted = message._tag.startsWith("S")
        if (wanted === requested.has(key)) return `connection ${connection} got ${JSON.stringify(message)} twice`
        if (wanted) requested.add(key)
        else requested.delete(key)
        return undefined
      }
      case "Unreadable":
        return `connection ${entry.connection} got a frame that is no request`
      default:
        return undefined
    }
  }

  return {
    look: Effect.map(mesh.log, (log) => {
      for (; seen < log.length; seen++) {
        const entry = log[seen]
        const wrong = entry === undefined ? undefined : read(entry)
        if (wrong !== undefined) return wrong
      }
      return undefined
    })
  }
}
