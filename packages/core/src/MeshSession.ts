/**
 * One connection: dial, send the interest, decode, end. No retry.
 *
 * The scope that a session is made in owns it: closing the scope closes the
 * socket and stops everything. `MeshStream` puts sessions in a row under a
 * `ReconnectPolicy`; reach for a session itself where one connection is all
 * that is wanted, or to build another loop.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Latch from "effect/Latch"
import * as Scope from "effect/Scope"
import * as Socket from "effect/socket/Socket"
import { isReadonlyArrayNonEmpty, type NonEmptyReadonlyArray } from "effect/Array"
import type { DecodeError } from "./DecodeError.ts"
import * as Interest from "./Interest.ts"
import { atLeast } from "./internal/bounds.ts"
import * as Request from "./internal/wire/encodeRequest.ts"
import * as Subscriptions from "./internal/session/subscriptions.ts"
import type { Skippable } from "./internal/pushdown.ts"
import * as MeshError from "./MeshError.ts"
import type { Data } from "./MeshEvent.ts"
import * as MeshMetrics from "./MeshMetrics.ts"
import * as ServerMessage from "./ServerMessage.ts"

/**
 * A live connection.
 *
 * @category models
 * @since 0.1.0
 */
export interface MeshSession<Bad = DecodeError> {
  /**
   * The next messages, in order, never empty. Acknowledgements are taken by the
   * session itself. A frame that is no message appears in its place as the
   * value that `onBadFrame` made of it. Fails when the connection ends, after
   * everything that came before the end has been pulled.
   */
  readonly pull: Effect.Effect<NonEmptyReadonlyArray<Data | Bad>, MeshError.MeshError>
  /** Changes what is wanted. The difference is sent by the session's own fiber. */
  readonly setInterest: (interest: Interest.Interest) => Effect.Effect<void>
  /** What was asked for on this connection, and what of it the server confirmed. */
  readonly subscriptions: Effect.Effect<{
    readonly requested: Interest.Interest
    readonly confirmed: Interest.Interest
  }>
  /** How many messages have come, acknowledgements included. */
  readonly received: Effect.Effect<number>
}

/**
 * Options of one connection.
 *
 * @category options
 * @since 0.1.0
 */
export interface Options {
  /**
   * What to do with a frame that is no message: `mark` puts a value in its
   * place and goes on, `fail` ends the connection with `BadFrame`. Default:
   * `mark`.
   */
  readonly onBadFrame?: "mark" | "fail"
  /**
   * How many frames in a row may be no messages before the connection is given
   * up with `TooManyBadFrames`. At least 1. Default: 100.
   */
  readonly maxBadFrames?: number
  /**
   * How long a request waits for its acknowledgement before another request
   * for the same subscription may follow it. Default: 5 seconds.
   */
  readonly ackTimeout?: Duration.Input
}

/**
 * Dials and sends the interest. Fails if the connection cannot be made.
 *
 * **Details**
 *
 * The interest is handed to the socket, in one batch, before this returns, so
 * no message can be pulled that came before it.
 *
 * **Example** (Reading one connection by hand)
 *
 * ```ts
 * import * as Effect from "effect/Effect"
 * import * as Interest from "@makima-stream/core/Interest"
 * import * as MeshSession from "@makima-stream/core/MeshSession"
 *
 * // Effect<void, MeshError, Socket>
 * const program = Effect.scoped(
 *   Effect.gen(function* () {
 *     const session = yield* MeshSession.make(Interest.all)
 *     const messages = yield* session.pull
 *     console.log(messages.length)
 *   })
 * )
 * console.log(Effect.isEffect(program)) // true
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (
  interest: Interest.Interest,
  options?: Options
): Effect.Effect<MeshSession, MeshError.MeshError, Socket.Socket | Scope.Scope> =>
  Effect.suspend(() => {
    const subscriptions = Subscriptions.make()
    subscriptions.setInterest(interest)
    return makeWith({ ...options, subscriptions, toBad: (error) => error })
  })

/**
 * A session over a subscription table that outlives it.
 *
 * @internal
 */
