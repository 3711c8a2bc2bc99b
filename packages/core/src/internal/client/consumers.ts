/**
 * The consumers of a shared connection: which event each receives, what happens
 * when one is too slow, and how each of them ends.
 *
 * Invariants:
 *
 * 1. An event is offered to all of its consumers before the next event is.
 * 2. A consumer without room delays the batch until it has room, has ended or has
 *    left. Before the router waits, it wakes every consumer that has new events,
 *    and it offers the event to each consumer as soon as that one has room. So a
 *    consumer never waits for an event that is in another consumer's queue.
 * 3. When a batch leaves a lossless consumer `readAhead` events behind, the next
 *    batch is read once that consumer has taken them or another one waits.
 * 4. A consumer that has ended receives no more events, and sees its end after
 *    its queued events.
 * 5. No live collection is iterated while consumers are woken: a woken fiber runs
 *    at once, and may leave, join again or end others.
 */
import type { NonEmptyReadonlyArray } from "effect/Array"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as MeshError from "../../MeshError.ts"
import type { MeshEvent } from "../../MeshEvent.ts"
import * as MeshMetrics from "../../MeshMetrics.ts"
import type { TaskId } from "../../TaskId.ts"
import * as Consumer from "./consumer.ts"
import * as Router from "./router.ts"

export interface Consumers {
  readonly join: (options: Consumer.Options) => Consumer.Consumer
  readonly leave: (consumer: Consumer.Consumer) => void
  readonly addOutput: (consumer: Consumer.Consumer, taskId: TaskId) => void
  readonly removeOutput: (consumer: Consumer.Consumer, taskId: TaskId) => void
  /** Offers a batch to its consumers, and waits while one of them has no room. */
  readonly route: (batch: NonEmptyReadonlyArray<MeshEvent>) => Effect.Effect<void>
  /** The connection loop has ended, and nothing more of it is routed. */
  readonly disconnected: () => void
  /**
   * Removes all consumers, and returns a function that ends them. Consumers that
   * join in between are not ended.
   */
  readonly removeAll: () => (end: Consumer.End) => void
  readonly count: () => number
}

/** Where the router reports the consumers for which it waits. */
export interface StallObserver {
  readonly begin: (consumer: Consumer.Consumer) => void
  readonly end: (consumer: Consumer.Consumer) => void
  readonly clear: () => void
}

/**
 * How many events are decoded ahead for a lossless consumer while no other consumer waits. Decoding more would speed up
 * nothing, and a decoded event takes more memory than its bytes in the socket.
 */
const readAhead = 64

const isBehind = ({ options, size }: Consumer.Consumer): boolean => size >= readAhead && options.overflow === "suspend"

