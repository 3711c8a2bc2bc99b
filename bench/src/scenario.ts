/**
 * The client process of the rows that do not measure throughput: latency, memory, and
 * resubscription. Like `client.ts`, a new process for each run.
 */
import * as Interest from "@makima-stream/core/Interest"
import * as Merge from "@makima-stream/core/Merge"
import * as MeshClient from "@makima-stream/core/MeshClient"
import * as MeshStream from "@makima-stream/core/MeshStream"
import * as TaskId from "@makima-stream/core/TaskId"
import * as NodeMeshSocket from "@makima-stream/node/NodeMeshSocket"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Schedule from "effect/Schedule"
import * as Stream from "effect/Stream"
import { Socket } from "node:net"
import { setTimeout } from "node:timers/promises"
import { bare } from "./variants/bare.ts"
import { client, connect } from "./variants/mesh.ts"
import { pair } from "./variants/pair.ts"

export type Order =
  | {
      readonly kind: "latency"
      readonly port: number
      readonly variant: "bare" | "connect" | "client" | "pair"
      readonly wanted: ReadonlyArray<string>
      /** How many events warm the process up before the first sample. */
      readonly warm: number
      readonly samples: number
    }
  | {
      readonly kind: "memory"
      readonly port: number
      readonly variant: "connect" | "client"
      readonly wanted: ReadonlyArray<string>
      readonly events: number
    }
  | {
      readonly kind: "tasks"
      readonly port: number
      readonly connections: 1 | 2
      readonly wanted: ReadonlyArray<string>
      readonly events: number
    }
  | { readonly kind: "idle"; readonly port: number; readonly consumers: number }
  | { readonly kind: "resubscribe"; readonly port: number; readonly tasks: number }

const layerSocket = (port: number) => NodeMeshSocket.layer({ url: `http://127.0.0.1:${port}` })

const ids = (count: number): ReadonlyArray<TaskId.TaskId> =>
  Array.from({ length: count }, (_, n) => TaskId.make(`00000000-0000-4000-8000-${String(n).padStart(12, "0")}`))

const report = (result: unknown): void => {
  process.send?.(result)
}

const ready = (expects: number, connections = 1): void => {
  process.send?.({ expects, connections })
}

/**
 * The time from the moment when Node passes the bytes to JavaScript (shortly before `ws`
 * emits a message) until the consumer receives the event, in microseconds.
 */
const latency = (order: Extract<Order, { readonly kind: "latency" }>): void => {
  let dataAt = 0
  const emit = Socket.prototype.emit
  Socket.prototype.emit = function (this: Socket, ...args: Parameters<typeof emit>) {
    if (args[0] === "data") dataAt = performance.now()
    return emit.apply(this, args)
  } as typeof emit
  let warm = order.warm
  const micros: Array<number> = []
  const variant = { bare, connect, client, pair }[order.variant]
  const job = {
    port: order.port,
    wanted: new Set(order.wanted),
    output: () => {
      if (warm > 0) {
        if (--warm === 0) report({})
        return
      }
      micros.push((performance.now() - dataAt) * 1000)
      if (micros.length === order.samples) {
        micros.sort((a, b) => a - b)
        report({ median: micros[micros.length >> 1], p99: micros[Math.floor(micros.length * 0.99)] })
      }
    }
  }
  variant.start(job)
  ready(variant.expects(job), variant.connections)
}

/** A consumer that takes 1 ms for 100 events, which is slower than the server sends. */
const memory = (order: Extract<Order, { readonly kind: "memory" }>): void => {
  let seen = 0
  let idle = 0
  let peak = 0
  const look = (): void => {
    peak = Math.max(peak, process.memoryUsage.rss())
  }
  const slowly = <A extends { readonly _tag: string }, E, R>(events: Stream.Stream<A, E, R>) =>
    Stream.runForEachArray(events, (batch) => {
      if (seen === 0 && batch.every(({ _tag }) => _tag === "Connected")) {
        return Effect.promise(async () => {
          // "Idle" is a connected process at rest, before the first event.
          await setTimeout(1000)
          idle = process.memoryUsage.rss()
          setInterval(look, 20)
          ready(1)
        })
      }
      seen += batch.length
      if (seen >= order.events) return Effect.sync(() => report({ idle, peak, seen }))
      return Effect.sleep(batch.length / 100)
    })
  const program =
    order.variant === "connect"
      ? slowly(MeshStream.connect({ interest: Interest.all }))
      : Effect.gen(function* () {
          const mesh = yield* MeshClient.MeshClient
          yield* slowly(mesh.events({ ...Interest.output(new Set(order.wanted.map(TaskId.make))), all: true }))
        }).pipe(Effect.provide(MeshClient.layer()))
  Effect.runFork(Effect.provide(program, layerSocket(order.port)))
}

