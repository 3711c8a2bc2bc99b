/**
 * The discoveries of a client, for its consumers of everything. Consumers with equal
 * options share one discovery. A new discovery starts with the tasks that the client
 * knows, so a late consumer at once follows every live task. A discovery retains one
 * output subscription for each live task. It ends an idle time to live after its last
 * consumer has left.
 */
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Interest from "../../Interest.ts"
import * as MeshMetrics from "../../MeshMetrics.ts"
import type { Restated } from "../../MeshEvent.ts"
import type { TaskUpdated } from "../../ServerMessage.ts"
import type { TaskId } from "../../TaskId.ts"
import * as ReadingClock from "../session/readingClock.ts"
import * as Discovery from "./discovery.ts"
import * as Known from "./known.ts"
import type { DiscoverySettings } from "./options.ts"
import type { Timed } from "./timers.ts"
import { arrived } from "../time.ts"

/** Requests and releases the output of live tasks. */
export interface Demand {
  readonly retain: (interest: Interest.Interest) => void
  readonly release: (interest: Interest.Interest, now: number) => void
  /** Like `release`, but without an idle time. */
  readonly drop: (interest: Interest.Interest) => void
}

export interface Options {
  readonly demand: Demand
  readonly idleMillis: number
  readonly now: () => number
  readonly context: Context.Context<never>
}

/** A discovery and the consumers that follow it. */
export interface Shared<C> {
  readonly discovery: Discovery.Discovery
  readonly settings: DiscoverySettings
  readonly members: Set<C>
  /** The time at which it ends without members; `Infinity` while it has members. */
  endsAt: number
}

export interface Discoveries<C> extends Timed {
  /** Adds a consumer. Returns the discovery that it follows. */
  readonly join: (consumer: C, settings: DiscoverySettings) => Shared<C>
  readonly leave: (consumer: C) => void
  readonly removeMembers: () => void
  /** The discovery of a consumer. */
  readonly of: (consumer: C) => Shared<C> | undefined
  /** Records an update, even if there is no discovery. Returns the discoveries for which its task has become live. */
  readonly observe: (update: TaskUpdated | Restated) => ReadonlyArray<Shared<C>>
  /** A snapshot lists a task. Without an end, it is not suspect any more. */
  readonly report: (taskId: TaskId, status: string | undefined) => void
  /** Records output of a task, and calls `visit` with each consumer that follows the task. */
  readonly visitOutput: (taskId: TaskId, visit: (consumer: C) => void) => void
  /** Calls `visit` with each consumer that follows a task. */
  readonly visitFollowers: (taskId: TaskId, visit: (consumer: C) => void) => void
  /** Whether there is a discovery. */
  readonly isFollowing: () => boolean
  /** All updates are received from now on, and were not before. */
  readonly resumed: () => void
  readonly connected: () => void
  readonly disconnected: () => void
  /** The router waits for a consumer, and reads nothing. */
  readonly stopReading: () => void
  /** The router reads again. */
  readonly startReading: () => void
  /** Called when `next` may have become earlier. */
  onChanged: () => void
}

const equals = (a: DiscoverySettings, b: DiscoverySettings): boolean =>
  a.terminal === b.terminal &&
  a.endedMillis === b.endedMillis &&
  a.staleMillis === b.staleMillis &&
  a.maxTasks === b.maxTasks

const none: ReadonlyArray<never> = []

