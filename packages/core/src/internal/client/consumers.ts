/**
 * The consumers of a shared connection: who gets which event, what happens when
 * one cannot keep up, and how each of them ends.
 *
 * Invariants: an event is offered to the queues of its consumers before the next
 * one is; a consumer without room holds the batch up until it has room, has
 * ended or has left, whichever comes first, and nothing but the batch waits for
 * it; when a batch leaves one that may not lose anything `readAhead` events
 * behind, no other is asked for before it has taken them or somebody waits; a
 * consumer that has ended is offered nothing more, and learns of its end after
 * what it has queued.
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
  /** Brings a batch to its consumers, and waits while one of them has no room. */
  readonly route: (batch: NonEmptyReadonlyArray<MeshEvent>) => Effect.Effect<void>
  /** The connection that everybody depends on is gone. */
  readonly disconnected: () => void
  readonly endAll: (end: Consumer.End) => void
}

/**
 * How many events are decoded ahead for a consumer that may not lose any while nobody waits: to read further would hurry
 * nobody, and what waits decoded is more than it was as bytes.
 */
const readAhead = 64

const isBehind = ({ options, size }: Consumer.Consumer): boolean => size >= readAhead && options.overflow === "suspend"

export const make = (context: Context.Context<never>): Consumers => {
  const router = Router.make<Consumer.Consumer>()
  const shared: Consumer.Shared = { epoch: 0, waiting: 0, resume: undefined }
  // The epoch whose `Connected` has been routed and whose end has not: whoever joins now has missed its beginning.
  let liveEpoch: number | undefined

  const end = (consumer: Consumer.Consumer, how: Consumer.End): void => {
    consumer.ended ??= how
    consumer.wake()
    consumer.giveRoom()
  }

  /** Offers an event to a consumer. Gives `true` when there is no room and the event must be offered again. */
  const offer = (consumer: Consumer.Consumer, event: MeshEvent, due: Array<Consumer.Consumer>): boolean => {
    if (consumer.ended !== undefined) return false
    if (consumer.isWanted?.(event) !== false) {
      switch (consumer.offer(event)) {
        case "full":
          return true
        case "overflow": {
          const { capacity } = consumer.options
          end(consumer, Effect.fail(new MeshError.MeshError({ reason: new MeshError.ConsumerOverflow({ capacity }) })))
          return false
        }
        case "accepted":
          if (!consumer.isDue) {
            consumer.isDue = true
            due.push(consumer)
          }
      }
    }
    if (event._tag === "TaskUpdated") consumer.onUpdate?.(event)
    return false
  }

  /** Wakes the consumers that have got something. Gives one that is behind all the same, if there is one that may not lose anything. */
  const wakeAll = (due: Array<Consumer.Consumer>): Consumer.Consumer | undefined => {
    if (due.length === 0) return undefined
    let behind: Consumer.Consumer | undefined
    let depth = 0
    for (const consumer of due) {
      const { lost, size } = consumer
      if (size > depth) depth = size
      if (lost > consumer.lostRecorded) {
        MeshMetrics.eventsDropped.updateUnsafe(lost - consumer.lostRecorded, context)
        MeshMetrics.recordGap("Overflow", context)
        consumer.lostRecorded = lost
      }
      consumer.isDue = false
      consumer.wake()
      if (isBehind(consumer)) behind = consumer
    }
    MeshMetrics.queueDepth.updateUnsafe(depth, context)
    due.length = 0
    return behind
  }

  /** Waits until it is worth another look whether the router may go on: a consumer has taken what it had, or another waits. */
  const awaitConsumer = (consumer: Consumer.Consumer, mayGoOn: () => boolean): Effect.Effect<void> =>
    Effect.callback<void>((resume) => {
      // It may be so by now: the scheduler can cut in before this is run.
      if (mayGoOn() || consumer.ended !== undefined || !router.everybody.has(consumer)) return resume(Effect.void)
      // Not a closure of its own: V8 puts one that is stored in an object into old space at once, where it keeps what it
      // refers to through many collections. One that is left here by an interruption does nothing.
      consumer.room = shared.resume = resume
    })

  const route = (batch: NonEmptyReadonlyArray<MeshEvent>): Effect.Effect<void> => {
    const due: Array<Consumer.Consumer> = []
    let event: MeshEvent = batch[0]
    let full: Array<Consumer.Consumer> | undefined
    const visit = (consumer: Consumer.Consumer): void => {
      if (offer(consumer, event, due)) (full ??= []).push(consumer)
    }
    // Everything that can be done without waiting is done in one go; only a consumer without room makes an effect.
    const from = (start: number): Effect.Effect<void> => {
      for (let i = start; i < batch.length; i++) {
        event = batch[i]
        if (event._tag === "Connected") liveEpoch = shared.epoch = event.epoch
        else if (event._tag === "Disconnected") liveEpoch = undefined
        router.visit(event, visit)
        const again = full
        if (again !== undefined) {
          full = undefined
          wakeAll(due)
          return Effect.flatMap(offerAgain(again, event), () => from(i + 1))
        }
      }
      const behind = wakeAll(due)
      return behind === undefined || shared.waiting > 0
        ? Effect.void
        : awaitConsumer(behind, () => shared.waiting > 0 || !isBehind(behind))
    }
    const offerAgain = (full: ReadonlyArray<Consumer.Consumer>, event: MeshEvent): Effect.Effect<void> =>
      Effect.forEach(
        full,
        (consumer) => {
          const again: Effect.Effect<void> = Effect.flatMap(
            awaitConsumer(consumer, () => consumer.size < consumer.options.capacity),
            () => (router.everybody.has(consumer) && offer(consumer, event, due) ? again : Effect.void)
          )
          return again
        },
        { discard: true }
      )
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
      consumer.giveRoom()
    },
    addOutput: router.addOutput,
    removeOutput: router.removeOutput,
    route,
    disconnected() {
      liveEpoch = undefined
    },
    endAll(how) {
      for (const consumer of router.everybody) end(consumer, how)
    }
  }
}
