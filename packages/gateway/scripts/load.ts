/**
 * Measures what a delivery costs: one gateway with many clients of all updates, beside a bare `ws` broadcast loop, each in
 * a process of its own.
 *
 *     node packages/gateway/scripts/load.ts [clients] [events] [rate]
 *
 * It prints CPU time for each delivery, deliveries a second, and memory, and the ratio of the two. Every client must
 * have received every event.
 */
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import { fork } from "node:child_process"
import { fileURLToPath } from "node:url"
import { WebSocket, WebSocketServer } from "ws"
import * as NodeMeshSocket from "@makima-stream/node/NodeMeshSocket"
import * as MockMeshServer from "@makima-stream/test-kit/MockMeshServer"
import * as TaskId from "@makima-stream/core/TaskId"
import * as Gateway from "../src/Gateway.ts"

const token = "a-token-for-the-load-test"
const path = "/api/v1/mesh/tasks/subscribe"

interface Usage {
  readonly cpuMillis: number
  readonly rssMiB: number
}

const usage = (): Usage => {
  const { system, user } = process.cpuUsage()
  return { cpuMillis: (system + user) / 1000, rssMiB: process.memoryUsage.rss() / 2 ** 20 }
}

/** The gateway, in its own process. */
const gateway = (url: string) =>
  Effect.gen(function* () {
    const { port } = yield* Gateway.make({ port: 0, token: Redacted.make(token) })
    process.send?.({ port })
    return yield* Effect.never
  }).pipe(Effect.scoped, Effect.provide(NodeMeshSocket.layer({ url })))

/** The loop that it is compared with. */
const bare = (url: string): void => {
  const upstream = new WebSocket(`${url.replace("http", "ws")}${path}`)
  const server = new WebSocketServer({ port: 0, host: "127.0.0.1", perMessageDeflate: false })
  upstream.on("open", () => upstream.send(`{"type":"subscribeAll"}`))
  upstream.on("message", (data) => {
    for (const client of server.clients) client.send(data, { binary: false })
  })
  server.on("connection", (ws) => ws.on("message", () => ws.send(`{"type":"subscribedAll"}`)))
  server.on("listening", () => {
    const address = server.address()
    process.send?.({ port: typeof address === "object" ? address?.port : 0 })
  })
}

const child = (mode: string, url: string): void => {
  process.on("message", () => process.send?.(usage()))
  if (mode === "gateway") void Effect.runPromise(gateway(url))
  else bare(url)
}

const receive = <A>(process: ReturnType<typeof fork>): Promise<A> =>
  // The messages are those of `child`.
  new Promise((resolve) => process.once("message", (message) => resolve(message as A)))

const run = (mode: "gateway" | "bare", clients: number, events: number, rate: number) =>
  Effect.gen(function* () {
    const server = yield* MockMeshServer.make({ keepMessages: false })
    const forked = fork(fileURLToPath(import.meta.url), ["child", mode, server.url])
    yield* Effect.addFinalizer(() => Effect.sync(() => forked.kill()))
    const { port } = yield* Effect.promise(() => receive<{ port: number }>(forked))
    const counts = Array.from({ length: clients }, () => 0)
    yield* Effect.forEach(
      counts.keys(),
      (i) =>
        Effect.callback<void>((resume) => {
          const headers = { authorization: `Bearer ${token}` }
          const ws = new WebSocket(`ws://127.0.0.1:${port}${path}`, { headers, perMessageDeflate: false })
          ws.on("open", () => ws.send(`{"type":"subscribeAll"}`))
          ws.on("message", (data: Buffer) => {
            if (data.includes("taskUpdated")) counts[i] = (counts[i] ?? 0) + 1
            else resume(Effect.void)
          })
        }),
      { concurrency: 50 }
    )
    const ask = Effect.promise(() => {
      forked.send("usage")
      return receive<Usage>(forked)
    })
    const before = yield* ask
    const start = performance.now()
    for (let n = 1; n <= events; n++) {
      yield* server.emit({ _tag: "TaskUpdated", taskId: TaskId.make(`task ${n % 100}`), version: n, status: "running" })
      const due = start + (n * 1000) / rate - performance.now()
      if (due > 0) yield* Effect.sleep(due)
    }
    while (counts.some((count) => count < events)) yield* Effect.sleep(10)
    const seconds = (performance.now() - start) / 1000
    const after = yield* ask
    const deliveries = clients * events
    return {
      mode,
      microsPerDelivery: ((after.cpuMillis - before.cpuMillis) * 1000) / deliveries,
      deliveriesPerSecond: deliveries / seconds,
      rssMiB: after.rssMiB,
      tooMany: counts.filter((count) => count > events).length
    }
  }).pipe(Effect.scoped)

const main = Effect.gen(function* () {
  const [clients = 1000, events = 300, rate = Infinity] = process.argv.slice(2).map(Number)
  const bareResult = yield* run("bare", clients, events, rate)
  const gatewayResult = yield* run("gateway", clients, events, rate)
  const ratio = (name: "microsPerDelivery" | "deliveriesPerSecond" | "rssMiB") => gatewayResult[name] / bareResult[name]
  yield* Effect.sync(() => {
    console.table([bareResult, gatewayResult])
    console.log(
      `gateway to bare: deliveries a second ${ratio("deliveriesPerSecond").toFixed(2)}, ` +
        `CPU for each ${ratio("microsPerDelivery").toFixed(2)}, memory ${ratio("rssMiB").toFixed(2)}`
    )
  })
})

if (process.argv[2] === "child") child(process.argv[3] ?? "", process.argv[4] ?? "")
else await Effect.runPromise(main)
