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
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as MeshError from "../../MeshError.ts"
import * as Interest from "../../Interest.ts"
import type { Connected, Disconnected, MeshEvent, Restated, Resync, ResyncReasonTag } from "../../MeshEvent.ts"
import * as MeshMetrics from "../../MeshMetrics.ts"
import type { TaskOutput, TaskUpdated } from "../../ServerMessage.ts"
import type { TaskSnapshot } from "../../Repair.ts"
import type { Repaired } from "../repair/port.ts"
import type { Extension } from "../session/extension.ts"
import type { Key, Subscriptions } from "../session/subscriptions.ts"
import { resync } from "../resync.ts"
import * as Consumer from "./consumer.ts"
import type { Discoveries } from "./discoveries.ts"
import * as Openings from "./openings.ts"
import type { DiscoverySettings } from "./options.ts"
import * as Router from "./router.ts"

/** What the connection loop yields. */
export type Element = MeshEvent | Openings.Confirmed

export interface Consumers {
  /**
   * Adds a consumer, whose keys are retained already. With `discovery`, it also
   * receives the output of the live tasks that the client knows.
   */
  readonly join: (options: Consumer.Options, discovery?: DiscoverySettings) => Consumer.Consumer
  readonly leave: (consumer: Consumer.Consumer) => void
  /** Ends the stream of a consumer after its queued events. */
  readonly end: (consumer: Consumer.Consumer, end: Consumer.End) => void
  /** Offers a batch to its consumers, and waits while one of them has no room. */
  readonly route: (batch: NonEmptyReadonlyArray<Element>) => Effect.Effect<void>
  /** The replay of a connection was requested. */
  readonly replayed: () => void
  /** A key is about to be retained. */
  readonly retained: (key: Key) => void
  /** A key is about to be released. */
  readonly giveUp: (key: Key) => void
  /** The connection loop has ended. None of its events are routed any more. */
  readonly disconnected: () => void
  /**
   * Removes all consumers, and returns a function that ends them. Consumers that
   * join in between are not ended.
   */
  readonly removeAll: () => (end: Consumer.End) => void
  readonly count: () => number
  /** Returns an extension whose lifecycle elements are routed as those of a source behind the connection. */
  readonly relay: (extension: Extension) => Extension
  /** Sets where a consumer learns what a repair knows. */
  readonly repaired: (inform: Inform | undefined) => void
  /** A repair has fetched a snapshot. */
  readonly reported: (snapshot: ReadonlyArray<TaskSnapshot>) => void
}

type Inform = Repaired<never, never>["inform"]

export interface Options {
  readonly context: Context.Context<never>
  readonly subscriptions: Subscriptions
  readonly discoveries: Discoveries<Consumer.Consumer>
  readonly stalls: StallObserver
}

/** Receives the consumers for which the router waits. */
export interface StallObserver {
  readonly begin: (consumer: Consumer.Consumer) => void
  readonly end: (consumer: Consumer.Consumer) => void
  readonly clear: () => void
}

/**
 * How many events are decoded ahead for a lossless consumer while no other consumer waits. Decoding more would not be
 * faster, and a decoded event takes more memory than its bytes in the socket.
 */
const readAhead = 64

const isBehind = ({ options, size }: Consumer.Consumer): boolean => size >= readAhead && options.overflow === "suspend"

/** An event for one consumer. */
interface Delivery {
  readonly consumer: Consumer.Consumer
  readonly event: MeshEvent
}

