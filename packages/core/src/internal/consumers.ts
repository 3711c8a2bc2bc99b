/**
 * The consumers of a shared connection: who gets which event, what happens when
 * one cannot keep up, and how each of them ends.
 *
 * Invariants: an event is offered to the queues of its consumers before the next
 * one is; a consumer without room holds the batch up until it has room, has
 * ended or has left, whichever comes first, and nothing but the batch waits for
 * it; a consumer that has ended is offered nothing more, and learns of its end
 * after what it has queued.
 */
import type { NonEmptyReadonlyArray } from "effect/Array"
import type * as Cause from "effect/Cause"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as MeshError from "../MeshError.ts"
import type { MeshEvent } from "../MeshEvent.ts"
import * as MeshMetrics from "../MeshMetrics.ts"
import type { TaskUpdated } from "../ServerMessage.ts"
import type { TaskId } from "../TaskId.ts"
import * as ConsumerQueue from "./consumerQueue.ts"
import * as Router from "./router.ts"

/** How the stream of a consumer ends. */
export type End = Effect.Effect<never, MeshError.MeshError | Cause.Done>

/** What has come for a consumer. */
export type Pull = Effect.Effect<NonEmptyReadonlyArray<MeshEvent>, MeshError.MeshError | Cause.Done>

export interface Options {
  readonly route: Router.Route
  readonly overflow: ConsumerQueue.Strategy
  readonly capacity: number
  /** Told of each update that the consumer has got. */
  readonly onUpdate: ((update: TaskUpdated) => void) | undefined
}

export interface Consumer extends Options {
  readonly queue: ConsumerQueue.ConsumerQueue
  /** Set once nothing more will come. */
  ended: End | undefined
  /** How many of the queue's lost events the metrics know of. */
  lostRecorded: number
  /** Whether it has got something of the batch that it has not been woken for. */
  isDue: boolean
  /** What the consumer's pull does when it is woken. */
  readonly take: Pull
  /** Resumes the pull that waits, if one does. A pull that was interrupted meanwhile takes no notice. */
  resume: ((take: Pull) => void) | undefined
  /** Resumes the router that waits for room, if it does. */
  room: (() => void) | undefined
}

export interface Consumers {
  readonly join: (options: Options) => Consumer
  readonly leave: (consumer: Consumer) => void
  readonly addOutput: (consumer: Consumer, taskId: TaskId) => void
  readonly removeOutput: (consumer: Consumer, taskId: TaskId) => void
  /** Brings a batch to its consumers, and waits while one of them has no room. */
  readonly route: (batch: NonEmptyReadonlyArray<MeshEvent>) => Effect.Effect<void>
  /** What has come for a consumer, once something has. */
  readonly pull: (consumer: Consumer) => Pull
  /** The connection that everybody depends on is gone. */
  readonly disconnected: () => void
  readonly endAll: (end: End) => void
}

