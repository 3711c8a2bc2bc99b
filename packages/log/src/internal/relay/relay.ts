/**
 * The relay's fibers: one reads the feed, one follows the log while the relay is a standby,
 * and one seeks the lease. They change the state under one lock.
 *
 * A holder writes `pending`. If it loses the lease, or releases it because its feed ended,
 * `pending` stays. If the same relay also has the next term, no other relay has written in
 * between, and it continues with `pending` and the same ids. Otherwise another relay has
 * written what the log lacked, and this relay aligns its feed with the log again.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import * as Semaphore from "effect/Semaphore"
import * as Stream from "effect/Stream"
import * as SubscriptionRef from "effect/SubscriptionRef"
import type { MeshEvent } from "@makima-stream/core/MeshEvent"
import type { LogError } from "../../LogError.ts"
import type { Entry, Lease, NewEvent, Service } from "../../MeshLog.ts"
import type { Status } from "../../Relay.ts"
import { lateMillis, Lateness, tickMillis } from "./lateness.ts"
import { isConfirmation, Standby } from "./standby.ts"
import * as Writer from "./writer.ts"

export interface Settings {
  readonly lease: string
  readonly relay: string
  /** Times in milliseconds. */
  readonly timeToLive: number
  readonly skew: number
  readonly capacity: number
  readonly status: SubscriptionRef.SubscriptionRef<Status> | undefined
}

type Log = Service

/** How many events one append has. */
const batchSize = 500
/** How long a relay whose feed ended waits for another one to take the lease. */
const handOverMillis = 1000
const retryMillis = 200

/** The events that a relay without the lease still has to write if it has the next term. */
interface Unwritten {
  readonly term: number
  readonly writer: Writer.Writer
  readonly pending: Array<NewEvent>
}

interface Holder {
  readonly role: "holder"
  readonly lease: Lease
  readonly writer: Writer.Writer
  readonly pending: Array<NewEvent>
}

interface Waiting {
  readonly role: "standby"
  readonly standby: Standby
  unwritten: Unwritten | undefined
  /** How many events of `unwritten` the log has delivered. */
  echoed: number
}

/** The last lifecycle elements of a log. */
const readState = (log: Log): Effect.Effect<{ readonly state: Writer.LogState; readonly cursor: number }, LogError> =>
  Effect.gen(function* () {
    const { first, last } = yield* log.bounds
    let state: Writer.LogState = { isEmpty: last === 0, isOpen: false, epoch: 0, closedAt: undefined }
    // Lifecycle elements that name no task.
    yield* log.read({ from: { _tag: "Beginning" }, filter: { tasks: [], keep: "lifecycle" } }).pipe(
      Stream.runForEachArray((entries) =>
        Effect.sync(() => {
          for (const { at, event, position } of entries) if (position <= last) state = Writer.after(state, event, at)
        })
      )
    )
    // A connection whose `Connected` was removed, and whose end was not.
    if (first > 1 && first <= last && state.epoch === 0 && state.closedAt === undefined) {
      state = { ...state, isOpen: true }
    }
    return { state, cursor: last }
  })

/** Retries temporary failures. */
const persist = <A>(effect: Effect.Effect<A, LogError>): Effect.Effect<A, LogError> =>
  effect.pipe(
    Effect.catch((error) =>
      error.isRetryable
        ? Effect.logDebug(`The relay waits for the log: ${error.message}`).pipe(
            Effect.andThen(Effect.sleep(retryMillis)),
            Effect.andThen(Effect.suspend(() => persist(effect)))
          )
        : Effect.fail(error)
    )
  )

export const run = Effect.fnUntraced(function* <E, R>(
  log: Log,
  feed: Stream.Stream<MeshEvent, E, R>,
  settings: Settings
): Effect.fn.Return<void, E | LogError, R> {
  const relay = yield* make(log, settings)
  return yield* feed.pipe(
    Stream.runForEachArray(relay.receive),
    Effect.andThen(relay.finish),
    Effect.raceFirst(relay.handle),
    Effect.raceFirst(relay.follow),
    Effect.raceFirst(relay.seek)
  )
})

