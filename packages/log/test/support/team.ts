/**
 * A team of relays on one log, in one process and in virtual time: a server that sends every
 * message to each connected feed, and verbs that stop, continue and cut relays off.
 *
 * The log in memory returns the very objects that were appended, and each feed delivers its
 * own copies, so the judge recognises a message whatever its content is.
 */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Latch from "effect/Latch"
import * as Queue from "effect/Queue"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as SubscriptionRef from "effect/SubscriptionRef"
import * as TestClock from "effect/testing/TestClock"
import * as MeshError from "@makima-stream/core/MeshError"
import type { MeshEvent } from "@makima-stream/core/MeshEvent"
import * as TaskId from "@makima-stream/core/TaskId"
import * as LogEngine from "@makima-stream/log/LogEngine"
import type { LogError } from "@makima-stream/log/LogError"
import * as MemoryLog from "@makima-stream/log/MemoryLog"
import { MeshLog, type Entry, type Service } from "@makima-stream/log/MeshLog"
import * as Relay from "@makima-stream/log/Relay"
import { turns } from "../../../test-kit/src/internal/turns.ts"

/** Lets fibers run that were woken. */
export const settle = turns(60)

/** Lets virtual time pass in steps, so that each timer runs at its time. */
export const pass = Effect.fnUntraced(function* (millis: number, step = 50) {
  for (let left = millis; left > 0; left -= step) {
    yield* TestClock.adjust(Math.min(step, left))
    yield* settle
  }
})

/** A latch for the operations of a process: closed while it is stopped or cut off. */
const gated = (engine: LogEngine.LogEngine, gate: Latch.Latch): LogEngine.LogEngine => {
  const through = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
    gate.await.pipe(
      Effect.andThen(effect),
      Effect.tap(() => gate.await)
    )
  return {
    append: (events, fence) => through(engine.append(events, fence)),
    read: (options) =>
      Stream.unwrap(Effect.as(gate.await, engine.read(options))).pipe(
        Stream.mapEffect((entry) => through(Effect.succeed(entry)))
      ),
    bounds: through(engine.bounds),
    cells: {
      get: (key) => through(engine.cells.get(key)),
      list: (prefix) => through(engine.cells.list(prefix)),
      set: (key, value, revision) => through(engine.cells.set(key, value, revision)),
      remove: (key, revision) => through(engine.cells.remove(key, revision))
    }
  }
}

/** A clock whose timers wait while the process is stopped. */
const stoppable = (clock: Clock.Clock, running: Latch.Latch): Clock.Clock =>
  Object.assign(Object.create(clock) as Clock.Clock, {
    sleep: (duration: Duration.Duration) => Effect.andThen(clock.sleep(duration), running.await)
  })

export interface Member {
  readonly name: string
  readonly status: SubscriptionRef.SubscriptionRef<Relay.Status>
  /** Stops everything in the process. */
  readonly stop: Effect.Effect<void>
  readonly resume: Effect.Effect<void>
  /** Cuts the process off from the log, but not from its feed. */
  readonly cutOff: Effect.Effect<void>
  readonly restore: Effect.Effect<void>
  /** The process is gone: it never continues. */
  readonly kill: Effect.Effect<void>
  readonly disconnect: Effect.Effect<void>
  readonly connect: Effect.Effect<void>
  /** How many elements its feed has for it. */
  readonly backlog: () => number
  readonly fiber: Fiber.Fiber<void, LogError>
}

export interface Team {
  readonly store: MemoryLog.Store
  readonly log: Service
  /** Starts a relay, connected. */
  readonly start: (name: string, options?: Relay.Options) => Effect.Effect<Member, never, Scope.Scope>
  /** Sends a message to each connected feed. */
  readonly emit: (message: MeshEvent) => Effect.Effect<void>
  readonly entries: Effect.Effect<ReadonlyArray<Entry>, LogError>
  readonly judge: Effect.Effect<Verdict, LogError>
}

export interface Verdict {
  readonly emitted: number
  /** Messages that the log does not hold. */
  readonly lost: number
  /** Messages that the log holds twice, without a mark of their task in between. */
  readonly doubled: number
  /** Messages that follow a later one of their task and kind, without a mark in between. */
  readonly disordered: number
  /** The reasons of the marks, except those of a first connection. */
  readonly marks: ReadonlyArray<string>
}

