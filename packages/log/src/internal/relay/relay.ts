/**
 * The fibers of a relay: one receives the feed, one handles what was received, one follows the
 * log while the relay is a standby, and one seeks the lease (`seek.ts`). They change the state
 * (`state.ts`) under one lock.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Semaphore from "effect/Semaphore"
import * as Stream from "effect/Stream"
import type { MeshEvent } from "@makima-stream/core/MeshEvent"
import type { LogError } from "../../LogError.ts"
import type { Service } from "../../MeshLog.ts"
import { Inbox } from "./inbox.ts"
import { tickMillis } from "./lateness.ts"
import { flush, type Parts, persist, publish, readEnd, retryMillis, type Settings } from "./parts.ts"
import { seek } from "./seek.ts"
import { RelayState } from "./state.ts"

export type { Settings } from "./parts.ts"

/** Runs a relay until its feed ends, or until the log fails permanently. */
export const run = Effect.fnUntraced(function* <E, R>(
  log: Service,
  feed: Stream.Stream<MeshEvent, E, R>,
  settings: Settings
): Effect.fn.Return<void, E | LogError, R> {
  const parts = yield* make(log, settings)
  return yield* feed.pipe(
    Stream.runForEachArray((events) => receive(parts, events)),
    Effect.andThen(finish(parts)),
    Effect.raceFirst(handle(parts)),
    Effect.raceFirst(follow(parts)),
    Effect.raceFirst(seek(parts))
  )
})

const make = Effect.fnUntraced(function* (log: Service, settings: Settings): Effect.fn.Return<Parts, LogError> {
  const clock = yield* Clock.Clock
  const options = {
    ...settings,
    clock: {
      monotonic: () => Number(clock.monotonicTimeNanosUnsafe()) / 1e6,
      wall: () => clock.currentTimeMillisUnsafe()
    }
  }
  const state = new RelayState(options, yield* persist(readEnd(log)))
  return { log, settings, state, inbox: new Inbox(settings.capacity), lock: Semaphore.makeUnsafe(1) }
})

// ---------------------------------------------------------------------------
// the feed
// ---------------------------------------------------------------------------

/** The feed delivered elements. Waits until there is room for more. */
const receive = Effect.fnUntraced(function* ({ inbox, state }: Parts, events: ReadonlyArray<MeshEvent>) {
  const arrivedAt = yield* monotonicMillis
  state.lateness.arrived(arrivedAt)
  yield* inbox.offer(events)
  if (state.lateness.ready(arrivedAt, yield* monotonicMillis)) state.feedIsLate()
})

/** Handles what was received: a holder appends it, and a standby compares it with the log. */
const handle = (parts: Parts): Effect.Effect<never, LogError> => {
  const { inbox, lock, state } = parts
  const handleOnce = Effect.suspend(() =>
    inbox.handle(
      Effect.fnUntraced(function* (events) {
        const { currentAt } = state.lateness
        let rest = events
        while (rest.length > 0) {
          while (state.isFull) yield* Effect.raceFirst(state.holding.await, Effect.sleep(retryMillis))
          // What was taken is written, also if the relay is interrupted.
          rest = yield* Effect.uninterruptible(lock.withPermit(take(parts, rest)))
          yield* publish(parts)
        }
        state.handled(currentAt)
      })
    )
  )
  return Effect.forever(handleOnce, { disableYield: true })
}

/** Handles the elements up to the end of the connection, or all. Returns the rest. */
const take = Effect.fnUntraced(function* (parts: Parts, events: ReadonlyArray<MeshEvent>) {
  const { state } = parts
  const end = events.findIndex(({ _tag }) => _tag === "Disconnected")
  const head = end < 0 ? events : events.slice(0, end)
  for (const event of head) state.observe(event)
  state.offerFeed(head)
  if (state.current.role === "holder") yield* flush(parts, state.current)
  const last = events[end]
  if (last === undefined) return []
  state.observe(last)
  if (state.current.role === "holder") {
    const { lease } = state.current
    const { unwritten } = state.stepDown(state.current)
    unwritten?.pending.push(unwritten.writer.toNew(last))
    yield* lease.release
  } else {
    state.offerFeed([last])
  }
  return events.slice(end + 1)
})

/** The feed ended: writes what is left, if the relay holds the lease. */
const finish = Effect.fnUntraced(function* (parts: Parts): Effect.fn.Return<void, LogError> {
  const { inbox, lock, state } = parts
  while (!inbox.isIdle) yield* Effect.sleep(1)
  yield* lock.withPermit(
    Effect.suspend(() => (state.current.role === "holder" ? Effect.asVoid(flush(parts, state.current)) : Effect.void))
  )
})

const monotonicMillis = Clock.clockWith((clock) => Effect.sync(() => Number(clock.monotonicTimeNanosUnsafe()) / 1e6))

// ---------------------------------------------------------------------------
// the log
// ---------------------------------------------------------------------------

/** Follows the log while the relay is a standby, and checks whether feed and log are current. */
const follow = (parts: Parts): Effect.Effect<never, LogError> => {
  const { state } = parts
  const followOnce = Effect.gen(function* () {
    yield* state.waiting.await
    yield* Effect.raceFirst(persist(readOn(parts)), state.holding.await)
  })
  return Effect.forever(followOnce).pipe(
    Effect.raceFirst(Effect.forever(checkFeed(parts))),
    Effect.raceFirst(Effect.forever(Effect.ignore(checkLog(parts))))
  )
}

/** Reads the log from the cursor on. */
const readOn = (parts: Parts): Effect.Effect<void, LogError> => {
  const { lock, log, state } = parts
  return Effect.suspend(() =>
    log.read({ from: { _tag: "After", position: state.cursor }, follow: true }).pipe(
      Stream.runForEachArray((entries) =>
        lock.withPermit(
          Effect.suspend(() => {
            const { current } = state
            if (current.role === "standby") for (const entry of entries) state.receiveEntry(current, entry)
            return publish(parts)
          })
        )
      )
    )
  )
}

/** Checks whether the feed is current: the relay has read it all along, or has waited for more since it did not. */
const checkFeed = (parts: Parts): Effect.Effect<void> =>
  Effect.gen(function* () {
    const { inbox, state } = parts
    const { lateness } = state
    yield* Effect.sleep(tickMillis)
    const now = yield* monotonicMillis
    const { arrivals } = lateness
    if (lateness.tick(now)) state.feedIsLate()
    yield* turns
    lateness.prove(now, arrivals)
    if (inbox.isIdle) state.feedIsCurrent(lateness.currentAt)
    yield* publish(parts)
  })

/** Checks whether the log has been read to its end. */
const checkLog = ({ log, state }: Parts): Effect.Effect<void, LogError> =>
  Effect.gen(function* () {
    yield* state.waiting.await
    yield* Effect.sleep(tickMillis)
    const time = state.completeAt
    if (time === undefined) return
    const { last } = yield* log.bounds
    const isRead = () => state.cursor >= last
    for (let looks = 0; looks < 20 && !isRead(); looks++) yield* Effect.sleep(50)
    if (isRead()) state.logIsCurrent(time)
  })

/** After how many turns of the event loop an element that was in a socket has reached the relay. */
const turnsToArrive = 8

/** Waits for turns of the event loop, each of which looks at every socket. */
const turns: Effect.Effect<void> = Effect.callback<void>((resume) => {
  let left = turnsToArrive
  const turn = (): void => {
    if (left-- > 0) setImmediate(turn)
    else resume(Effect.void)
  }
  turn()
})
