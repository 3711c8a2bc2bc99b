/**
 * A socket that plays a recording, behind `Recording.replay`.
 *
 * One fiber reads entries ahead. They are kept until their connection pulls them;
 * entries of a connection that the program has closed are dropped.
 */
import { isReadonlyArrayNonEmpty, type NonEmptyReadonlyArray } from "effect/Array"
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Base64 from "effect/encoding/Base64"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Pull from "effect/Pull"
import * as Result from "effect/Result"
import * as Scope from "effect/Scope"
import * as Semaphore from "effect/Semaphore"
import * as Socket from "effect/socket/Socket"
import * as MeshError from "@makima-stream/core/MeshError"
import type { Entry, Played } from "./recording/format.ts"
import * as Monotonic from "./monotonic.ts"
import * as SocketErrors from "./socketErrors.ts"

export interface Options {
  /** Whether entries are played at their times. */
  readonly paced: boolean
  /** The close code for the end of the recording. */
  readonly over: number
  /** The close code for a recording that cannot be read any further. */
  readonly unreadable: number
}

export const make = <E>(
  entries: Pull.Pull<NonEmptyReadonlyArray<Played>, E>,
  options: Options
): Effect.Effect<{ readonly socket: Socket.Socket; readonly finished: Effect.Effect<void, E> }, never, Scope.Scope> =>
  Effect.gen(function* () {
    const clock = yield* Clock.Clock
    const replayScope = yield* Effect.scope
    const { over, paced, unreadable } = options
    const reading = yield* Semaphore.make(1)
    const dialling = yield* Semaphore.make(1)
    const finished = yield* Deferred.make<void, E>()

    /** Entries that were read and have not been played, oldest first. */
    let ahead: Array<Played> = []
    let ending: Ending<E> | undefined
    let origin: number | undefined
    const left = new Set<number>()

    const isToBePlayed = (entry: Played): boolean => entry._tag !== "Sent" && (isDial(entry) || !left.has(entry.epoch))

    // A separate fiber reads, so that an interrupted pull loses nothing.
    const readOn = entries.pipe(
      Pull.matchEffect({
        onSuccess: (batch) =>
          Effect.sync(() => {
            ahead = ahead.concat(batch.filter(isToBePlayed))
          }),
        onFailure: (cause) =>
          Effect.sync(() => {
            ending = { code: unreadable, reason: describe(Cause.squash(cause)), exit: Exit.failCause(cause) }
          }),
        onDone: () =>
          Effect.sync(() => {
            ending = { code: over, reason: "The recording is over", exit: Exit.void }
          })
      }),
      Effect.forkIn(replayScope),
      Effect.flatMap(Fiber.await),
      reading.withPermits(1)
    )

    /** Waits for the first entry of a kind, and leaves it in the list. */
    const seek = (wanted: (entry: Played) => boolean): Effect.Effect<Played, Ending<E>> =>
      Effect.suspend(() => {
        const found = ahead.find(wanted)
        if (found !== undefined) return Effect.succeed(found)
        if (ending === undefined) return Effect.andThen(readOn, seek(wanted))
        return Effect.andThen(Deferred.done(finished, ending.exit), Effect.fail(ending))
      })

    /** The time until an entry is due, in milliseconds. */
    const wait = (entry: Played): number =>
      paced && origin !== undefined ? Math.max(0, Math.ceil(origin + entry.at - Monotonic.millis(clock) - 1e-3)) : 0

    const untilDue = (entry: Played): Effect.Effect<void> => Effect.suspend(() => Effect.sleep(wait(entry)))

    const remove = (entries: ReadonlyArray<Played>) => {
      const gone = new Set(entries)
      ahead = ahead.filter((entry) => !gone.has(entry))
    }

    const dial = seek(isDial).pipe(
      Effect.tap(untilDue),
      Effect.tap((entry) => Effect.sync(() => remove([entry]))),
      dialling.withPermits(1),
      Effect.mapError((end) => SocketErrors.dialFailed(toReason(end)))
    )

    const connect = (epoch: number, closed: Deferred.Deferred<never, Socket.SocketError>) => {
      const isOwn = (entry: Played): boolean => entry.epoch === epoch && !isDial(entry)

      const play = (entry: Played): Effect.Effect<Batch, Socket.SocketError> => {
        if (entry._tag === "Ended") {
          if (entry.reason !== undefined) return Effect.fail(SocketErrors.ended(entry.reason))
          // The recorded program closed the connection: to dial again, or at the end of the recording.
          return seek(isDial).pipe(
            Effect.mapError((end) => SocketErrors.ended(toReason(end))),
            Effect.andThen(Effect.fail(SocketErrors.ended(new MeshError.ConnectionClosed({ code: 1000 }))))
          )
        }
        const played: Array<Played> = []
        const frames: Array<string | Uint8Array> = []
        for (const next of ahead) {
          if (!isOwn(next)) continue
          if (next._tag !== "Received" || wait(next) > 0) break
          played.push(next)
          frames.push(fromFrame(next.frame))
        }
        remove(played)
        return isReadonlyArrayNonEmpty(frames) ? Effect.succeed(frames) : pull
      }

      const later = seek(isOwn).pipe(
        Effect.tap(untilDue),
        Effect.mapError((end) => SocketErrors.ended(toReason(end))),
        Effect.raceFirst(Deferred.await(closed)),
        Effect.flatMap(play)
      )
      const pull: Socket.Reader["pull"] = Effect.suspend(() => {
        const entry = ahead.find(isOwn)
        return entry !== undefined && wait(entry) === 0 ? play(entry) : later
      })
      return pull
    }

    const reader: Socket.Socket["reader"] = Effect.gen(function* () {
      const scope = yield* Effect.scope
      origin ??= Monotonic.millis(clock)
      const entry = yield* dial
      if (entry._tag === "DialFailed") return yield* Effect.fail(SocketErrors.dialFailed(entry.reason))
      const { epoch } = entry
      const closed = yield* Deferred.make<never, Socket.SocketError>()
      yield* Scope.addFinalizer(
        scope,
        Effect.suspend(() => {
          left.add(epoch)
          ahead = ahead.filter(isToBePlayed)
          return Deferred.fail(closed, SocketErrors.ended(new MeshError.ConnectionClosed({ code: 1000 })))
        })
      )
      return { pull: connect(epoch, closed), upgrade: Socket.SocketUpgradeError.unsupported }
    })

    return {
      socket: Socket.make({
        reader,
        writer: Effect.succeed({ write: () => Effect.void, writeAll: () => Effect.void })
      }),
      finished: Deferred.await(finished)
    }
  })

const fromFrame = (frame: typeof Entry.cases.Received.Type.frame): string | Uint8Array =>
  "text" in frame ? frame.text : Result.getOrThrow(Base64.decode(frame.base64))

type Batch = NonEmptyReadonlyArray<string | Uint8Array>

interface Ending<E> {
  readonly code: number
  readonly reason: string
  readonly exit: Exit.Exit<void, E>
}

const isDial = (entry: Played): boolean => entry._tag === "Opened" || entry._tag === "DialFailed"

const toReason = ({ code, reason }: { readonly code: number; readonly reason: string }) =>
  new MeshError.ConnectionClosed({ code, closeReason: reason })

const describe = (error: unknown): string => (error instanceof Error ? error.message : String(error))
