/** Measures the resources of this process, after a garbage collection. Needs `--expose-gc`. */
import * as Effect from "effect/Effect"
import { EventEmitter } from "node:events"
import { queryObjects } from "node:v8"

/** The resources of a process. */
export interface Holdings {
  readonly rssMiB: number
  readonly heapMiB: number
  /** Timers and handles that keep the process alive. */
  readonly handles: number
  /** Listeners on the process itself. */
  readonly listeners: number
}

/** The number of reachable objects of each kind. */
export interface Objects {
  readonly fibers: number
  readonly sockets: number
  readonly webSockets: number
}

const mebibytes = (bytes: number): number => Math.round((bytes / (1 << 20)) * 100) / 100

const Fiber = Effect.runFork(Effect.void).constructor

export const holdings = (): Holdings => {
  globalThis.gc?.()
  const { heapUsed, rss } = process.memoryUsage()
  return {
    rssMiB: mebibytes(rss),
    heapMiB: mebibytes(heapUsed),
    handles: process.getActiveResourcesInfo().length,
    listeners: process.eventNames().reduce((sum, name) => sum + process.listenerCount(name), 0)
  }
}

/**
 * Counts reachable objects. Each query collects the garbage several times, which takes a third of a second. So one query finds
 * both kinds of sockets, by what they inherit from.
 */
export const objects = (): Objects => {
  const emitters = queryObjects(EventEmitter, { format: "summary" })
  const count = (name: string) => emitters.filter((text) => text.startsWith(`${name} {`)).length
  return {
    fibers: queryObjects(Fiber, { format: "count" }),
    sockets: count("Socket"),
    webSockets: count("WebSocket")
  }
}
