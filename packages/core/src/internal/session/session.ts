/**
 * One connection, over a table of subscriptions that can outlive it. `MeshSession`
 * and the reconnecting loop (`connection.ts`) use it.
 *
 * It has three fibers:
 *
 * - the consumer's pull (not forked here),
 * - the reader, which pulls the socket while the consumer waits and decodes,
 * - the requester, which sends requests, repeats those that are overdue, and
 *   reports them.
 *
 * Marks are elements of the stream. The reader appends them at the place of the
 * acknowledgement. The requester appends the marks of overdue keys after everything
 * that has arrived was read.
 */
import type { NonEmptyReadonlyArray } from "effect/Array"
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Latch from "effect/Latch"
import * as Scope from "effect/Scope"
import * as Socket from "effect/socket/Socket"
import type { DecodeError } from "../../DecodeError.ts"
import * as MeshError from "../../MeshError.ts"
import type { Data, Resync } from "../../MeshEvent.ts"
import * as MeshMetrics from "../../MeshMetrics.ts"
import type { MayBeWanted } from "../wire/decodeText.ts"
import { isNonEmpty } from "../nonEmpty.ts"
import { resync } from "../resync.ts"
import { monotonicMillis } from "../time.ts"
import * as Decoder from "./decoder.ts"
import type { Extension } from "./extension.ts"
import * as Handoff from "./handoff.ts"
import { halvePace, type PaceSettings, type Settings } from "./options.ts"
import * as Pacer from "./pacer.ts"
import * as ReadingClock from "./readingClock.ts"
import type { Key, Subscriptions } from "./subscriptions.ts"

export interface Options<Bad, Extra> {
  readonly settings: Settings
  readonly subscriptions: Subscriptions
  /** The number of this connection, for its marks. */
  readonly epoch: number
  /** Returns the element that replaces a frame that cannot be decoded. */
  readonly toBad: (error: DecodeError) => Bad
  /** Returns the reason of the mark at the end of the replay. Called when it ends. */
  readonly onReplayEnd: () => Resync["reason"]
  /** Returns an element for the place of a key's confirmation. Emitted before the mark of the confirmation. */
  readonly onConfirmed?: ((key: Key, epoch: number) => Extra) | undefined
  /** Called when the replay has been taken from the table, before it is written. */
  readonly onReplay?: (() => void) | undefined
  /** Runs when requests were sent, or acknowledgements have arrived that cause no element. */
  readonly onChanged: Effect.Effect<void>
  /** Which messages must be decoded. Defaults to all. */
  readonly mayBeWanted?: MayBeWanted | undefined
  /** Decodes messages that the protocol does not define. Defaults to none. */
  readonly extension?: Extension<Extra> | undefined
}

export interface Session<A> {
  readonly pull: Effect.Effect<NonEmptyReadonlyArray<A>, MeshError.ConnectionReason>
  /** The number of received messages, including acknowledgements. */
  readonly received: () => number
  /** A slower pace, if enough requests were sent recently to be the cause of a rate-limit close. */
  readonly slowerPace: () => PaceSettings | undefined
}