export const make = (context: Context.Context<never>, stalls: StallObserver): Consumers => {
  const router = Router.make<Consumer.Consumer>()
  const shared: Consumer.Shared = { epoch: 0, waiting: 0, resume: undefined }
  // The epoch whose `Connected` was routed and whose end was not: a consumer that joins now has missed its beginning.
  let liveEpoch: number | undefined

  /** Offers an event to a consumer. Returns `false` if it has no room, and the event must be offered again. */
  const offer = (consumer: Consumer.Consumer, event: MeshEvent, due: Array<Consumer.Consumer>): boolean => {
    if (consumer.ended !== undefined) return true
    if (consumer.isWanted?.(event) !== false) {
      switch (consumer.offer(event)) {
        case "full":
          return false
        case "overflow": {
          const { capacity } = consumer.options
          // It is woken with the others: waking it here would iterate the router's live tables.
          consumer.ended = Effect.fail(
            new MeshError.MeshError({ reason: new MeshError.ConsumerOverflow({ capacity }) })
          )
        }
      }
      if (!consumer.isDue) {
        consumer.isDue = true
        due.push(consumer)
      }
    }
    if (event._tag === "TaskUpdated" && consumer.ended === undefined) consumer.onUpdate?.(event)
    return true
  }

  const recordLost = (consumer: Consumer.Consumer): void => {
    const { lost, lostRecorded } = consumer
    if (lost === lostRecorded) return
    MeshMetrics.eventsDropped.updateUnsafe(lost - lostRecorded, context)
    MeshMetrics.recordGap("Overflow", context)
    consumer.lostRecorded = lost
  }

  /** Wakes the consumers with new events. Returns a lossless consumer that is still behind, if there is one. */
  const wakeAll = (due: Array<Consumer.Consumer>): Consumer.Consumer | undefined => {
    if (due.length === 0) return undefined
    let behind: Consumer.Consumer | undefined
    let depth = 0
    for (const consumer of due) {
      if (consumer.size > depth) depth = consumer.size
      recordLost(consumer)
      consumer.isDue = false
      consumer.wake()
      if (isBehind(consumer)) behind = consumer
    }
    MeshMetrics.queueDepth.updateUnsafe(depth, context)
    due.length = 0
    return behind
  }

  const isPresent = (consumer: Consumer.Consumer): boolean =>
    consumer.ended === undefined && router.consumers.has(consumer)

  /** Waits until a consumer has taken its events, or another one waits. */
  const awaitProgress = (behind: Consumer.Consumer): Effect.Effect<void> =>
    Effect.callback<void>((resume) => {
      // The scheduler can yield before this runs.
      if (shared.waiting > 0 || !isBehind(behind) || !isPresent(behind)) return resume(Effect.void)
      // Not a closure of its own: V8 puts one that is stored in an object into old space at once, where it keeps what it
      // refers to through many collections. One that an interruption leaves here has no effect.
      behind.room = shared.resume = resume
    })

  /** Waits until at least one of the consumers has room, has ended or has left. */
  const awaitRoom = (blocked: ReadonlyArray<Consumer.Consumer>): Effect.Effect<void> =>
    Effect.callback<void>((resume) => {
      for (const consumer of blocked) {
        if (consumer.size < consumer.options.capacity || !isPresent(consumer)) return resume(Effect.void)
      }
      for (const consumer of blocked) {
        consumer.room = resume
        stalls.begin(consumer)
      }
    })

  /** Offers an event again to the consumers that had no room, until each has taken it, has ended or has left. */
  const offerAgain = (
    blocked: ReadonlyArray<Consumer.Consumer>,
    event: MeshEvent,
    due: Array<Consumer.Consumer>
  ): Effect.Effect<void> => {
    const still = blocked.filter((consumer) => {
      if (isPresent(consumer) && !offer(consumer, event, due)) return true
      stalls.end(consumer)
      return false
    })
    // Also those that have just taken the event: one that is still blocked may wait for them.
    wakeAll(due)
    return still.length === 0 ? Effect.void : Effect.flatMap(awaitRoom(still), () => offerAgain(still, event, due))
  }

  const note = (event: MeshEvent): void => {
    if (event._tag === "Connected") liveEpoch = shared.epoch = event.epoch
    else if (event._tag === "Disconnected") liveEpoch = undefined
  }

  const route = (batch: NonEmptyReadonlyArray<MeshEvent>): Effect.Effect<void> => {
    const due: Array<Consumer.Consumer> = []
    let event: MeshEvent = batch[0]
    let blocked: Array<Consumer.Consumer> | undefined
    const visit = (consumer: Consumer.Consumer): void => {
      if (!offer(consumer, event, due)) (blocked ??= []).push(consumer)
    }
    // Everything that needs no wait is done in one go. Only a consumer without room costs an effect.
    const from = (start: number): Effect.Effect<void> => {
      for (let i = start; i < batch.length; i++) {
        event = batch[i]
        note(event)
        router.visit(event, visit)
        const waited = blocked
        if (waited !== undefined) {
          blocked = undefined
          wakeAll(due)
          return Effect.flatMap(awaitRoom(waited), () =>
            Effect.flatMap(offerAgain(waited, event, due), () => from(i + 1))
          )
        }
      }
      const behind = wakeAll(due)
      return behind === undefined || shared.waiting > 0 ? Effect.void : awaitProgress(behind)
    }
    return from(0)
  }

  return {
    join(options) {
      const consumer = Consumer.make(options, shared)
      if (liveEpoch !== undefined) {
        const resync: MeshEvent = { _tag: "Resync", epoch: liveEpoch, reason: { _tag: "JoinedLate" } }
        if (options.isWanted?.(resync) !== false) consumer.offer(resync)
        MeshMetrics.recordGap("JoinedLate", context)
      }
      router.add(consumer, options.route)
      return consumer
    },
    leave(consumer) {
      router.remove(consumer, consumer.options.route)
      consumer.stopWaiting()
      consumer.signalRoom()
    },
    addOutput: router.addOutput,
    removeOutput: router.removeOutput,
    route,
    disconnected() {
      liveEpoch = undefined
      stalls.clear()
    },
    removeAll() {
      const removed = [...router.consumers]
      for (const consumer of removed) router.remove(consumer, consumer.options.route)
      return (end) => {
        // All of them first: a consumer that is woken may wait for the end of another.
        for (const consumer of removed) consumer.ended ??= end
        for (const consumer of removed) {
          consumer.wake()
          consumer.signalRoom()
        }
      }
    },
    count: () => router.consumers.size
  }
}