export const make = ({ context, discoveries, stalls, subscriptions }: Options): Consumers => {
  const router = Router.make<Consumer.Consumer>()
  const openings = Openings.make<Consumer.Consumer>(subscriptions)
  const shared: Consumer.Shared = { epoch: 0, waiting: 0, resume: undefined }
  // The epoch whose `Connected` was routed and whose end was not. A consumer that joins now has missed its beginning.
  let liveEpoch: number | undefined
  /** The newest `Disconnected`, while the loop is offline. */
  let offline: Disconnected | undefined
  /** The elements of an extension, which are about a source behind the connection. */
  const relayed = new WeakSet<object>()
  /** The newest `Disconnected` of that source, while it is disconnected. */
  let sourceOffline: Disconnected | undefined
  /** The consumers that have received events and were not woken for them. Empty whenever the router waits. */
  const due: Array<Consumer.Consumer> = []
  let informOf: Inform | undefined
  /** The events that found no room. */
  let blocked: Array<Delivery> = []

  const end = (consumer: Consumer.Consumer, how: Consumer.End): void => {
    consumer.ended ??= how
    consumer.wake()
    consumer.signalRoom()
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
      switch (consumer.offer(event)) {
        case "full":
          return false
        case "overflow": {
          const { capacity } = consumer.options
          // Woken later with the others: waking it here would iterate the router's live tables.
          consumer.ended = Effect.fail(
            new MeshError.MeshError({ reason: new MeshError.ConsumerOverflow({ capacity }) })
          )
        }
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
    consumer.inform = () => known(consumer.options.route.interest, { epoch, reason, unconfirmed })
  }

  const recordLost = (consumer: Consumer.Consumer): void => {
    const { lost, lostRecorded } = consumer
    if (lost === lostRecorded) return
    MeshMetrics.eventsDropped.updateUnsafe(lost - lostRecorded, context)
    MeshMetrics.recordGap("Overflow", context)
    consumer.lostRecorded = lost
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

  const isPresent = (consumer: Consumer.Consumer): boolean =>
    consumer.ended === undefined && router.consumers.has(consumer)

  /** Runs a wait for a consumer. Meanwhile nothing is read, so silence means nothing. */
  const whileNotReading = (wait: Effect.Effect<void>): Effect.Effect<void> => {
    discoveries.stopReading()
    return Effect.map(wait, discoveries.startReading)
  }

  /** Waits until a consumer has taken its events, or another one waits. */
  const awaitProgress = (behind: Consumer.Consumer): Effect.Effect<void> =>
    Effect.callback<void>((resume) => {
      // The scheduler can yield before this runs.
      if (shared.waiting > 0 || !isBehind(behind) || !isPresent(behind)) return resume(Effect.void)
      // No separate closure: V8 moves a closure that is stored in an object to old space at once, where it retains what
      // it refers to for many collections. An obsolete `resume`, after an interruption, has no effect.
      behind.room = shared.resume = resume
    })

  /** Waits until at least one of the consumers has room, has ended or has left. */
  const awaitRoom = (blocked: ReadonlyArray<Delivery>): Effect.Effect<void> =>
    Effect.callback<void>((resume) => {
      for (const { consumer } of blocked) {
        if (consumer.size < consumer.options.capacity || !isPresent(consumer)) return resume(Effect.void)
      }
      for (const { consumer } of blocked) {
        consumer.room = resume
        stalls.begin(consumer)
      }
    })

  /** Offers events that found no room again, until each consumer has received its own, has ended or has left. */
  const offerAgain = (deliveries: ReadonlyArray<Delivery>): Effect.Effect<void> =>
    Effect.flatMap(whileNotReading(awaitRoom(deliveries)), () => {
      const still = deliveries.filter(({ consumer, event }) => {
        if (isPresent(consumer) && !offer(consumer, event)) return true
        stalls.end(consumer)
        return false
      })
      // Includes consumers that have just received the event: a blocked consumer may depend on them.
      wakeAll()
      return still.length === 0 ? Effect.void : offerAgain(still)
    })

  const deliver = (consumer: Consumer.Consumer, event: MeshEvent): void => {
    if (!offer(consumer, event)) blocked.push({ consumer, event })
  }

  // Not a closure for each event.
  let event: MeshEvent
  const deliverEvent = (consumer: Consumer.Consumer): void => deliver(consumer, event)

  const disconnected = (): void => {
    liveEpoch = undefined
    offline = undefined
    sourceOffline = undefined
    openings.disconnected()
    discoveries.disconnected()
  }

  const joinedLate = (unconfirmed: number): Resync => {
    MeshMetrics.recordGap("JoinedLate", context)
    return resync(shared.epoch, { _tag: "JoinedLate" }, unconfirmed)
  }

  const deliverJoinedLate = (consumer: Consumer.Consumer, unconfirmed: number): void => {
    deliver(consumer, joinedLate(unconfirmed))
    inform(consumer, "JoinedLate", unconfirmed)
    if (consumer.inform !== undefined) setDue(consumer)
  }

  function* keysOf(consumer: Consumer.Consumer): Iterable<Key> {
    yield* subscriptions.keys(consumer.options.route.interest)
    const followed = discoveries.of(consumer)
    if (followed !== undefined) yield* subscriptions.keys(Interest.output(followed.discovery.live()))
  }

  /** Offers the replay mark to its consumers, with the number of their own keys that are unconfirmed. */
  const offerReplayMark = (mark: Resync): void => {
    for (const consumer of router.consumers) {
      if (!openings.takeReplay(consumer)) continue
      // Before `Started`, there was nothing to know.
      if (!consumer.isInformed && mark.reason._tag !== "Started") inform(consumer)
      consumer.isInformed = true
      if (consumer.inform !== undefined) setDue(consumer)
      if (mark.unconfirmed === undefined) {
        deliver(consumer, mark)
        continue
      }
      let unconfirmed = 0
      for (const key of keysOf(consumer)) if (!openings.isConfirmed(key)) unconfirmed++
      deliver(consumer, resync(mark.epoch, mark.reason, unconfirmed))
    }
  }

  /** Offers the mark of one key to the consumers whose complete stretch it opens. */
  const offerKeyMark = (mark: Resync, kind: "updates" | "output"): void => {
    const visit = (consumer: Consumer.Consumer): void => {
      if (openings.passesMark(consumer)) deliver(consumer, mark)
    }
    router.visitKey(kind, mark.taskId, visit)
    if (kind === "output" && mark.taskId !== undefined) discoveries.visitFollowers(mark.taskId, visit)
  }

  /** Offers a `JoinedLate` to the late consumers of keys that are overdue. */
  const offerOverdue = (mark: Resync): void => {
    if (mark.unconfirmed === undefined) return
    for (const [consumer, unconfirmed] of openings.overdue()) deliverJoinedLate(consumer, unconfirmed)
  }

  /** Offers a lifecycle element of an extension. A mark is offered to the consumers whose stretch is open. */
  const offerRelayed = (element: Connected | Disconnected | Resync): void => {
    if (element._tag === "Resync") {
      const visit = (consumer: Consumer.Consumer): void => {
        if (openings.isOpen(consumer)) deliver(consumer, element)
      }
      if (element.reason._tag !== "Subscribed") return router.consumers.forEach(visit)
      router.visitKey(element.reason.kind, element.taskId, visit)
      if (element.reason.kind === "output" && element.taskId !== undefined) {
        discoveries.visitFollowers(element.taskId, visit)
      }
      return
    }
    if (element._tag === "Connected") {
      sourceOffline = undefined
      discoveries.connected()
    } else {
      sourceOffline = element
      discoveries.disconnected()
    }
    event = element
    router.visit(element, deliverEvent)
  }

  /** Offers an element to its consumers. */
  const offerElement = (element: Exclude<Element, TaskOutput>): void => {
    switch (element._tag) {
      case "Confirmed":
        for (const consumer of openings.confirmed(element.key)) deliverJoinedLate(consumer, 0)
        return
      case "Connected":
        if (relayed.has(element)) return offerRelayed(element)
        liveEpoch = shared.epoch = element.epoch
        offline = sourceOffline = undefined
        discoveries.connected()
        break
      case "Disconnected":
        if (relayed.has(element)) return offerRelayed(element)
        disconnected()
        offline = element
        break
      case "Resync":
        if (relayed.has(element)) return offerRelayed(element)
        switch (element.reason._tag) {
          case "Started":
          case "Reconnected":
            offerReplayMark(element)
            return offerOverdue(element)
          case "Subscribed":
            offerOverdue(element)
            return offerKeyMark(element, element.reason.kind)
        }
    }
    event = element
    router.visit(element, deliverEvent)
  }

  const offerOutput = (output: TaskOutput): void => {
    event = output
    router.visitKey("output", output.taskId, deliverEvent)
    discoveries.visitOutput(output.taskId, deliverEvent)
  }

  /** Offers the mark of a task that becomes live with an update, if its output is already confirmed. */
  const offerDiscovered = (update: TaskUpdated | Restated): void => {
    const found = discoveries.observe(update)
    if (found.length === 0) return
    for (const key of subscriptions.keys(Interest.output(update.taskId))) if (!openings.isConfirmed(key)) return
    const mark = resync(shared.epoch, { _tag: "Subscribed", kind: "output" }, 0, update.taskId)
    for (const { members } of found) for (const consumer of members) deliver(consumer, mark)
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

  /** The first element of a consumer that joins: the state of the connection. */
  const greeting = (consumer: Consumer.Consumer): MeshEvent | undefined => {
    const unconfirmed = openings.join(consumer, keysOf(consumer), liveEpoch !== undefined)
    if (unconfirmed === undefined) return offline
    if (sourceOffline !== undefined) return sourceOffline
    inform(consumer, "JoinedLate", unconfirmed)
    return joinedLate(unconfirmed)
  }

  return {
    join(options, discovery) {
      const consumer = Consumer.make(options, shared)
      router.add(consumer, options.route)
      if (discovery !== undefined) discoveries.join(consumer, discovery)
      const first = greeting(consumer)
      if (first !== undefined && options.isWanted?.(first) !== false) consumer.offer(first)
      return consumer
    },
    leave(consumer) {
      router.remove(consumer, consumer.options.route)
      discoveries.leave(consumer)
      openings.leave(consumer)
      consumer.stopWaiting()
      consumer.signalRoom()
    },
    end,
    route,
    replayed: () => openings.replayed(router.consumers),
    retained(key) {
      if (key.kind === "all" && !key.wanted) discoveries.resumed()
      openings.retained(key)
    },
    giveUp(key) {
      if (key.kind !== "all") return
      openings.covered(subscriptions.keys({ all: false, updates: new Set(router.updateTasks()), output: new Set() }))
    },
    disconnected() {
      discoveries.startReading()
      disconnected()
      stalls.clear()
    },
    removeAll() {
      const removed = [...router.consumers]
      for (const consumer of removed) router.remove(consumer, consumer.options.route)
      discoveries.removeMembers()
      return (how) => {
        // Set for all before the first is woken: a woken consumer may wait for the end of another.
        for (const consumer of removed) consumer.ended ??= how
        for (const consumer of removed) end(consumer, how)
      }
    },
    count: () => router.consumers.size,
    relay: (extension) => ({
      decode(message, epoch, size) {
        const element = extension.decode(message, epoch, size)
        if (element !== undefined) relayed.add(element)
        return element
      }
    }),
    repaired: (inform) => void (informOf = inform),
    reported(snapshot) {
      for (const { status, taskId } of snapshot) discoveries.report(taskId, status)
    }
  }
}