export const make = <C>({ context, demand, idleMillis, now }: Options): Discoveries<C> => {
  const all: Array<Shared<C>> = []
  const known = Known.make()
  /** The times of ends and of silence are measured on this clock: what has arrived is read before it goes on. */
  const reading = ReadingClock.make(now)
  let isReading = true
  reading.start()
  /** Whether a sweep has to wait until the router reads. */
  let isDelayed = false

  const record = (): void => {
    let size = 0
    for (const { discovery } of all) size += discovery.size()
    MeshMetrics.discoveredTasks.updateUnsafe(size, context)
  }

  const create = (settings: DiscoverySettings): Shared<C> => {
    const discovery = Discovery.make({
      settings,
      known,
      onFound: (taskId) => {
        demand.retain(Interest.output(taskId))
        record()
      },
      onGone: (taskId, why) => {
        demand.release(Interest.output(taskId), now())
        if (why !== "ended") MeshMetrics.recordForgotten(why, context)
        record()
      }
    })
    known.maxTasks = Math.max(known.maxTasks, settings.maxTasks)
    discovery.adoptKnown(reading.now())
    const shared: Shared<C> = { discovery, settings, members: new Set(), endsAt: Infinity }
    all.push(shared)
    // A task may already have been suspect for some time, so `next` may be earlier.
    self.onChanged()
    return shared
  }

  const self: Discoveries<C> = {
    onChanged: () => {},
    join(consumer, settings) {
      const shared = all.find((each) => equals(each.settings, settings)) ?? create(settings)
      shared.members.add(consumer)
      shared.endsAt = Infinity
      record()
      return shared
    },
    leave(consumer) {
      for (const shared of all) {
        if (!shared.members.delete(consumer) || shared.members.size > 0) continue
        shared.endsAt = now() + idleMillis
        self.onChanged()
      }
    },
    removeMembers() {
      for (const shared of all) {
        shared.members.clear()
        shared.endsAt = now() + idleMillis
      }
      self.onChanged()
    },
    of: (consumer) => all.find(({ members }) => members.has(consumer)),
    observe(update) {
      if (update._tag === "Restated" && update.gone === true) {
        known.remove(update.taskId)
        for (const { discovery } of all) discovery.end(update.taskId, reading.now())
        self.onChanged()
        return none
      }
      const task = known.observe(update)
      if (all.length === 0) return none
      let found: Array<Shared<C>> | undefined
      for (const shared of all) {
        if (shared.discovery.observe(update, task, reading.now())) (found ??= []).push(shared)
        // Only the end of a task makes the next sweep earlier.
        if (update.status !== undefined && shared.settings.isTerminal(update.status)) self.onChanged()
      }
      return found ?? none
    },
    report(taskId, status) {
      let isLive = all.length === 0
      for (const { discovery, settings } of all) {
        if (status !== undefined && settings.isTerminal(status)) continue
        discovery.touch(taskId)
        isLive = true
      }
      if (isLive) known.touch(taskId)
    },
    visitOutput(taskId, visit) {
      known.touch(taskId)
      for (const { discovery, members } of all) if (discovery.touch(taskId)) members.forEach(visit)
    },
    visitFollowers(taskId, visit) {
      for (const { discovery, members } of all) if (discovery.isLive(taskId)) members.forEach(visit)
    },
    isFollowing: () => all.length > 0,
    resumed: () => known.resumed(reading.now()),
    connected() {
      known.connected(reading.now())
      for (const { discovery } of all) discovery.connected(reading.now())
      self.onChanged()
    },
    disconnected: () => known.disconnected(reading.now()),
    stopReading() {
      if (isReading) reading.stop()
      isReading = false
    },
    startReading() {
      if (isReading) return
      isReading = true
      reading.start()
      if (isDelayed) self.onChanged()
      isDelayed = false
    },
    next() {
      let next = Infinity
      let ends = Infinity
      for (const { discovery, endsAt } of all) {
        next = Math.min(next, discovery.next())
        ends = Math.min(ends, endsAt)
      }
      if (next === Infinity) return ends
      isDelayed = !isReading
      return isDelayed ? ends : Math.min(ends, next - reading.now() + now())
    },
    sweep(time) {
      for (const shared of all.slice()) {
        if (shared.endsAt > time) continue
        all.splice(all.indexOf(shared), 1)
        for (const taskId of shared.discovery.live()) demand.drop(Interest.output(taskId))
        record()
      }
      if (!all.some(({ discovery }) => discovery.next() <= reading.now())) return
      // If the process was suspended, its timers run before its sockets are read.
      return Effect.map(arrived, () => {
        if (isReading) for (const { discovery } of all) discovery.sweep(reading.now())
      })
    }
  }
  return self
}
