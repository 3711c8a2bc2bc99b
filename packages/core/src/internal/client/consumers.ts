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
 * 3. When a lossless consumer is `readAhead` events behind after a batch, the next
 *    batch is read only after that consumer has taken its events, or when another
 *    consumer waits for events.
 * 4. A consumer that has ended receives no more events, and sees its end after
 *    its queued events.
 * 5. No live collection is iterated while consumers are woken: a woken fiber runs
 *    at once, and may leave, join again or end others.
 * 6. Each consumer gets one mark that opens its complete stretch on a connection:
 *    the replay mark or a `JoinedLate` (see `openings`), at its exact place.
 * 7. A mark of an extension is about a source behind the connection (see `relay`). It
 *    is offered to the consumers whose stretch is open. A consumer that joins while that
 *    source is disconnected receives its `Disconnected`, and the next mark of the source.
 */
import type { NonEmptyReadonlyArray } from "effect/Array"
import * as Cause from "effect/Cause"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as MeshError from "../../MeshError.ts"
import * as Interest from "../../Interest.ts"
import type { Disconnected, MeshEvent, Restated, Resync, ResyncReasonTag } from "../../MeshEvent.ts"
import * as MeshMetrics from "../../MeshMetrics.ts"
import type { TaskOutput, TaskUpdated } from "../../ServerMessage.ts"
import type { TaskSnapshot } from "../../Repair.ts"
import type { Repaired } from "../repair/port.ts"
import type { Extension } from "../session/extension.ts"
import type { Subscriptions } from "../session/subscriptions.ts"
import type { MayBeWanted } from "../wire/decodeText.ts"
import { resync } from "../resync.ts"
import * as Consumer from "./consumer.ts"
import * as Demand from "./demand.ts"
import * as Discoveries from "./discoveries.ts"
import * as Openings from "./openings.ts"
import * as Router from "./router.ts"
import type { Sweep } from "./timers.ts"

/** What the connection loop yields. */
export type Element = MeshEvent | Openings.Confirmed

export interface Consumers {
  /** Adds a consumer, and requests its keys. */
  readonly join: (options: Consumer.Options) => Consumer.Consumer
  readonly leave: (consumer: Consumer.Consumer) => void
  /** Offers a batch to its consumers, and waits while one of them has no room. */
  readonly route: (batch: NonEmptyReadonlyArray<Element>) => Effect.Effect<void>
  /** Whether a message must be decoded. */
  readonly mayBeWanted: MayBeWanted
  /** The replay of a connection was requested. */
  readonly replayed: () => void
  /** The connection loop has ended. None of its events are routed any more. */
  readonly disconnected: () => void
  /**
   * Removes all consumers, and returns a function that ends them. Consumers that
   * join in between are not ended.
   */
  readonly removeAll: () => (end: Consumer.End) => void
  /** Returns an extension whose lifecycle elements are routed as those of a source behind the connection. */
  readonly relay: (extension: Extension) => Extension
  /** Sets where a consumer learns what a repair knows. */
  readonly repaired: (inform: Inform | undefined) => void
  /** A repair has fetched a snapshot. */
  readonly reported: (snapshot: ReadonlyArray<TaskSnapshot>) => void
  readonly sweeps: ReadonlyArray<Sweep>
}

type Inform = Repaired<never, never>["inform"]

export interface Options {
  readonly context: Context.Context<never>
  readonly subscriptions: Subscriptions
  readonly now: () => number
  /** See `timers`. */
  readonly wakeAt: (time: number) => void
  /** How long a subscription stays active without consumers. */
  readonly idleMillis: number
  /** How long a consumer may block the others before a warning. `Infinity` for no warnings. */
  readonly stallMillis: number
}

/**
 * How many events are decoded ahead for a lossless consumer while no other consumer waits. Decoding more would not be
 * faster, and a decoded event takes more memory than its bytes in the socket.
 */
const readAhead = 64

const isBehind = ({ options, size }: Consumer.Consumer): boolean => size >= readAhead && options.overflow === "suspend"

/** An event that found no room in the queue of its consumer. */
interface Delivery {
  readonly consumer: Consumer.Consumer
  readonly event: MeshEvent
  /** When the client warns about it. `Infinity` afterwards. */
  warnAt: number
}

