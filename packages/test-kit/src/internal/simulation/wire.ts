/**
 * The rules that every program must keep on the wire: at most `maxConnections`
 * connections at a time, only valid requests, and no repeated request unless it was
 * not acknowledged in time.
 *
 * The program dials through `socket`, which records its dials and its requests.
 * Times are monotonic.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Socket from "effect/socket/Socket"
import { decodeFrame, type ClientMessage } from "@makima-stream/core/ClientMessage"
import type { ScriptedMesh } from "../../ScriptedMesh.ts"

export interface Wire {
  readonly socket: Socket.Socket
  /** The times of the dials, in milliseconds. */
  readonly dials: () => ReadonlyArray<number>
  /** Returns what was wrong since the last call. */
  readonly look: Effect.Effect<string | undefined>
}

/** A task that is never subscribed. */
const noTask = "ffffffff-ffff-ffff-ffff-ffffffffffff"

/** The default `ackTimeout`. */
const ackTimeout = 5000

export const now = Effect.map(Clock.Clock, (clock) => Number(clock.monotonicTimeNanosUnsafe()) / 1e6)

export const make = (mesh: ScriptedMesh["Service"], maxConnections: number): Wire => {
  const dials: Array<number> = []
  const open = new Set<number>()
  let seen = 0
  let wrong: string | undefined

  const socket = Socket.make({
    reader: Effect.andThen(
      Effect.map(now, (at) => dials.push(at)),
      mesh.socket.reader
    ),
    writer: Effect.map(mesh.socket.writer, (writer) => {
      const rules = requestRules()
      const check = (chunks: ReadonlyArray<unknown>) =>
        Effect.map(now, (at) => {
          for (const chunk of chunks) wrong ??= rules(chunk, at)
        })
      return {
        write: (chunk) => Effect.andThen(check([chunk]), writer.write(chunk)),
        writeAll: (chunks) => Effect.andThen(check(chunks), writer.writeAll(chunks))
      }
    })
  })

  const look = Effect.map(mesh.log, (log) => {
    for (; seen < log.length; seen++) {
      const entry = log[seen]
      if (entry?._tag === "Opened") {
        open.add(entry.connection)
        if (open.size > maxConnections) wrong ??= `connections ${[...open].join(", ")} were open at once`
      } else if (entry?._tag === "Closed" || entry?._tag === "Killed") open.delete(entry.connection)
    }
    return wrong
  })

  return { socket, dials: () => dials, look }
}

/** The rules for the requests of one connection. */
const requestRules = () => {
  /** The time of the last request for each subscription. */
  const requested = new Map<string, number>()
  return (chunk: unknown, at: number): string | undefined => {
    const decoded = typeof chunk === "string" ? Result.getOrUndefined(decodeFrame(chunk)) : undefined
    if (decoded === undefined) return "a frame was sent that is not a request"
    // Asks for an acknowledgement, and changes nothing (`Merge`).
    if ("taskId" in decoded && decoded.taskId === noTask && decoded._tag.startsWith("Uns")) return undefined
    const key = keyOf(decoded)
    const before = requested.get(key)
    if (decoded._tag.startsWith("Uns")) {
      requested.delete(key)
      return before === undefined ? `${JSON.stringify(decoded)} was sent without a subscription` : undefined
    }
    requested.set(key, at)
    return before !== undefined && at - before < ackTimeout
      ? `${JSON.stringify(decoded)} was sent twice within ${at - before} ms`
      : undefined
  }
}

const keyOf = (message: ClientMessage): string =>
  `${message._tag.replace(/^Uns|^S/, "s")} ${"taskId" in message ? message.taskId : ""}`
