/**
 * Detects a silent server on a transport without ping, by the protocol's own
 * acknowledgements.
 *
 * After `interval` without a frame it sends a request that changes nothing and
 * that a server acknowledges: `unsubscribeOutput` for a task that is never
 * subscribed. If no frame at all follows within `deadline`, it abandons the
 * connection, with `HeartbeatTimeout`.
 *
 * Invariants:
 *
 * 1. Silence counts only while a pull waits: a consumer that does not pull sees
 *    no frames, and that is not the server's fault.
 * 2. A connection is abandoned only if the server has answered such a request
 *    before, on this connection or an earlier one. To learn that early, the first
 *    request follows the first frame.
 * 3. An acknowledgement that names the task of the heartbeat is not passed on. One
 *    without a task id is: the session ignores it, or takes it for that of an
 *    `unsubscribeOutput` of its own, which confirms nothing.
 */
import { isReadonlyArrayNonEmpty, type NonEmptyReadonlyArray } from "effect/Array"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Latch from "effect/Latch"
import * as Scope from "effect/Scope"
import * as Socket from "effect/socket/Socket"
import * as MeshError from "../../MeshError.ts"
import * as MeshMetrics from "../../MeshMetrics.ts"
import { arrived, monotonicMillis } from "../time.ts"

export interface Settings {
  readonly intervalMillis: number
  readonly deadlineMillis: number
}

/** A task that is never subscribed: the nil UUID. */
const noTask = "00000000-0000-0000-0000-000000000000"

const request = JSON.stringify({ type: "unsubscribeOutput", taskId: noTask })

const acknowledgement = /"type"\s*:\s*"outputUnsubscribed"/

type Frame = string | Uint8Array

/** Adds the heartbeat to a socket. */
export const wrap = (socket: Socket.Socket, settings: Settings): Socket.Socket => {
  // Kept across connections.
  let answers = false
  /** The writer of the wrapped reader, by the scope of the reader. */
  const writers = new WeakMap<Scope.Scope, Socket.Writer>()

  const reader: Socket.Socket["reader"] = Effect.gen(function* () {
    const scope = yield* Effect.scope
    const clock = yield* Clock.Clock
    const context = yield* Effect.context<never>()
    const readScope = yield* Scope.fork(scope)
    const inner = yield* Scope.provide(socket.reader, readScope)
    // A transport binds a writer to the reader that was acquired in the same scope.
    const writer = yield* Scope.provide(socket.writer, readScope)
    writers.set(scope, writer)

    const now = () => monotonicMillis(clock)
    const firstFrame = Latch.makeUnsafe(false)
    let lastFrameAt = 0
    let isWaiting = false
    /** When the unanswered request was sent. */
    let askedAt: number | undefined
    let timeout: Socket.SocketError | undefined

    /** Whether it acknowledges the request. */
    const isAnswer = (frame: Frame): boolean => {
      if (askedAt === undefined || typeof frame !== "string" || !acknowledgement.test(frame)) return false
      MeshMetrics.heartbeatRoundTrip.updateUnsafe(now() - askedAt, context)
      askedAt = undefined
      answers = true
      return frame.includes(noTask)
    }
    const onFrames = (frames: NonEmptyReadonlyArray<Frame>): Socket.Reader["pull"] => {
      lastFrameAt = now()
      firstFrame.openUnsafe()
      if (askedAt === undefined) return Effect.succeed(frames)
      const rest = frames.filter((frame) => !isAnswer(frame))
      return isReadonlyArrayNonEmpty(rest) ? Effect.succeed(rest) : pull
    }
    const pull: Socket.Reader["pull"] = Effect.suspend(() => {
      isWaiting = true
      return inner.pull
    }).pipe(
      Effect.onExit(() => {
        isWaiting = false
        return Effect.void
      }),
      Effect.flatMap(onFrames),
      Effect.mapError((error) => timeout ?? error)
    )

    const ask = Effect.suspend(() => {
      askedAt = now()
      return writer.write(request)
    })
    const beat = Effect.gen(function* () {
      yield* firstFrame.await
      if (!answers) yield* ask
      while (true) {
        const silentAt = lastFrameAt + settings.intervalMillis
        if (now() < silentAt) {
          yield* Effect.sleep(silentAt - now())
        } else if (isWaiting) {
          const before = lastFrameAt
          yield* ask
          yield* Effect.sleep(settings.deadlineMillis)
          // After a pause of the process, timers run before the frames are read.
          yield* arrived
          if (lastFrameAt === before && isWaiting && answers) break
        } else {
          yield* Effect.sleep(settings.intervalMillis)
        }
      }
      timeout = new Socket.SocketError({
        reason: new Socket.SocketReadError({
          cause: new MeshError.HeartbeatTimeout({ deadlineMillis: Math.round(settings.deadlineMillis) })
        })
      })
      // Fails the pull that waits.
      yield* Effect.forkIn(Scope.close(readScope, Exit.void), scope)
    })
    // A failed write ends the heartbeat: the pull fails as well.
    yield* Effect.forkIn(Effect.ignore(beat), scope)
    return { ...inner, pull }
  })

  const writer: Socket.Socket["writer"] = Effect.gen(function* () {
    const scope = yield* Effect.scope
    const other = yield* socket.writer
    const current = (): Socket.Writer => writers.get(scope) ?? other
    return {
      write: (chunk) => Effect.suspend(() => current().write(chunk)),
      writeAll: (chunks) => Effect.suspend(() => current().writeAll(chunks))
    }
  })
  return Socket.make({ reader, writer })
}