/** Dials and sends the interest. Fails if the connection cannot be made. */
export const make = Effect.fnUntraced(function* <Bad, Extra = never>(
  options: Options<Bad, Extra>
): Effect.fn.Return<Session<Data | Bad | Resync | Extra>, MeshError.ConnectionReason, Socket.Socket | Scope.Scope> {
  type Element = Data | Bad | Resync | Extra
  const { epoch, onChanged, subscriptions } = options
  const socket = yield* Socket.Socket
  const scope = yield* Effect.scope
  const clock = yield* Clock.Clock
  const context = yield* Effect.context<never>()
  const now = () => monotonicMillis(clock)

  // The reader's socket has its own scope. When a write fails, closing that scope fails a suspended pull, which ends the
  // session.
  const readScope = yield* Scope.fork(scope)
  const reader = yield* Effect.mapError(Scope.provide(socket.reader, readScope), MeshError.fromSocketError)
  // A transport binds a writer to the reader that was acquired in the same scope, so two connections of one Socket
  // service cannot write into each other.
  const writer = yield* Scope.provide(socket.writer, readScope)

  const reading = ReadingClock.make(now)
  const handoff = Handoff.make<Element, MeshError.ConnectionReason>(reading)
  const record = (): void => MeshMetrics.recordSubscriptions(subscriptions.counts(), context)
  const requester = makeRequester(options, writer, now, reading, record)

  // Whether an acknowledgement arrived since `settle` was called.
  let acknowledged = false
  let writeFailure: MeshError.ConnectionReason | undefined

  const subscribedMark = ({ kind, taskId }: Key, unconfirmed?: number): Resync =>
    resync(epoch, { _tag: "Subscribed", kind: kind === "output" ? kind : "updates" }, unconfirmed, taskId)

  /** Appends the mark of the replay, if it has ended. */
  const appendReplayMark = (out: Array<Element>): void => {
    const unconfirmed = subscriptions.takeReplayEnd()
    if (unconfirmed !== undefined) out.push(resync(epoch, options.onReplayEnd(), unconfirmed))
  }

  const decoder = Decoder.make<Bad, Extra, Resync>(options, context, (message, out) => {
    acknowledged = true
    const confirmation = subscriptions.acknowledge(message)
    if (confirmation !== undefined) {
      const { inReplay, key } = confirmation
      if (options.onConfirmed !== undefined) out.push(options.onConfirmed(key, epoch))
      if (!inReplay) out.push(subscribedMark(key))
    }
    // Even without a confirmation, because the remaining keys of the replay may not be wanted any more.
    appendReplayMark(out)
  })

  /** Reports that every request was acknowledged, after everything before it was pulled. */
  const settle = (): void => {
    if (acknowledged && subscriptions.isSettled()) subscriptions.onSettled()
    acknowledged = false
  }

  const deliver = (
    frames: NonEmptyReadonlyArray<string | Uint8Array>
  ): Effect.Effect<void, MeshError.ConnectionReason> => {
    const elements = decoder.decode(frames)
    if (acknowledged) record()
    const isSilent = elements.length === 0
    if (isSilent) settle()
    handoff.offer(elements)
    const failure = decoder.failure()
    if (failure !== undefined) return Effect.fail(failure)
    return isSilent ? onChanged : Effect.void
  }

  /** Emits the mark of the replay, if it has ended, and those of overdue keys, after everything that has arrived was read. */
  const onExpired = (keys: ReadonlyArray<Key>): void => {
    const marks: Array<Element> = keys.map((key) => subscribedMark(key, 1))
    appendReplayMark(marks)
    handoff.offer(marks)
  }

  // Set before the first requests are written, because the interest may change meanwhile.
  subscriptions.onDirty = requester.wake
  yield* Scope.addFinalizer(
    scope,
    Effect.sync(() => {
      // `reconnect` closes this scope in another fiber, so the next session may already own the table.
      if (subscriptions.onDirty !== requester.wake) return
      subscriptions.onDirty = () => {}
      // Without a connection, nothing is requested or confirmed.
      subscriptions.reset()
      record()
    })
  )
  // A server may close the connection while the replay is written. The session then opens, and the reader ends it with the
  // reason.
  const replayed = yield* Effect.exit(requester.replay)
  // An empty interest is confirmed at once.
  onExpired([])

  yield* Effect.andThen(replayed, requester.run(onExpired)).pipe(
    Effect.mapError(MeshError.fromSocketError),
    // A transport defect also ends the session, since it can no longer subscribe.
    Effect.catchDefect((cause) => Effect.fail(new MeshError.ConnectionLost({ cause }))),
    // Frames that have arrived are still read, and the session ends with the reason that the reader finds, such as the
    // code of a close frame. The error of the write says less.
    Effect.catch((reason) =>
      Effect.andThen(
        reading.waitUntil(reading.now() + restTimeout),
        Effect.suspend(() => {
          writeFailure = reason
          return Scope.close(readScope, Exit.void)
        })
      )
    ),
    Effect.forkIn(scope)
  )

  yield* Effect.andThen(reading.started, reader.pull).pipe(
    Effect.mapError((error) => writeFailure ?? MeshError.fromSocketError(error)),
    Effect.flatMap(deliver),
    Effect.forever({ disableYield: true }),
    Effect.onError((cause) =>
      // An interrupted reader means that the session was closed.
      Effect.sync(() =>
        handoff.end(Cause.hasInterruptsOnly(cause) ? Cause.fail(new MeshError.ConnectionLost({})) : cause)
      )
    ),
    Effect.forkIn(scope)
  )

  return {
    pull: Effect.suspend(() => {
      settle()
      return handoff.pull
    }),
    received: decoder.received,
    slowerPace: requester.slowerPace
  }
})

