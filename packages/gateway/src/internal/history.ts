/**
 * Clients that read a log instead of the connection to the server. One reader serves both the history and what follows, so
 * there is no seam between them. A slow client delays its own reader, and nothing is dropped.
 */
import * as Clock from "effect/Clock"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Stream from "effect/Stream"
import type { MeshEvent } from "@makima-stream/core/MeshEvent"
import type { LogError } from "@makima-stream/log/LogError"
import * as MeshLog from "@makima-stream/log/MeshLog"
import { Message } from "./messages.ts"
import type { OpenClient } from "./webSocketClient.ts"

export type Log = MeshLog.Service

/** Where a client starts, and what it receives. */
export interface Place {
  readonly from: MeshLog.From
  readonly filter?: MeshLog.Filter
}

/** Sends entries, each when the client has room. */
const send = (client: OpenClient, entries: ReadonlyArray<MeshLog.Entry>, start: number): Effect.Effect<void> =>
  Effect.suspend(() => {
    for (let i = start; i < entries.length; i++) {
      const entry = entries[i]
      if (entry === undefined) continue
      if (!client.hasRoom()) {
        const room = Effect.callback<void>((resume) => client.onRoom(() => resume(Effect.void)))
        return Effect.andThen(room, send(client, entries, i))
      }
      client.append(new Message(entry.event, { storedAt: entry.at, position: entry.position }))
    }
    return Effect.void
  })

/** Reads the newest update of each task. A log that fails is reported, and left out. */
export const present = (log: Log, take: (event: MeshEvent, at: number) => void): Effect.Effect<void> =>
  log.read({ from: MeshLog.lastPerTask, filter: { kind: "updates" } }).pipe(
    Stream.runForEachArray((entries) =>
      Effect.sync(() => {
        for (const { at, event } of entries) take(event, at)
      })
    ),
    Effect.catch((error) => Effect.logError("The log of the gateway failed", error))
  )

/**
 * Returns where a reader starts. A position after the last entry is of another log: the client could wait for it forever. It
 * receives a mark instead, which says that events before it may be missing, and continues with new entries.
 */
const startOf = (log: Log, client: OpenClient, from: MeshLog.From): Effect.Effect<MeshLog.From, LogError> =>
  Effect.gen(function* () {
    if (from._tag !== "After") return from
    const { last } = yield* log.bounds
    if (from.position <= last) return from
    const storedAt = yield* Clock.currentTimeMillis
    client.control(
      new Message({ _tag: "Resync", epoch: 0, reason: { _tag: "JoinedLate" } }, { storedAt, position: last })
    )
    return MeshLog.after(last)
  })

/** Starts to send a log to a client. Returns how to stop. A log that fails closes the client with 1011. */
export const follow = (log: Log, client: OpenClient, place: Place, context: Context.Context<never>): (() => void) => {
  const fiber = startOf(log, client, place.from).pipe(
    Effect.map((from) => log.read({ ...place, from, follow: true })),
    Stream.unwrap,
    Stream.runForEachArray((entries) => send(client, entries, 0)),
    Effect.catchCause((cause) =>
      Effect.andThen(
        Effect.logError("The log of the gateway failed", cause),
        Effect.sync(() => client.close(1011, "The log failed"))
      )
    ),
    Effect.runForkWith(context)
  )
  return () => void Effect.runForkWith(context)(Fiber.interrupt(fiber))
}