export const makeWith = Effect.fnUntraced(function* <Bad>(
  options: Options & {
    readonly subscriptions: Subscriptions.Subscriptions
    readonly toBad: (error: DecodeError) => Bad
    /** The type of a message that nobody wants, for a frame that can be left undecoded. Default: all are decoded. */
    readonly skip?: ((frame: string) => Skippable | undefined) | undefined
  }
): Effect.fn.Return<MeshSession<Bad>, MeshError.MeshError, Socket.Socket | Scope.Scope> {
  const { skip, subscriptions, toBad } = options
  const failOnBad = options.onBadFrame === "fail"
  const maxBadFrames = atLeast(1, options.maxBadFrames ?? 100)
  const ackTimeout = Duration.toMillis(options.ackTimeout ?? "5 seconds")
  const socket = yield* Socket.Socket
  const scope = yield* Effect.scope
  const clock = yield* Clock.Clock
  const context = yield* Effect.context<never>()

  // The reader has a scope of its own: closing it fails a pull that is suspended, which is how a failed write ends the
  // session.
  const readScope = yield* Scope.fork(scope)
  const reader = yield* Effect.mapError(Scope.provide(socket.reader, readScope), fromSocketError)
  // A transport binds a writer to the reader that was acquired in the same scope, so that two connections of one
  // Socket service cannot write into each other.
  const writer = yield* Scope.provide(socket.writer, readScope)

  let received = 0
  let badInARow = 0
  let failure: MeshError.MeshError | undefined
  let writeFailure: MeshError.MeshError | undefined
  // Set by an acknowledgement until the next pull: by then, what came before it has been taken.
  let acknowledged = false
  // While a pull waits, nothing has arrived that it could miss.
  let pulling = false

  const flush = Effect.suspend(() => {
    const messages = subscriptions.take(clock.currentTimeMillisUnsafe())
    recordSubscriptions()
    const [first, ...rest] = messages
    return first === undefined
      ? Effect.void
      : writer.writeAll([Request.encode(first), ...rest.map(Request.encode)]).pipe(
          Effect.withSpan("makima.subscribe", {
            kind: "client",
            attributes: { "makima.requests": messages.length }
          })
        )
  })

  const recordSubscriptions = () => {
    const { confirmed, wanted } = subscriptions.counts()
    MeshMetrics.subscriptionsWanted.updateUnsafe(wanted, context)
    MeshMetrics.subscriptionsConfirmed.updateUnsafe(confirmed, context)
  }

  // From here on, since what is wanted may change while the first requests are being written.
  const dirty = Latch.makeUnsafe(false)
  subscriptions.onDirty = () => dirty.openUnsafe()
  yield* Scope.addFinalizer(
    scope,
    Effect.sync(() => {
      subscriptions.onDirty = () => {}
      // Nothing is asked for, or confirmed, where there is no connection.
      subscriptions.reset()
      recordSubscriptions()
    })
  )

  subscriptions.reset()
  yield* Effect.mapError(flush, fromSocketError)

  // One fiber writes, so that requests leave in the order in which the table gave them. It is a child of the session's
  // scope: a write that hangs on a dead connection is interrupted with it, and never reaches the next one.
  const awaitWork = Effect.suspend(() => {
    const since = subscriptions.blockedSince()
    if (since === undefined) return dirty.await
    // A request waits behind one that the server has not acknowledged, and may never acknowledge.
    const expiry = Effect.sleep(Math.max(0, since + ackTimeout - clock.currentTimeMillisUnsafe())).pipe(
      Effect.andThen(Effect.sync(() => subscriptions.expire(since)))
    )
    return Effect.raceFirst(dirty.await, expiry)
  })
  yield* awaitWork.pipe(
    Effect.andThen(
      Effect.suspend(() => {
        dirty.closeUnsafe()
        return flush
      })
    ),
    Effect.forever,
    // A defect of the transport's ends the connection too: one that can no longer ask for anything is none.
    Effect.catchDefect((cause) =>
      Effect.fail(new Socket.SocketError({ reason: new Socket.SocketWriteError({ cause }) }))
    ),
    Effect.catch((error: Socket.SocketError) => {
      writeFailure = fromSocketError(error)
      return pulling ? Scope.close(readScope, Exit.void) : Effect.void
    }),
    Effect.forkIn(scope)
  )

  const decode = (frames: NonEmptyReadonlyArray<string | Uint8Array>): Array<Data | Bad> => {
    // Made in its size, which is mostly right: an array that grows is copied several times over.
    const out: Array<Data | Bad> = []
    out.length = frames.length
    let size = 0
    let bytes = 0
    let bad = 0
    let updates = 0
    let outputs = 0
    for (const frame of frames) {
      bytes += frame.length
      if (skip !== undefined && typeof frame === "string") {
        const skipped = skip(frame)
        if (skipped !== undefined) {
          received++
          badInARow = 0
          if (skipped === "TaskOutput") outputs++
          else updates++
          continue
        }
      }
      const message = ServerMessage.decode(frame)
      if (message._tag === "DecodeError") {
        bad++
        badInARow++
        if (failOnBad) {
          failure = new MeshError.MeshError({ reason: new MeshError.BadFrame({ error: message }) })
          break
        }
        out[size++] = toBad(message)
        if (badInARow >= maxBadFrames) {
          failure = new MeshError.MeshError({
            reason: new MeshError.TooManyBadFrames({ count: badInARow, last: message })
          })
          break
        }
        continue
      }
      received++
      badInARow = 0
      switch (message._tag) {
        case "TaskUpdated":
          updates++
          out[size++] = message
          break
        case "TaskOutput":
          outputs++
          out[size++] = message
          break
        case "ServerError":
        case "UnknownMessage":
          MeshMetrics.recordEvents(message._tag, 1, context)
          out[size++] = message
          break
        default:
          acknowledged = true
          subscriptions.acknowledge(message)
      }
    }
    // By the batch, so that no message costs a metric of its own.
    MeshMetrics.framesReceived.updateUnsafe(frames.length, context)
    MeshMetrics.bytesReceived.updateUnsafe(bytes, context)
    MeshMetrics.recordEvents("TaskUpdated", updates, context)
    MeshMetrics.recordEvents("TaskOutput", outputs, context)
    if (acknowledged) recordSubscriptions()
    if (bad > 0) {
      MeshMetrics.decodeFailures.updateUnsafe(bad, context)
      MeshMetrics.recordGap("BadFrame", context, bad)
    }
    out.length = size
    return out
  }

  const receive = (
    frames: NonEmptyReadonlyArray<string | Uint8Array>
  ): Effect.Effect<NonEmptyReadonlyArray<Data | Bad>, MeshError.MeshError> => {
    pulling = false
    const out = decode(frames)
    // A batch of nothing but acknowledgements is no batch.
    return isReadonlyArrayNonEmpty(out) ? Effect.succeed(out) : pull
  }

  const next = Effect.suspend(() => {
    pulling = true
    if (acknowledged) {
      acknowledged = false
      if (subscriptions.isSettled()) subscriptions.onSettled()
    }
    return Effect.mapError(reader.pull, (error) => writeFailure ?? fromSocketError(error))
  }).pipe(Effect.flatMap(receive))

  // What arrived before a write failed is still to be had, and after it the reader's own account of the end, which knows
  // more than a failed write does: such as the code of a close for policy.
  const rest = (error: MeshError.MeshError) =>
    Effect.raceFirst(
      Effect.mapError(reader.pull, fromSocketError),
      Effect.andThen(Effect.yieldNow, Effect.fail(error))
    ).pipe(
      Effect.tapError(() => Scope.close(readScope, Exit.void)),
      Effect.flatMap(receive)
    )

  // What came before a bad frame is pulled before the failure that the frame is.
  const pull: MeshSession<Bad>["pull"] = Effect.suspend(() => {
    if (failure !== undefined) return Effect.fail(failure)
    return writeFailure === undefined ? next : rest(writeFailure)
  })

  return {
    pull,
    setInterest: (interest) => Effect.sync(() => subscriptions.setInterest(interest)),
    subscriptions: Effect.sync(subscriptions.current),
    received: Effect.sync(() => received)
  }
})

const fromSocketError = (error: Socket.SocketError): MeshError.MeshError =>
  new MeshError.MeshError({ reason: MeshError.fromSocketError(error) })