/**
 * How long the reader may wait for frames or for the end of the connection after a write has failed, in milliseconds. Time
 * in which the session is not pulled does not count.
 */
const restTimeout = 1000

/** A rate-limit close within this time after the last request slows down the next connection, in milliseconds. */
const paceWindow = 1000

/** Sends the requests of the table, at the pace of the settings, and expires unacknowledged ones. */
const makeRequester = (
  {
    onChanged,
    onReplay,
    settings,
    subscriptions
  }: Pick<Options<never, never>, "onChanged" | "onReplay" | "settings" | "subscriptions">,
  writer: Socket.Writer,
  now: () => number,
  reading: ReadingClock.ReadingClock,
  record: () => void
) => {
  const pacer = Pacer.make(settings.pace, now())
  const dirty = Latch.makeUnsafe(false)
  let sent = 0
  let lastAt = now()
  // Whether requests wait because of the pace.
  let isPaced = false

  /** Takes requests from the table, as far as the pace allows. Returns how to write them. */
  const take = (): Effect.Effect<void, Socket.SocketError> => {
    const limit = pacer.available(now())
    // An undefined member is left out.
    const requests = subscriptions.take(reading.now(), limit).map((request) => JSON.stringify(request))
    const count = requests.length
    pacer.spend(count)
    isPaced = count >= limit
    record()
    if (!isNonEmpty(requests)) return Effect.void
    sent += count
    lastAt = now()
    return Effect.withSpan(writer.writeAll(requests), "makima.subscribe", {
      kind: "client",
      attributes: { "makima.requests": count }
    })
  }

  /** Waits for a request to send, or for the next timeout. */
  const awaitWork = Effect.suspend(() => {
    const waits = [dirty.await]
    if (isPaced) waits.push(Effect.sleep(Math.ceil(pacer.wait(now()))))
    const due = subscriptions.deadline()
    if (due < Infinity) waits.push(reading.waitUntil(due))
    return Effect.raceAllFirst(waits)
  })

  const run = (onExpired: (keys: ReadonlyArray<Key>) => void) =>
    awaitWork.pipe(
      Effect.andThen(
        Effect.suspend(() => {
          dirty.closeUnsafe()
          if (subscriptions.deadline() <= reading.now()) onExpired(subscriptions.expire(reading.now()))
          return take()
        })
      ),
      Effect.andThen(onChanged),
      Effect.forever
    )

  return {
    /** Wakes `run` because there is a request to send. */
    wake: () => dirty.openUnsafe(),
    /** Sends the replay, as far as the pace allows. */
    replay: Effect.suspend(() => {
      // In one step: otherwise a key that becomes wanted in between would be sent with the replay without being part of it.
      subscriptions.reset()
      const write = take()
      onReplay?.()
      return write
    }),
    run,
    slowerPace: () => (now() - lastAt <= paceWindow ? halvePace(settings.pace, sent) : undefined)
  }
}