/** How often the event loop looks at the sockets until an element that was in one of them has reached the relay. */
const hops = 8

/** Waits for turns of the event loop, each of which looks at every socket. */
const turns: Effect.Effect<void> = Effect.callback<void>((resume) => {
  let left = hops
  const turn = (): void => {
    if (left-- > 0) setImmediate(turn)
    else resume(Effect.void)
  }
  turn()
})

interface Relay {
  /** The feed delivered elements. Waits until there is room for more. */
  readonly receive: (events: ReadonlyArray<MeshEvent>) => Effect.Effect<void>
  /**
   * Handles what was received: a holder appends it. In a fiber of its own, so that the feed
   * is read while an append is in progress: otherwise a relay that keeps up could not be
   * distinguished from one that does not.
   */
  readonly handle: Effect.Effect<never, LogError>
  /** Follows the log while the relay is a standby, and looks whether it is aligned. */
  readonly follow: Effect.Effect<never, LogError>
  /** Repeatedly waits for the lease. */
  readonly seek: Effect.Effect<never, LogError>
  /** The feed ended: writes what is left, if the relay holds the lease. */
  readonly finish: Effect.Effect<void, LogError>
}

const make = Effect.fnUntraced(function* (log: Log, settings: Settings): Effect.fn.Return<Relay, LogError> {
  const clock = yield* Clock.Clock
  const monotonic = () => Number(clock.monotonicTimeNanosUnsafe()) / 1e6
  const wall = () => clock.currentTimeMillisUnsafe()
  const lock = Semaphore.makeUnsafe(1)
  const start = yield* persist(readState(log))
  let { cursor, state: logState } = start
  /** Open while the feed is confirmed. */
  const confirmed = Latch.makeUnsafe(false)
  /** Open while the feed is not connected. */
  const disconnected = Latch.makeUnsafe(true)
  /** Open while the relay is a standby. */
  const waiting = Latch.makeUnsafe(true)
  /** Open while the relay holds the lease. */
  const holding = Latch.makeUnsafe(false)

  const makeStandby = (): Standby =>
    new Standby(
      {
        feedLag: settings.skew + lateMillis,
        capacity: settings.capacity,
        isLogOpen: logState.isOpen
      },
      monotonic()
    )

  const lateness = new Lateness(monotonic())
  let confirmedAt = Number.POSITIVE_INFINITY
  /** When this relay, as the holder, had appended everything that its feed had delivered. */
  let writtenAt: number | undefined
  /** When the feed of the holder had delivered what the log certainly has. */
  let completeAt: number | undefined

  /** Everything that the feed has delivered is in the log, if this relay holds the lease and is not late. */
  const noteWritten = (time: number): void => {
    if (current.role === "holder" && current.pending.length === 0) writtenAt = time
  }

  const feedIsLate = (): void => {
    if (current.role === "standby") current.standby.feedIsLate(monotonic())
  }

  let current: Holder | Waiting = { role: "standby", standby: makeStandby(), unwritten: undefined, echoed: 0 }

  const publish = Effect.suspend(() => {
    if (settings.status === undefined) return Effect.void
    const status: Status = {
      role: current.role,
      term: current.role === "holder" ? current.lease.term : 0,
      isConnected: confirmed.isOpen(),
      isAligned: current.role === "holder" || current.standby.isAligned
    }
    const { isAligned, isConnected, role, term } = SubscriptionRef.getUnsafe(settings.status)
    const isSame =
      isAligned === status.isAligned &&
      isConnected === status.isConnected &&
      role === status.role &&
      term === status.term
    return isSame ? Effect.void : SubscriptionRef.set(settings.status, status)
  })

  /** The holder becomes a standby. Unwritten events stay, in case it has the next term. */
  const stepDown = (holder: Holder): Waiting => {
    const standby = makeStandby()
    const events: Array<MeshEvent> = []
    if (!disconnected.isOpen()) events.push({ _tag: "Connected", epoch: 0, at: wall() })
    if (confirmed.isOpen()) events.push({ _tag: "Resync", epoch: 0, reason: { _tag: "Started" } })
    standby.offerFeed(events, monotonic())
    const { lease, pending, writer } = holder
    standby.remember(
      pending.map(({ event }) => event),
      monotonic()
    )
    if (lateness.isLate) standby.feedIsLate(monotonic())
    const next: Waiting = { role: "standby", standby, unwritten: { term: lease.term, writer, pending }, echoed: 0 }
    current = next
    holding.closeUnsafe()
    waiting.openUnsafe()
    return next
  }

  /** Appends the pending events. The holder becomes a standby if it has lost the lease. */
  const flush = Effect.fnUntraced(function* (holder: Holder) {
    const { lease, pending } = holder
    while (pending.length > 0) {
      if (!(yield* lease.isHeld)) return stepDown(holder)
      const batch = pending.slice(0, batchSize)
      const result = yield* log.append(batch, { lease }).pipe(
        // After a longer time the lease may have been lost.
        Effect.timeoutOption(settings.timeToLive),
        Effect.result
      )
      if (result._tag === "Failure") {
        if (result.failure.reason._tag === "Fenced") return stepDown(holder)
        if (!result.failure.isRetryable) return yield* result.failure
        yield* Effect.logDebug(`The relay could not append: ${result.failure.message}`)
        yield* Effect.sleep(retryMillis)
      } else if (result.success._tag === "Some") {
        pending.splice(0, batch.length)
        cursor = Math.max(cursor, result.success.value)
        for (const { event } of batch) logState = Writer.after(logState, event, wall())
      }
    }
    return holder
  })

  const note = (event: MeshEvent): void => {
    if (event._tag === "Disconnected") {
      confirmed.closeUnsafe()
      disconnected.openUnsafe()
    } else {
      disconnected.closeUnsafe()
      if (isConfirmation(event)) {
        if (!confirmed.isOpen()) confirmedAt = monotonic()
        confirmed.openUnsafe()
      }
    }
  }

  const offerWaiting = ({ standby, ...rest }: Waiting, events: ReadonlyArray<MeshEvent>): void => {
    standby.offerFeed(events, monotonic())
    rest.unwritten?.pending.push(...events.map(rest.unwritten.writer.toNew))
  }

  /** Handles the elements up to the end of the connection, or all. Returns the rest. */
  const take = Effect.fnUntraced(function* (events: ReadonlyArray<MeshEvent>) {
    const end = events.findIndex(({ _tag }) => _tag === "Disconnected")
    const head = end < 0 ? events : events.slice(0, end)
    for (const event of head) note(event)
    if (current.role === "holder") {
      current.pending.push(...head.map(current.writer.toNew))
      yield* flush(current)
    } else {
      offerWaiting(current, head)
    }
    const last = events[end]
    if (last === undefined) return []
    note(last)
    if (current.role === "holder") {
      const { lease } = current
      const next = stepDown(current)
      next.unwritten?.pending.push(next.unwritten.writer.toNew(last))
      yield* lease.release
    } else {
      offerWaiting(current, [last])
    }
    return events.slice(end + 1)
  })

  const isFull = (): boolean =>
    current.role === "standby" &&
    (current.standby.isFull || (current.unwritten?.pending.length ?? 0) >= settings.capacity)

  /** What the feed delivered and was not handled yet. */
  let received: Array<MeshEvent> = []
  let isHandling = false
  /** Whether everything that was received has been handled. */
  const isIdle = (): boolean => !isHandling && received.length === 0
  /** Open while something was received. */
  const filled = Latch.makeUnsafe(false)
  /** Open while there is room for more. */
  const room = Latch.makeUnsafe(true)

  const receive: Relay["receive"] = Effect.fnUntraced(function* (events) {
    const arrivedAt = monotonic()
    lateness.arrived(arrivedAt)
    for (const event of events) received.push(event)
    filled.openUnsafe()
    if (received.length >= settings.capacity) {
      room.closeUnsafe()
      yield* room.await
    }
    if (lateness.ready(arrivedAt, monotonic())) feedIsLate()
  })

  const handleReceived = Effect.gen(function* () {
    const { currentAt } = lateness
    let rest: ReadonlyArray<MeshEvent> = received
    received = []
    isHandling = true
    filled.closeUnsafe()
    // Runs `receive`, which may fill it again.
    room.openUnsafe()
    while (rest.length > 0) {
      while (isFull()) yield* Effect.raceFirst(holding.await, Effect.sleep(retryMillis))
      // What was taken is written, also if the relay is interrupted.
      rest = yield* Effect.uninterruptible(lock.withPermit(Effect.suspend(() => take(rest))))
      yield* publish
    }
    isHandling = false
    noteWritten(currentAt)
  })

  const handle: Relay["handle"] = Effect.gen(function* () {
    while (true) {
      yield* filled.await
      yield* handleReceived
    }
  })

  /** Looks whether the feed is current: the relay has read it all along, or has waited for more since it did not. */
  const tick = Effect.gen(function* () {
    yield* Effect.sleep(tickMillis)
    const now = monotonic()
    const { arrivals } = lateness
    if (lateness.tick(now)) feedIsLate()
    yield* turns
    lateness.prove(now, arrivals)
    const { currentAt, isLate } = lateness
    if (isIdle()) {
      if (!isLate && current.role === "standby" && confirmed.isOpen()) current.standby.feedIsCurrent(currentAt, now)
      noteWritten(currentAt)
    }
    yield* publish
  })

  /** Looks whether the log has been read to its end. */
  const probe = Effect.gen(function* () {
    yield* waiting.await
    yield* Effect.sleep(tickMillis)
    const time = completeAt
    if (time === undefined) return
    const { last } = yield* log.bounds
    const isRead = () => cursor >= last
    for (let looks = 0; looks < 20 && !isRead(); looks++) yield* Effect.sleep(50)
    if (isRead() && current.role === "standby") current.standby.logIsCurrent(time, monotonic())
  })

  /** An entry of the log arrived at the standby. */
  const receiveEntry = (waiting: Waiting, { at, event, position }: Entry): void => {
    if (position <= cursor) return
    cursor = position
    logState = Writer.after(logState, event, at)
    waiting.standby.offerLog(event, monotonic())
    if (waiting.unwritten === undefined) return
    // An append that seemed to fail may have been stored. Anything else is from another relay, which has taken over.
    const echo = waiting.unwritten.pending[waiting.echoed]?.event
    if (JSON.stringify(echo) === JSON.stringify(event)) waiting.echoed++
    else waiting.unwritten = undefined
  }

  const followOnce = Effect.suspend(() =>
    log.read({ from: { _tag: "After", position: cursor }, follow: true }).pipe(
      Stream.runForEachArray((entries) =>
        lock.withPermit(
          Effect.suspend(() => {
            if (current.role === "standby") for (const entry of entries) receiveEntry(current, entry)
            return publish
          })
        )
      )
    )
  )

  const followAlways: Relay["follow"] = Effect.gen(function* () {
    while (true) {
      yield* waiting.await
      yield* Effect.raceFirst(persist(followOnce), holding.await)
      yield* Effect.yieldNow
    }
  })

  const follow: Relay["follow"] = followAlways.pipe(
    Effect.raceFirst(Effect.forever(tick)),
    Effect.raceFirst(Effect.forever(Effect.ignore(probe)))
  )

  /** The better a relay knows what the log lacks, the earlier it takes a lease that is free. */
  const delay = (renewedAt: number): number => {
    if (current.role === "holder" || current.standby.isAligned) return 0
    // A feed that was confirmed while the holder lived has heard everything since, in the tasks that it knew.
    const age = renewedAt - confirmedAt
    return age >= 2 * settings.timeToLive ? 150 : age >= 0 ? 300 : 450
  }

  /** This relay acquired the lease: reads the log to its end, and appends what it lacks. */
  const takeOver = Effect.fnUntraced(function* (lease: Lease) {
    const standing = current
    if (standing.role === "holder" || !confirmed.isOpen()) return false
    // No other relay can append any more, so the end of the log is final.
    yield* log.read({ from: { _tag: "After", position: cursor } }).pipe(
      Stream.runForEachArray((entries) =>
        Effect.sync(() => {
          for (const entry of entries) receiveEntry(standing, entry)
        })
      )
    )
    const { standby, unwritten } = standing
    let holder: Holder
    if (unwritten !== undefined && unwritten.term + 1 === lease.term) {
      holder = { role: "holder", lease, writer: unwritten.writer, pending: unwritten.pending }
    } else {
      const writer = Writer.make({ term: lease.term, relay: settings.relay, log: logState, now: wall })
      const pending = standby.takeOver(monotonic(), wall()).map(writer.toNew)
      holder = { role: "holder", lease, writer, pending }
    }
    current = holder
    // Nothing is proven of this tenure yet.
    writtenAt = completeAt = undefined
    waiting.closeUnsafe()
    holding.openUnsafe()
    yield* publish
    yield* flush(holder)
    return true
  })

  const seekOnce = Effect.scoped(
    Effect.gen(function* () {
      yield* confirmed.await
      const lease = yield* Effect.raceFirst(
        log.lease(settings.lease, {
          timeToLive: settings.timeToLive,
          delay,
          behind: () => (writtenAt === undefined ? undefined : monotonic() - writtenAt),
          onComplete: (time) => {
            completeAt = time
          }
        }),
        Effect.as(disconnected.await, undefined)
      )
      if (lease === undefined) return
      const isHolder = yield* lock.withPermit(takeOver(lease))
      yield* publish
      if (!isHolder) return
      yield* lease.awaitLost
      yield* lock.withPermit(
        Effect.sync(() => {
          if (current.role === "holder" && current.lease === lease) stepDown(current)
        })
      )
      yield* publish
    })
  )

  /** Appends the end of the feed's connection, if no other relay has taken the lease within a second. */
  const writeEnd = Effect.scoped(
    Effect.gen(function* () {
      if (current.role === "holder" || current.unwritten === undefined || confirmed.isOpen()) return
      const isConfirmed = yield* Effect.raceFirst(
        Effect.as(Effect.sleep(handOverMillis), false),
        Effect.as(confirmed.await, true)
      )
      if (isConfirmed) return
      const lease = yield* Effect.timeoutOption(
        log.lease(settings.lease, { timeToLive: settings.timeToLive }),
        handOverMillis / 2
      )
      if (lease._tag === "None") return
      yield* lock.withPermit(
        Effect.gen(function* () {
          if (current.role === "holder") return
          const { unwritten } = current
          if (unwritten === undefined || unwritten.term + 1 !== lease.value.term) {
            current.unwritten = undefined
            return
          }
          const { pending, writer } = unwritten
          const holder: Holder = { role: "holder", lease: lease.value, writer, pending }
          current = holder
          const left = yield* flush(holder)
          if (left.role === "holder") stepDown(left)
        })
      )
      yield* lease.value.release
    })
  )

  const seek: Relay["seek"] = Effect.gen(function* () {
    while (true) {
      yield* persist(Effect.andThen(seekOnce, writeEnd))
      yield* Effect.yieldNow
    }
  })

  const finish: Relay["finish"] = Effect.gen(function* () {
    while (!isIdle()) yield* Effect.sleep(1)
    yield* lock.withPermit(
      Effect.suspend(() => (current.role === "holder" ? Effect.asVoid(flush(current)) : Effect.void))
    )
  })

  return { receive, handle, follow, seek, finish }
})
