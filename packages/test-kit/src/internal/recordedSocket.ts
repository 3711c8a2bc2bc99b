/**
 * A socket that records its frames: the decorator behind `Recording.record`.
 *
 * Invariants: lines are written in order, one batch at a time, and the program
 * continues after its batch was written. A pull that is interrupted while its frames
 * are written loses none of them.
 */
import { isReadonlyArrayNonEmpty, type NonEmptyReadonlyArray } from "effect/Array"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Base64 from "effect/encoding/Base64"
import type * as Scope from "effect/Scope"
import * as Semaphore from "effect/Semaphore"
import * as Socket from "effect/socket/Socket"
import * as MeshError from "@makima-stream/core/MeshError"
import type { Entry, Write } from "./recording/format.ts"
import * as Monotonic from "./monotonic.ts"

export interface Options {
  readonly write: Write
  /** The first line. */
  readonly header: (startedAt: number) => string
  /** Every other line. */
  readonly encode: (entry: Entry) => string
}

const toFrame = (frame: string | Uint8Array) =>
  typeof frame === "string" ? { text: frame } : { base64: Base64.encode(frame) }

/** A reason without the platform's error, which may contain sensitive data. */
const withoutCause = (reason: MeshError.ConnectionReason): MeshError.ConnectionReason => {
  switch (reason._tag) {
    case "DialFailed":
      return new MeshError.DialFailed({ cause: "not recorded" })
    case "CredentialsFailed":
      return new MeshError.CredentialsFailed({ cause: "not recorded" })
    case "TlsFailed":
      return new MeshError.TlsFailed({ code: reason.code, cause: "not recorded" })
    case "ConnectionLost":
      return new MeshError.ConnectionLost({})
    default:
      return reason
  }
}

export const make = (socket: Socket.Socket, options: Options): Effect.Effect<Socket.Socket, never, Scope.Scope> =>
  Effect.gen(function* () {
    const clock = yield* Clock.Clock
    const origin = Monotonic.millis(clock)
    const one = yield* Semaphore.make(1)
    const epochs = new WeakMap<Scope.Scope, number>()
    let unwritten: Array<string> = [options.header(clock.currentTimeMillisUnsafe())]
    let lastEpoch = 0
    let finished = false

    const at = (): number => Math.floor(Monotonic.millis(clock) - origin)
    const note = (entry: Entry): void => {
      if (finished) return
      finished = entry._tag === "Finished"
      unwritten.push(options.encode(entry))
    }
    // Whole batches, in order.
    const flush = one
      .withPermits(1)(
        Effect.suspend(() => {
          const lines = unwritten
          unwritten = []
          return isReadonlyArrayNonEmpty(lines) ? options.write(lines) : Effect.void
        })
      )
      .pipe(Effect.uninterruptible)

    yield* flush
    yield* Effect.addFinalizer(() => {
      note({ _tag: "Finished", at: at() })
      return flush
    })

    const reader: Socket.Socket["reader"] = Effect.gen(function* () {
      const scope = yield* Effect.scope
      const inner = yield* Effect.tapError(socket.reader, (error) => {
        const reason = withoutCause(MeshError.fromSocketError(error))
        note({ _tag: "DialFailed", at: at(), epoch: lastEpoch, reason })
        return flush
      })
      const epoch = ++lastEpoch
      epochs.set(scope, epoch)
      note({ _tag: "Opened", at: at(), epoch })
      let ended = false
      const end = (reason?: MeshError.ConnectionReason): Effect.Effect<void> => {
        if (ended) return Effect.void
        ended = true
        note({ _tag: "Ended", at: at(), epoch, ...(reason === undefined ? {} : { reason }) })
        return flush
      }
      yield* Effect.addFinalizer(() => end())
      yield* flush

      // Frames that were not completely written when the pull was interrupted.
      let read: NonEmptyReadonlyArray<string | Uint8Array> | undefined
      const give = Effect.suspend(() => {
        const frames = read
        read = undefined
        return frames === undefined ? pull : Effect.succeed(frames)
      })
      const pull: Socket.Reader["pull"] = Effect.suspend(() => {
        if (read !== undefined) return Effect.andThen(flush, give)
        return inner.pull.pipe(
          Effect.tapError((error) => end(withoutCause(MeshError.fromSocketError(error)))),
          Effect.flatMap((frames) => {
            read = frames
            const now = at()
            for (const frame of frames) note({ _tag: "Received", at: now, epoch, frame: toFrame(frame) })
            return Effect.andThen(flush, give)
          })
        )
      })
      return { ...inner, pull }
    })

    const writer: Socket.Socket["writer"] = Effect.gen(function* () {
      const scope = yield* Effect.scope
      const inner = yield* socket.writer
      const sent = (chunks: ReadonlyArray<string | Uint8Array>) => {
        const epoch = epochs.get(scope) ?? lastEpoch
        for (const chunk of chunks) note({ _tag: "Sent", at: at(), epoch, frame: toFrame(chunk) })
        return flush
      }
      return {
        write: (chunk) =>
          Socket.isCloseEvent(chunk)
            ? inner.write(chunk)
            : Effect.andThen(
                Effect.suspend(() => sent([chunk])),
                inner.write(chunk)
              ),
        writeAll: (chunks) =>
          Effect.andThen(
            Effect.suspend(() => sent(chunks)),
            inner.writeAll(chunks)
          )
      }
    })

    return Socket.make({ reader, writer })
  })