export const make = (options: Options): Consumers => {
  const { context, now, stallMillis, subscriptions, wakeAt } = options
  const consumers = new Set<Consumer.Consumer>()
  const untargeted = new Set<Consumer.Consumer>()
  const router = Router.make<Consumer.Consumer>()
  const openings = Openings.make(subscriptions, router)
  const demand = Demand.make({
    ...options,
    onRetain(key) {
      if (key.kind === "all" && !key.wanted) discoveries.resumed()
      openings.retained(key)
    },
    onGiveUp(key) {
      if (key.kind === "all") openings.covered(subscriptions.keys(Interest.updates(router.tasks())))
    }
  })
  const discoveries = Discoveries.make<Consumer.Consumer>({
    ...options,
    onFound: (taskId) => demand.retain(Interest.output(taskId)),
    onGone(consumer, taskId) {
      router.remove(consumer, Interest.output(taskId))
      demand.release(Interest.output(taskId))
    }
  })
  const shared: Consumer.Shared = { epoch: 0, waiting: 0, resume: undefined }
  /** Whether a `Connected` was routed and its end was not. A consumer that joins now has missed its beginning. */
  let isLive = false
  /** The newest `Disconnected`, while the loop or the source behind the connection is offline. */
  let offline: Disconnected | undefined
  /** The elements of an extension, which are about a source behind the connection. */
  const relayed = new WeakSet<object>()
  /** The consumers that have received events and were not woken for them. Empty whenever the router waits. */
  const due: Array<Consumer.Consumer> = []
  let informOf: Inform | undefined
  /** The events that found no room. */
  let blocked: Array<Delivery> = []
  /** The events for which the router waits. */
  let waitingFor: ReadonlyArray<Delivery> = []

  const interestOf = (consumer: Consumer.Consumer): Interest.Interest => {
    const tasks = discoveries.tasksOf(consumer)
    return tasks === undefined ? consumer.options.interest : { ...Interest.output(tasks), all: true }
  }

  const setDue = (consumer: Consumer.Consumer): void => {
    if (consumer.isDue) return
    consumer.isDue = true
    due.push(consumer)
  }

  /** Offers an event to a consumer. Returns `false` if it has no room, and the event must be offered again. */
  const offer = (consumer: Consumer.Consumer, event: MeshEvent): boolean => {
    if (consumer.ended !== undefined) return true
    if (consumer.isWanted?.(event) !== false) {
      if (!consumer.offer(event)) {
        const { capacity, overflow } = consumer.options
        if (overflow !== "fail") return false
        // Woken later with the others: waking it here would iterate the router's live tables.
        consumer.ended = Effect.fail(new MeshError.MeshError({ reason: new MeshError.ConsumerOverflow({ capacity }) }))
      }
      setDue(consumer)
    }
    return true
  }

  /** Lets a consumer receive what the repair knows, behind the events in its queue, when it is woken next. */
  const inform = (consumer: Consumer.Consumer, reason?: ResyncReasonTag, unconfirmed = 0): void => {
    const known = informOf
    if (known === undefined) return
    const { epoch } = shared
    consumer.isInformed = true
    consumer.inform = () => known(consumer.options.interest, { epoch, reason, unconfirmed })
    setDue(consumer)
  }

  const recordLost = (consumer: Consumer.Consumer): void => {
    const { lost, recorded } = consumer
    if (lost === recorded) return
    MeshMetrics.eventsDropped.updateUnsafe(lost - recorded, context)
    MeshMetrics.recordGap("Overflow", context)
    consumer.recorded = lost
    inform(consumer, "Overflow")
  }

  /** Wakes the consumers with new events. Returns a lossless consumer that is still behind, if there is one. */
  const wakeAll = (): Consumer.Consumer | undefined => {
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

  /** Runs a wait for a consumer. Meanwhile nothing is read, so silence means nothing. */
  const whileNotReading = (wait: Effect.Effect<void>): Effect.Effect<void> => {
    discoveries.pause()
    return Effect.ensuring(wait, Effect.sync(discoveries.resume))
  }

  /** Waits until a consumer has taken its events, or another one waits. */
  const awaitProgress = (behind: Consumer.Consumer): Effect.Effect<void> =>
    Effect.callback<void>((resume) => {
      // The scheduler can yield before this runs.
      if (shared.waiting > 0 || !isBehind(behind) || behind.ended !== undefined) return resume(Effect.void)
      // No separate closure: V8 moves a closure that is stored in an object to old space at once, where it retains what
      // it refers to for many collections. An obsolete `resume`, after an interruption, has no effect.
      behind.room = shared.resume = resume
    })

  /** Waits until at least one of the consumers has room, has ended or has left. */
  const awaitRoom = Effect.callback<void>((resume) => {
    for (const { consumer } of waitingFor) {
      if (consumer.size < consumer.options.capacity || consumer.ended !== undefined) return resume(Effect.void)
    }
    for (const { consumer } of waitingFor) consumer.room = resume
  })

  /** Offers events that found no room again, until each consumer has received its own, has ended or has left. */
  const offerAgain = (deliveries: ReadonlyArray<Delivery>): Effect.Effect<void> => {
    waitingFor = deliveries
    return deliveries.length === 0
      ? Effect.void
      : Effect.flatMap(whileNotReading(awaitRoom), () => {
          const still = deliveries.filter(({ consumer, event }) => !offer(consumer, event))
          // Includes consumers that have just received the event: a blocked consumer may depend on them.
          wakeAll()
          return offerAgain(still)
        })
  }

  /** Logs a warning that names the consumers that have blocked the others for too long, once for each stall. */
  const warnOfStalls: Sweep = (time) => {
    const names: Array<string> = []
    for (const delivery of waitingFor) {
      if (delivery.warnAt > time) {
        wakeAt(delivery.warnAt)
      } else {
        delivery.warnAt = Infinity
        // A single consumer blocks only itself.
        if (consumers.size > 1) names.push(delivery.consumer.options.name)
      }
    }
    if (names.length === 0) return
    MeshMetrics.consumerStalls.updateUnsafe(names.length, context)
    return Effect.logWarning(
      `The full queue of a consumer has blocked all others for ${stallMillis} ms: read faster, or choose another \`overflow\``
    ).pipe(Effect.annotateLogs({ consumers: names.join(", ") }))
  }

  const deliver = (consumer: Consumer.Consumer, event: MeshEvent): void => {
    if (offer(consumer, event)) return
    const warnAt = now() + stallMillis
    wakeAt(warnAt)
    blocked.push({ consumer, event, warnAt })
  }

  // Not a closure for each event.
  let event: MeshEvent
  const deliverEvent = (consumer: Consumer.Consumer): void => deliver(consumer, event)

  const disconnected = (): void => {
    isLive = false
    offline = undefined
    openings.disconnected()
    discoveries.disconnected()
  }

  const deliverJoinedLate = (unconfirmed: number, consumer: Consumer.Consumer): void => {
    MeshMetrics.recordGap("JoinedLate", context)
    deliver(consumer, resync(shared.epoch, { _tag: "JoinedLate" }, unconfirmed))
    inform(consumer, "JoinedLate", unconfirmed)
  }

  const unconfirmedOf = (interest: Interest.Interest): number => {
    let unconfirmed = 0
    for (const key of subscriptions.keys(interest)) if (!openings.isConfirmed(key)) unconfirmed++
    return unconfirmed
  }

  /** Offers the replay mark to its consumers, with the number of their own keys that are unconfirmed. */
  const offerReplayMark = (mark: Resync): void => {
    for (const consumer of consumers) {
      if (!openings.takeReplay(consumer)) continue
      // Before `Started`, there was nothing to know.
      if (!consumer.isInformed && mark.reason._tag !== "Started") inform(consumer)
      consumer.isInformed = true
      deliver(
        consumer,
        mark.unconfirmed === undefined ? mark : resync(mark.epoch, mark.reason, unconfirmedOf(interestOf(consumer)))
      )
    }
  }

  /** Offers a mark to those of its consumers for which it is. */
  const offerMark = (mark: Resync, isFor: (consumer: Consumer.Consumer) => boolean): void => {
    const visit = (consumer: Consumer.Consumer): void => {
      if (isFor(consumer)) deliver(consumer, mark)
    }
    if (mark.reason._tag === "Subscribed") router.visitKey(mark.reason.kind, mark.taskId, visit)
    else consumers.forEach(visit)
  }

  /** Offers an element to its consumers. */
  const offerElement = (element: Exclude<Element, TaskOutput>): void => {
    switch (element._tag) {
      case "Confirmed":
        return openings.opened(element.key).forEach(deliverJoinedLate)
      case "Connected":
        if (!relayed.has(element)) {
          isLive = true
          shared.epoch = element.epoch
        }
        offline = undefined
        discoveries.connected()
        break
      case "Disconnected":
        if (relayed.has(element)) discoveries.disconnected()
        else disconnected()
        offline = element
        break
      case "Resync": {
        if (relayed.has(element)) return offerMark(element, openings.isOpen)
        const reason = element.reason._tag
        const isReplay = reason === "Started" || reason === "Reconnected"
        if (!isReplay && reason !== "Subscribed") break
        if (isReplay) offerReplayMark(element)
        if (element.unconfirmed !== undefined) openings.opened(undefined).forEach(deliverJoinedLate)
        return isReplay ? undefined : offerMark(element, openings.passesMark)
      }
    }
    event = element
    if (element._tag === "TaskUpdated" || element._tag === "Restated") router.visitUpdate(element.taskId, deliverEvent)
    else if ("epoch" in element) consumers.forEach(deliverEvent)
    else untargeted.forEach(deliverEvent)
  }

  const offerOutput = (output: TaskOutput): void => {
    event = output
    router.visitKey("output", output.taskId, deliverEvent)
    discoveries.touch(output.taskId)
  }

  /** Offers the mark of a task that becomes live with an update, if its output is already confirmed. */
  const offerDiscovered = (update: TaskUpdated | Restated): void => {
    const found = discoveries.observe(update)
    if (found.length === 0) return
    const output = Interest.output(update.taskId)
    for (const consumer of found) router.add(consumer, output)
    if (unconfirmedOf(output) > 0) return
    const mark = resync(shared.epoch, { _tag: "Subscribed", kind: "output" }, 0, update.taskId)
    for (const consumer of found) deliver(consumer, mark)
  }

  const route = (batch: NonEmptyReadonlyArray<Element>): Effect.Effect<void> => {
    // Runs in one synchronous loop as long as every consumer has room. Only a consumer without room costs an effect.
    // Each element has two steps, because its consumers receive it before the mark that follows it.
    const from = (start: number): Effect.Effect<void> => {
      for (let step = start; step < 2 * batch.length; step++) {
        // The index is within bounds, but the type does not say so.
        const element = batch[step >> 1] as Element
        if (element._tag === "TaskOutput") {
          // Most events are output, which takes one step.
          offerOutput(element)
          step++
        } else if (step % 2 === 0) offerElement(element)
        else if (element._tag === "TaskUpdated" || element._tag === "Restated") offerDiscovered(element)
        if (blocked.length > 0) {
          const waited = blocked
          blocked = []
          wakeAll()
          return Effect.flatMap(offerAgain(waited), () => from(step + 1))
        }
      }
      const behind = wakeAll()
      return behind === undefined || shared.waiting > 0 ? Effect.void : whileNotReading(awaitProgress(behind))
    }
    return from(0)
  }

  return {
    join(options) {
      const { discovery } = options
      const consumer = Consumer.make(options, shared)
      // A request may be answered at once, and must not be routed to a consumer that has not joined yet.
      demand.retain(options.interest)
      if (discovery !== undefined) discoveries.join(consumer, discovery)
      const interest = interestOf(consumer)
      consumers.add(consumer)
      if (options.untargeted) untargeted.add(consumer)
      router.add(consumer, interest)
      const unconfirmed = openings.join(consumer, subscriptions.keys(interest), isLive)
      // The first element is the state of the connection.
      if (offline !== undefined) deliver(consumer, offline)
      else if (unconfirmed !== undefined) deliverJoinedLate(unconfirmed, consumer)
      return consumer
    },
    leave(consumer) {
      const interest = interestOf(consumer)
      consumers.delete(consumer)
      untargeted.delete(consumer)
      router.remove(consumer, interest)
      demand.release(interest)
      discoveries.leave(consumer)
      openings.leave(consumer)
      consumer.end(Cause.done())
    },
    route,
    // Output of a task without a key has no consumer: a consumer that joins before it is routed requests the key, and its
    // stretch opens only at the confirmation, which comes later. While there is a consumer of everything, everything is
    // decoded, because an update makes output wanted that is decoded in the same batch.
    mayBeWanted: (type, taskId) =>
      type !== "TaskOutput" || subscriptions.hasOutput(taskId) || discoveries.isFollowing(),
    replayed: () => openings.replayed(consumers),
    disconnected() {
      disconnected()
      waitingFor = []
    },
    removeAll() {
      const removed = [...consumers]
      consumers.clear()
      return (how) => {
        // Set for all before the first is woken: a woken consumer may wait for the end of another.
        for (const consumer of removed) consumer.ended ??= how
        for (const consumer of removed) consumer.end(how)
      }
    },
    relay: (extension) => ({
      decode(message, epoch, size) {
        const element = extension.decode(message, epoch, size)
        if (element !== undefined) relayed.add(element)
        return element
      }
    }),
    repaired: (inform) => void (informOf = inform),
    reported: discoveries.reported,
    sweeps: [demand.sweep, discoveries.sweep, warnOfStalls]
  }
}
