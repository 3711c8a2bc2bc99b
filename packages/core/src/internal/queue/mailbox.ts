/**
 * A bounded queue between one fiber that offers and one that pulls. It adds waiting at
 * both ends to a queue without waiting (`shedQueue`, or `boundedQueue` here).
 *
 * The offering side makes plain calls, so that a batch needs no Effect for each
 * element. It waits for `room` only when there is no room. It must call `wake` after a
 * batch, and always before it waits, because only a woken consumer makes room.
 *
 * The pulling side is a `Pull`. It may be interrupted and run again without a
 * loss.
 */
import { isReadonlyArrayNonEmpty, type NonEmptyReadonlyArray } from "effect/Array"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import type * as Pull from "effect/Pull"
import type * as Scope from "effect/Scope"

/** A bounded queue without waiting. */
export interface Core<In, Out> {
  readonly capacity: number
  readonly size: number
  /** Queues the element. Returns `false` and changes nothing if there is no room. */
  readonly offer: (element: In) => boolean
  readonly takeAll: () => Array<Out>
}

/** A queue without waiting that loses nothing. */
export const boundedQueue = <A>(capacity: number): Core<A, A> => {
  let held: Array<A> = []
  return {
    capacity,
    get size() {
      return held.length
    },
    offer(element) {
      if (held.length >= capacity) return false
      held.push(element)
      return true
    },
    takeAll() {
      const taken = held
      held = []
      return taken
    }
  }
}

export interface Mailbox<In, Out, E> {
  /** Queues the element. Returns `false` if there is no room. A mailbox that has ended or was left accepts and drops everything. */
  readonly offer: (element: In) => boolean
  /** Whether the consumer waits and nothing is queued. */
  readonly isIdle: () => boolean
  /** Passes a batch to an idle consumer, without the queue. */
  readonly pass: (batch: NonEmptyReadonlyArray<In & Out>) => void
  /** Wakes a waiting consumer, if the queue is not empty. */
  readonly wake: () => void
  /** Whether an offer may be made now: there is room, or the consumer already had a chance to pull. */
  readonly isReady: () => boolean
  /** Lets a runnable consumer pull before events are dropped. */
  readonly giveWay: Effect.Effect<void>
  /** Waits until an offer that found no room may find some. */
  readonly room: Effect.Effect<void>
  /** Ends the mailbox. The consumer pulls what is queued, and then this. */
  readonly end: (cause: Cause.Cause<E | Cause.Done>) => void
  /** The consumer will not pull again: drops what is queued, and what is offered from now on. */
  readonly leave: () => void
  readonly pull: Pull.Pull<NonEmptyReadonlyArray<Out>, E>
}

export const make = <In, Out, E = never>(
  core: Core<In, Out>,
  /** Called with elements that bypass the queue. */
  observe: (elements: ReadonlyArray<In>) => void = () => {}
): Mailbox<In, Out, E> => {
  let passed: NonEmptyReadonlyArray<Out> | undefined
  let ended: Cause.Cause<E | Cause.Done> | undefined
  let isWaiting = false
  let isBlocked = false
  let gaveWay = false
  const items = Latch.makeUnsafe(false)
  const space = Latch.makeUnsafe(false)

  const room = Effect.suspend(() => {
    if (ended !== undefined || core.size < core.capacity) return Effect.void
    isBlocked = true
    space.closeUnsafe()
    return space.await
  })

  const unblock = (): void => {
    isBlocked = false
    space.openUnsafe()
  }

  const pull: Mailbox<In, Out, E>["pull"] = Effect.withFiber((fiber) => {
    isWaiting = false
    if (passed !== undefined) {
      const batch = passed
      passed = undefined
      return Effect.succeed(batch)
    }
    if (core.size > 0) {
      gaveWay = false
      // In a separate task, because opening a latch runs the waiting fiber at once. So the consumer receives this batch
      // before the other side fills the queue again.
      if (isBlocked) fiber.currentDispatcher.scheduleTask(unblock, 0)
      const taken = core.takeAll()
      return isReadonlyArrayNonEmpty(taken) ? Effect.succeed(taken) : pull
    }
    if (ended !== undefined) return Effect.failCause(ended)
    isWaiting = true
    items.closeUnsafe()
    return Effect.flatMap(items.await, () => pull)
  })

  return {
    offer: (element) => ended !== undefined || core.offer(element),
    isIdle: () => isWaiting && passed === undefined && core.size === 0,
    pass(batch) {
      if (ended !== undefined) return
      observe(batch)
      passed = batch
      items.openUnsafe()
    },
    wake() {
      if (isWaiting && core.size > 0) items.openUnsafe()
    },
    isReady: () => gaveWay || core.size < core.capacity,
    giveWay: Effect.suspend(() => {
      // A woken consumer may already have made room.
      if (core.size < core.capacity) return Effect.void
      gaveWay = true
      return Effect.yieldNow
    }),
    room,
    end(cause) {
      if (ended !== undefined) return
      ended = cause
      unblock()
      items.openUnsafe()
    },
    leave() {
      ended ??= Cause.fail(Cause.Done())
      passed = undefined
      core.takeAll()
      unblock()
    },
    pull
  }
}

/**
 * Forks a fiber in the scope that moves the elements of `upstream` into a queue,
 * and returns the pull that takes them out. The fiber runs ahead of the consumer
 * until the queue is full.
 *
 * A consumer that waits receives the batch as it arrived, without the queue, so a
 * consumer that keeps up loses nothing.
 */
export const relay = <A extends Out, Out, E>(
  upstream: Pull.Pull<NonEmptyReadonlyArray<A>, E>,
  scope: Scope.Scope,
  core: Core<A, Out>,
  observe?: (elements: ReadonlyArray<A>) => void
): Effect.Effect<Pull.Pull<NonEmptyReadonlyArray<Out>, E>> => {
  const box = make<A, Out, E>(core, observe)

  const put = (batch: NonEmptyReadonlyArray<A>, from: number): Effect.Effect<void> => {
    if (box.isIdle()) {
      const rest = from === 0 ? batch : batch.slice(from)
      if (isReadonlyArrayNonEmpty(rest)) box.pass(rest)
      return Effect.void
    }
    for (let i = from; i < batch.length; i++) {
      if (!box.isReady()) {
        box.wake()
        return Effect.flatMap(box.giveWay, () => put(batch, i))
      }
      // `i` is within bounds, but the type does not say so.
      if (!box.offer(batch[i] as A)) {
        box.wake()
        return Effect.flatMap(box.room, () => put(batch, i))
      }
    }
    box.wake()
    return Effect.void
  }

  return upstream.pipe(
    Effect.flatMap((batch) => put(batch, 0)),
    Effect.forever({ disableYield: true }),
    Effect.onExit((exit) => Effect.sync(() => exit._tag === "Failure" && box.end(exit.cause))),
    Effect.forkIn(scope),
    Effect.as(box.pull)
  )
}