export const make = (context: Context.Context<never>): Consumers => {
  const router = Router.make<Consumer>()
  // The newest epoch, for marks; and the one whose `Connected` has been routed and whose end has not: whoever joins
  // now has missed its beginning.
  let epoch = 0
  let liveEpoch: number | undefined

  const wake = (consumer: Consumer): void => {
    const { resume } = consumer
    if (resume === undefined) return
    consumer.resume = undefined
    // The fiber runs here and now, so what it takes is what was there.
    resume(consumer.take)
  }

  const end = (consumer: Consumer, how: End): void => {
    consumer.ended ??= how
    wake(consumer)
    consumer.room?.()
  }

  /** Offers an event to a consumer. Gives `true` when there is no room and the event must be offered again. */
  const offer = (consumer: Consumer, event: MeshEvent, due: Array<Consumer>): boolean => {
    if (consumer.ended !== undefined) return false
    switch (consumer.queue.offer(event)) {
      case "accepted":
        if (!consumer.isDue) {
          consumer.isDue = true
          due.push(consumer)
        }
        if (event._tag === "TaskUpdated") consumer.onUpdate?.(event)
        return false
      case "full":
        return true
      case "overflow":
        end(
          consumer,
          Effect.fail(
            new MeshError.MeshError({ reason: new MeshError.ConsumerOverflow({ capacity: consumer.capacity }) })
          )
        )
        return false
    }
  }

  const wakeAll = (due: Array<Consumer>): void => {
    if (due.length === 0) return
    let depth = 0
    for (const consumer of due) {
      const { lost, size } = consumer.queue
      if (size > depth) depth = size
      if (lost > consumer.lostRecorded) {
        MeshMetrics.eventsDropped.updateUnsafe(lost - consumer.lostRecorded, context)
        MeshMetrics.recordGap("Overflow", context)
        consumer.lostRecorded = lost
      }
      consumer.isDue = false
      wake(consumer)
    }
    MeshMetrics.queueDepth.updateUnsafe(depth, context)
    due.length = 0
  }

  /** Waits until a consumer has room, has ended, or has left. */
  const awaitRoom = (consumer: Consumer): Effect.Effect<void> =>
    Effect.callback<void>((resume) => {
      // The consumer may have taken what it had since the offer: the scheduler can cut in between.
      const hasRoom = consumer.queue.size < consumer.capacity
      if (hasRoom || consumer.ended !== undefined || !router.everybody.has(consumer)) return resume(Effect.void)
      consumer.room = () => {
        consumer.room = undefined
        resume(Effect.void)
      }
      return Effect.sync(() => {
        consumer.room = undefined
      })
    })

  const route = (batch: NonEmptyReadonlyArray<MeshEvent>): Effect.Effect<void> => {
    const due: Array<Consumer> = []
    let event: MeshEvent = batch[0]
    let full: Array<Consumer> | undefined
    const visit = (consumer: Consumer): void => {
      if (offer(consumer, event, due)) (full ??= []).push(consumer)
    }
    // Everything that can be done without waiting is done in one go; only a consumer without room makes an effect.
    const from = (start: number): Effect.Effect<void> => {
      for (let i = start; i < batch.length; i++) {
        event = batch[i]
        if (event._tag === "Connected") liveEpoch = epoch = event.epoch
        else if (event._tag === "Disconnected") liveEpoch = undefined
        router.visit(event, visit)
        const again = full
        if (again !== undefined) {
          full = undefined
          wakeAll(due)
          return Effect.flatMap(offerAgain(again, event), () => from(i + 1))
        }
      }
      wakeAll(due)
      return Effect.void
    }
    const offerAgain = (full: ReadonlyArray<Consumer>, event: MeshEvent): Effect.Effect<void> =>
      Effect.forEach(
        full,
        (consumer) => {
          const again: Effect.Effect<void> = Effect.flatMap(awaitRoom(consumer), () =>
            router.everybody.has(consumer) && offer(consumer, event, due) ? again : Effect.void
          )
          return again
        },
        { discard: true }
      )
    return from(0)
  }

  const take = (consumer: Consumer): Pull => {
    const events = consumer.queue.takeAll()
    consumer.room?.()
    if (isNonEmpty(events)) return Effect.succeed(events)
    return consumer.ended ?? pull(consumer)
  }

  const pull = (consumer: Consumer): Pull => {
    // Nothing to undo when it is interrupted: what is left in `resume` does nothing, and the next pull replaces it.
    const wait: Pull = Effect.callback((resume) => {
      if (consumer.queue.size > 0 || consumer.ended !== undefined) resume(consumer.take)
      else consumer.resume = resume
    })
    return Effect.suspend(() => (consumer.queue.size > 0 ? consumer.take : wait))
  }

  return {
    join({ capacity, onUpdate, overflow, route }) {
      // Spelled out: what is added to a spread object lies apart from it, which is one more walk for every event.
      const consumer: Consumer = {
        route,
        overflow,
        capacity,
        onUpdate,
        queue: ConsumerQueue.make(overflow, capacity, () => epoch),
        ended: undefined,
        lostRecorded: 0,
        isDue: false,
        take: Effect.suspend(() => take(consumer)),
        resume: undefined,
        room: undefined
      }
      if (liveEpoch !== undefined) {
        consumer.queue.offer({ _tag: "Resync", epoch: liveEpoch, reason: { _tag: "JoinedLate" } })
        MeshMetrics.recordGap("JoinedLate", context)
      }
      router.add(consumer, route)
      return consumer
    },
    leave(consumer) {
      router.remove(consumer, consumer.route)
      consumer.room?.()
    },
    addOutput: router.addOutput,
    removeOutput: router.removeOutput,
    route,
    pull,
    disconnected() {
      liveEpoch = undefined
    },
    endAll(how) {
      for (const consumer of router.everybody) end(consumer, how)
    }
  }
}

const isNonEmpty = <A>(array: ReadonlyArray<A>): array is NonEmptyReadonlyArray<A> => array.length > 0