const heap = (): number => {
  for (let n = 0; n < 5; n++) globalThis.gc?.()
  const { heapUsed, external } = process.memoryUsage()
  return heapUsed + external
}

/** The memory of a client after events of many live tasks, above that of the program before it connects. */
const tasks = (order: Extract<Order, { readonly kind: "tasks" }>): void => {
  const before = heap()
  let seen = 0
  const program = Effect.gen(function* () {
    const mesh = yield* MeshClient.MeshClient
    yield* mesh.events({ ...Interest.output(new Set(order.wanted.map(TaskId.make))), all: true }).pipe(
      Stream.runForEachArray((batch) =>
        Effect.promise(async () => {
          for (const event of batch) if (event._tag === "TaskOutput" || event._tag === "TaskUpdated") seen++
          if (seen < order.events) return
          seen = -Infinity
          // The other connection delivers its last events, too.
          await setTimeout(1000)
          report({ bytes: heap() - before })
        })
      )
    )
  }).pipe(Effect.provide(MeshClient.layer(order.connections === 2 ? { connections: Merge.connections() } : {})))
  Effect.runFork(Effect.provide(program, layerSocket(order.port)))
  // With two connections, each also asks for a boundary of both kinds.
  ready(order.wanted.length + (order.connections === 2 ? 3 : 1), order.connections)
}

/** The memory of an idle per-task consumer: its stream, its queue, its subscription and its fiber. */
const idle = (order: Extract<Order, { readonly kind: "idle" }>): Promise<void> => {
  const program = Effect.gen(function* () {
    const mesh = yield* MeshClient.MeshClient
    const start = (taskIds: ReadonlyArray<TaskId.TaskId>) =>
      Effect.forEach(taskIds, (taskId) => Effect.forkChild(Stream.runDrain(mesh.output(taskId))))
    const settle = Effect.promise(() => setTimeout(2000))
    const all = ids(order.consumers + 1000)
    const first = yield* start(all.slice(0, 1000))
    yield* settle
    const before = heap()
    const fibers = yield* start(all.slice(1000))
    yield* settle
    const bytes = heap() - before
    // Only the fiber, which is Effect's part of the memory.
    const beforeFibers = heap()
    const bareFibers = yield* Effect.forEach(fibers, () => Effect.forkChild(Effect.never))
    yield* settle
    const fiberBytes = heap() - beforeFibers
    yield* Fiber.interruptAll([...first, ...bareFibers])
    report({ bytes: bytes / fibers.length, fiberBytes: fiberBytes / fibers.length })
  })
  ready(0)
  return Effect.runPromise(program.pipe(Effect.provide(Layer.provide(MeshClient.layer(), layerSocket(order.port)))))
}

/**
 * Keeps a subscription for each task, and reconnects at once after each cut. Reports
 * the time of each `Reconnected` mark, in milliseconds since 1970.
 */
const resubscribe = (order: Extract<Order, { readonly kind: "resubscribe" }>): void => {
  const program = Effect.gen(function* () {
    const mesh = yield* MeshClient.MeshClient
    const [first, ...others] = ids(order.tasks)
    if (first === undefined) return
    yield* mesh.output(first).pipe(
      Stream.runForEach((event) =>
        Effect.sync(() => {
          if (event._tag === "Resync" && event.reason._tag === "Reconnected") {
            report({ markAt: performance.timeOrigin + performance.now(), unconfirmed: event.unconfirmed ?? 0 })
          }
        })
      ),
      Effect.forkChild
    )
    yield* Effect.forEach(others, (taskId) => Stream.runDrain(mesh.output(taskId)), {
      concurrency: "unbounded",
      discard: true
    })
  })
  const layer = Layer.provide(
    MeshClient.layer({ policy: { schedule: Schedule.spaced("100 millis"), minDelay: "100 millis" } }),
    layerSocket(order.port)
  )
  ready(order.tasks)
  Effect.runFork(Effect.provide(program, layer))
}

process.once("message", (order: Order) => {
  switch (order.kind) {
    case "latency":
      return latency(order)
    case "memory":
      return memory(order)
    case "tasks":
      return tasks(order)
    case "idle":
      return idle(order)
    case "resubscribe":
      return resubscribe(order)
  }
})
process.on("disconnect", () => process.exit())