export const make = Effect.fnUntraced(function* (options?: {
  readonly engine?: (store: MemoryLog.Store) => Effect.Effect<LogEngine.LogEngine>
}) {
  const store = MemoryLog.makeStore()
  const clock = yield* Clock.Clock
  const engine = yield* (options?.engine ?? ((store) => MemoryLog.makeEngine({ store })))(store)
  const log = LogEngine.make(engine)
  const members: Array<{ isConnected: () => boolean; offer: (event: MeshEvent) => void }> = []
  const serials = new WeakMap<MeshEvent, number>()
  const emitted: Array<MeshEvent> = []

  const start: Team["start"] = Effect.fnUntraced(function* (name, relayOptions) {
    const running = Latch.makeUnsafe(true)
    const reachable = Latch.makeUnsafe(true)
    const queue = yield* Queue.unbounded<MeshEvent, Cause.Done>()
    let epoch = 0
    let connected = false
    const connect = Effect.sync(() => {
      epoch++
      connected = true
      Queue.offerUnsafe(queue, { _tag: "Connected", epoch, at: 0 })
      const reason: Extract<MeshEvent, { _tag: "Resync" }>["reason"] =
        epoch === 1 ? { _tag: "Started" } : { _tag: "Reconnected", downMillis: 1 }
      Queue.offerUnsafe(queue, { _tag: "Resync", epoch, reason })
    })
    const disconnect = Effect.sync(() => {
      connected = false
      Queue.offerUnsafe(queue, {
        _tag: "Disconnected",
        epoch,
        opened: true,
        attempt: 1,
        reason: new MeshError.ConnectionLost({}),
        at: 0
      })
    })
    members.push({ isConnected: () => connected, offer: (event) => void Queue.offerUnsafe(queue, event) })
    const status = yield* SubscriptionRef.make<Relay.Status>({
      role: "standby",
      term: 0,
      isConnected: false,
      isAligned: false
    })
    yield* connect
    const service = LogEngine.make(gated(gated(engine, reachable), running))
    // In batches, as a socket delivers them.
    const feed = Stream.fromEffectRepeat(Queue.takeBetween(queue, 1, 16)).pipe(
      Stream.tap(() => running.await),
      Stream.flattenIterable
    )
    const fiber = yield* Relay.run(feed, { relay: name, timeToLive: "3 seconds", ...relayOptions, status }).pipe(
      Effect.provideService(MeshLog, service),
      Effect.provideService(Clock.Clock, stoppable(clock, running)),
      Effect.forkScoped
    )
    // A stopped relay cannot be interrupted.
    yield* Effect.addFinalizer(() => Effect.andThen(running.open, reachable.open))
    return {
      name,
      status,
      stop: Effect.asVoid(running.close),
      resume: Effect.asVoid(running.open),
      cutOff: Effect.asVoid(reachable.close),
      restore: Effect.asVoid(reachable.open),
      kill: Effect.sync(() => {
        running.closeUnsafe()
        connected = false
      }),
      disconnect,
      connect,
      backlog: () => Queue.sizeUnsafe(queue),
      fiber
    }
  })

  const entries = Stream.runCollect(log.read())

  const team: Team = {
    store,
    log,
    start,
    emit: (message) =>
      Effect.sync(() => {
        const serial = emitted.push(message)
        for (const { isConnected, offer } of members) {
          if (!isConnected()) continue
          const copy = { ...message }
          serials.set(copy, serial)
          offer(copy)
        }
      }),
    entries,
    judge: Effect.map(entries, (found) => judge(found, emitted, (event) => serials.get(event)))
  }
  return team
})

const judge = (
  entries: ReadonlyArray<Entry>,
  emitted: ReadonlyArray<MeshEvent>,
  serialOf: (event: MeshEvent) => number | undefined
): Verdict => {
  const seen = new Map<number, number>()
  const last = new Map<string, number>()
  const marksOf = new Map<string, number>()
  let marksOfAll = 0
  let [doubled, disordered] = [0, 0]
  const marks: Array<string> = []
  for (const { event } of entries) {
    if (event._tag === "Resync") {
      if (event.reason._tag !== "Started") marks.push(event.reason._tag)
      if (event.taskId === undefined) {
        marksOfAll++
        last.clear()
      } else {
        marksOf.set(event.taskId, (marksOf.get(event.taskId) ?? 0) + 1)
        for (const key of last.keys()) if (key.endsWith(`:${event.taskId}`)) last.delete(key)
      }
      continue
    }
    const serial = serialOf(event)
    if (serial === undefined || !("taskId" in event) || event.taskId === undefined) continue
    const stretch = marksOfAll + (marksOf.get(event.taskId) ?? 0)
    const key = `${event._tag}:${event.taskId}`
    if (seen.get(serial) === stretch) doubled++
    else if (serial < (last.get(key) ?? 0)) disordered++
    seen.set(serial, stretch)
    last.set(key, serial)
  }
  const lost = emitted.filter((_, index) => !seen.has(index + 1)).length
  return { emitted: emitted.length, lost, doubled, disordered, marks }
}

/** Messages of some tasks, with contents that repeat: `next()` returns one. */
export const workload = (random: () => number, distinct: number) => {
  const versions = new Map<string, number>()
  const tasks = ["a", "b", "c"].map((id) => TaskId.make(id))
  return (): MeshEvent => {
    const taskId = tasks[Math.floor(random() * tasks.length)] ?? TaskId.make("a")
    if (random() < 0.15) {
      const version = (versions.get(taskId) ?? 0) + 1
      versions.set(taskId, version)
      return { _tag: "TaskUpdated", taskId, version, status: "running" }
    }
    return { _tag: "TaskOutput", taskId, messageType: "assistant", content: `${Math.floor(random() * distinct)}` }
  }
}

/** A sequence of numbers between 0 and 1 that depends on the seed only (mulberry32). */
export const randomOf = (seed: number) => {
  let state = seed | 0
  return (): number => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296
  }
}
