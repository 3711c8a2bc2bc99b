/**
 * A socket on which boundaries can be requested: a request that changes nothing
 * and that the server acknowledges, `unsubscribe` or `unsubscribeOutput` of a
 * task that is never subscribed.
 *
 * Acknowledgements arrive in order with the data. So at the place of the
 * acknowledgement, everything that the server sent before the request has been
 * delivered. The acknowledgement is replaced by a frame with a type of this module,
 * which the decoder turns into an `UnknownMessage` at the same place.
 *
 * The server may leave out the task of an acknowledgement. It then answers the
 * oldest request of its type, so the requests of the session are counted too. A
 * heartbeat of the transport (`socket/heartbeat.ts`) cannot be counted, so the
 * acknowledgement of its type is not used then, and the other one counts for both
 * kinds.
 */
import type { NonEmptyReadonlyArray } from "effect/Array"
import * as Effect from "effect/Effect"
import * as Socket from "effect/socket/Socket"
import type { MeshEvent } from "../../MeshEvent.ts"
import type { Kind } from "./sequence.ts"

/** A task that is never subscribed: a UUID of the highest bits. */
const noTask = "ffffffff-ffff-ffff-ffff-ffffffffffff"

const requestTypes: Readonly<Record<Kind, string>> = { updates: "unsubscribe", output: "unsubscribeOutput" }

const boundaryType = "makima-stream/boundary"

/** A boundary of some kinds: the request left at `time`, in monotonic milliseconds. */
export interface Boundary {
  readonly kinds: ReadonlyArray<Kind>
  readonly time: number
}

/** The boundary for which an element stands; `undefined` for every other element. */
export const boundaryOf = (element: MeshEvent): Boundary | undefined => {
  if (element._tag !== "UnknownMessage" || element.raw.type !== boundaryType) return undefined
  const { kind, time } = element.raw
  return { kinds: kind === "updates" || kind === "output" ? [kind] : ["updates", "output"], time: Number(time) }
}

type Frame = string | Uint8Array

/** A request that waits for its acknowledgement: one of this module, with its time, or one of the session. */
interface Pending {
  readonly time: number | undefined
}

export interface BoundarySocket {
  readonly socket: Socket.Socket
  /** Requests a boundary, unless a request waits already. Does nothing without a connection. */
  readonly request: (kind: Kind, now: number) => Effect.Effect<void>
}

export const make = (inner: Socket.Socket): BoundarySocket => {
  let writer: Socket.Writer | undefined
  let pending: Record<Kind, Array<Pending>> = { updates: [], output: [] }

  const isOwn = ({ time }: Pending): boolean => time !== undefined

  /** Records the requests of the session that have the same acknowledgement. */
  const note = (chunk: unknown): void => {
    if (typeof chunk !== "string") return
    if (chunk.startsWith('{"type":"unsubscribe"')) pending.updates.push({ time: undefined })
    else if (chunk.startsWith('{"type":"unsubscribeOutput"')) pending.output.push({ time: undefined })
  }

  /** The request of this module that a frame acknowledges. */
  const answered = (frame: Frame): { readonly kind: Kind | "all"; readonly time: number } | undefined => {
    if (typeof frame !== "string" || frame.length > 200 || frame.startsWith('{"type":"task')) return undefined
    const kind = /"type"\s*:\s*"unsubscribed"/.test(frame)
      ? "updates"
      : /"type"\s*:\s*"outputUnsubscribed"/.test(frame)
        ? "output"
        : undefined
    if (kind === undefined) return undefined
    const waiting = pending[kind]
    const isNamed = /"taskId"\s*:\s*"/.test(frame)
    const index = isNamed ? waiting.findIndex((each) => isOwn(each) === frame.includes(noTask)) : 0
    const [request] = index < 0 ? [] : waiting.splice(index, 1)
    if (request?.time === undefined) return undefined
    if (isNamed) return { kind, time: request.time }
    // A heartbeat of the transport may have sent the same request.
    return kind === "output" ? undefined : { kind: "all", time: request.time }
  }

  const replaced = (frames: NonEmptyReadonlyArray<Frame>): NonEmptyReadonlyArray<Frame> => {
    if (pending.updates.length === 0 && pending.output.length === 0) return frames
    const [first, ...rest] = frames
    const replace = (frame: Frame): Frame => {
      const request = answered(frame)
      return request === undefined ? frame : JSON.stringify({ type: boundaryType, ...request })
    }
    return [replace(first), ...rest.map(replace)]
  }

  return {
    socket: Socket.make({
      reader: Effect.map(inner.reader, (reader) => ({ ...reader, pull: Effect.map(reader.pull, replaced) })),
      writer: Effect.acquireRelease(
        Effect.map(inner.writer, (acquired) => {
          pending = { updates: [], output: [] }
          writer = acquired
          return {
            acquired,
            own: {
              write: (chunk) => {
                note(chunk)
                return acquired.write(chunk)
              },
              writeAll: (chunks) => {
                for (const chunk of chunks) note(chunk)
                return acquired.writeAll(chunks)
              }
            } satisfies Socket.Writer
          }
        }),
        ({ acquired }) =>
          Effect.sync(() => {
            if (writer === acquired) writer = undefined
          })
      ).pipe(Effect.map(({ own }) => own))
    }),
    request: (kind, now) =>
      Effect.suspend(() => {
        if (writer === undefined || pending[kind].some(isOwn)) return Effect.void
        pending[kind].push({ time: now })
        return Effect.ignore(writer.write(JSON.stringify({ type: requestTypes[kind], taskId: noTask })))
      })
  }
}
