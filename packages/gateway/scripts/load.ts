/**
 * Measures what a delivery costs: one gateway with many clients of all updates, beside a bare `ws` broadcast loop, each in
 * a process of its own. A third run has clients that stop reading.
 *
 *     node packages/gateway/scripts/load.ts [clients] [events] [rate] [stalled]
 *
 * It prints CPU time for each delivery, deliveries a second, memory and latency, and the ratios. Every client that reads must
 * have received every event once, in order.
 */
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import { fork, type ChildProcess } from "node:child_process"
import { fileURLToPath } from "node:url"
import { WebSocket, WebSocketServer } from "ws"
import * as NodeMeshSocket from "@makima-stream/node/NodeMeshSocket"
import * as MockMeshServer from "@makima-stream/test-kit/MockMeshServer"
import * as TaskId from "@makima-stream/core/TaskId"
import * as Gateway from "../src/Gateway.ts"

const token = "a-token-for-the-load-test"
const path = "/api/v1/mesh/tasks/subscribe"

/** What a run does. */
export interface Options {
  readonly clients: number
  readonly events: number
  /** Events a second. `Infinity` sends them as fast as the server takes them. */
  readonly rate: number
  /** How many of the clients stop reading at the beginning. Every second one of them has asked for marks. */
  readonly stalled: number
  /** The number of an event that is not sent, to test the judgement of the clients. Defaults to none. */
  readonly skip?: number | undefined
}

/** What a process has used so far. */
interface Usage {
  readonly cpuMillis: number
  readonly rssMiB: number
  /** Clients that the gateway has closed because they are too slow. */
  readonly closedAsSlow: number
  /** Events that it has dropped for slow clients. */
  readonly dropped: number
}

/** What a run has measured. */
export interface Result {
  readonly mode: string
  readonly microsPerDelivery: number
  readonly deliveriesPerSecond: number
  readonly rssMiB: number
  /** The clients that read and have received every event once, in order. */
  readonly complete: number
  readonly p50Millis: number
  readonly p99Millis: number
  readonly closedAsSlow: number
  readonly dropped: number
}

// ---------------------------------------------------------------------------
// the process that is measured
// ---------------------------------------------------------------------------

/** Answers each request for the usage. */
const answer = (stats: () => Pick<Usage, "closedAsSlow" | "dropped">): void => {
  process.on("message", () => {
    const { system, user } = process.cpuUsage()
    const { closedAsSlow, dropped } = stats()
    const usage = { cpuMillis: (system + user) / 1000, rssMiB: process.memoryUsage.rss() / 2 ** 20 }
    process.send?.({ ...usage, closedAsSlow, dropped } satisfies Usage)
  })
}

const gateway = (url: string) =>
  Effect.gen(function* () {
    // A client that stalls is closed within the run.
    const { port, stats } = yield* Gateway.make({
      port: 0,
      token: Redacted.make(token),
      maxBufferedBytes: 256 * 1024,
      stallTimeout: "10 seconds"
    })
    answer(() => Effect.runSync(stats))
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
    answer(() => ({ closedAsSlow: 0, dropped: 0 }))
    process.send?.({ port: typeof address === "object" ? address?.port : 0 })
  })
}

const child = (mode: string, url: string): void => {
  if (mode === "gateway") void Effect.runPromise(gateway(url))
  else bare(url)
}

// ---------------------------------------------------------------------------
// the clients
// ---------------------------------------------------------------------------

/** Counts times, in steps of 0.1 ms. */
const histogram = () => {
  const counts = new Uint32Array(1_000_000)
  let total = 0
  return {
    add(millis: number): void {
      const i = Math.min(counts.length - 1, Math.max(0, Math.floor(millis * 10)))
      counts[i] = (counts[i] ?? 0) + 1
      total++
    },
    /** The time below which this share of the counted times lies. */
    percentile(share: number): number {
      let seen = 0
      return (counts.findIndex((count) => (seen += count) >= share * total) + 1) / 10
    }
  }
}

interface Client {
  /** The newest event. All before it have been received once, in order, unless `isBroken`. */
  received: number
  isBroken: boolean
}

const versionIn = /"version":(\d+)/

const makeClients = (port: number, sentAt: Float64Array) => {
  const latency = histogram()
  const connect = (index: number, isStalled: boolean) =>
    Effect.callback<Client>((resume) => {
      const client: Client = { received: 0, isBroken: false }
      const marks = isStalled && index % 2 === 0 ? "?marks=1" : ""
      const ws = new WebSocket(`ws://127.0.0.1:${port}${path}${marks}`, {
        headers: { authorization: `Bearer ${token}` },
        perMessageDeflate: false
      })
      ws.on("open", () => ws.send(`{"type":"subscribeAll"}`))
      ws.on("error", () => void (client.isBroken = true))
      ws.on("message", (data: Buffer) => {
        const version = Number(versionIn.exec(data.toString("latin1"))?.[1])
        if (Number.isNaN(version)) {
          if (isStalled) ws.pause()
          return resume(Effect.succeed(client))
        }
        if (version !== client.received + 1) client.isBroken = true
        client.received = version
        if (!isStalled) latency.add(performance.now() - (sentAt[version] ?? 0))
      })
    })
  return { connect, latency }
}

const receive = <A>(from: ChildProcess): Promise<A> =>
  // The messages are those of `child`.
  new Promise((resolve) => from.once("message", (message) => resolve(message as A)))

/** About as large as the updates of a real task. */
const updatedFields = Array.from({ length: 12 }, (_, i) => `a field of the task, number ${i}`)

/** Runs one of the two with clients. */
export const run = (
  mode: "gateway" | "bare",
  { clients, events, rate, skip, stalled }: Options
): Effect.Effect<Result> =>
  Effect.gen(function* () {
    const server = yield* MockMeshServer.make({ keepMessages: false })
    const forked = fork(fileURLToPath(import.meta.url), ["child", mode, server.url])
    yield* Effect.addFinalizer(() => Effect.sync(() => forked.kill()))
    const { port } = yield* Effect.promise(() => receive<{ port: number }>(forked))
    const sentAt = new Float64Array(events + 1)
    const { connect, latency } = makeClients(port, sentAt)
    const all = yield* Effect.forEach(
      Array.from({ length: clients }, (_, i) => i),
      (i) => connect(i, i < stalled),
      { concurrency: 50 }
    )
    const readers = all.slice(stalled)
    const ask = Effect.promise(() => {
      forked.send("usage")
      return receive<Usage>(forked)
    })
    const before = yield* ask
    const start = performance.now()
    for (let n = 1; n <= events; n++) {
      sentAt[n] = performance.now()
      if (n === skip) continue
      const taskId = TaskId.make(`task ${n % 100}`)
      yield* server.emit({ _tag: "TaskUpdated", taskId, version: n, status: "running", updatedFields })
      const due = start + (n * 1000) / rate - performance.now()
      if (due > 0) yield* Effect.sleep(due)
    }
    while (readers.some(({ isBroken, received }) => received < events && !isBroken)) yield* Effect.sleep(10)
    const seconds = (performance.now() - start) / 1000
    const after = yield* ask
    const deliveries = readers.length * events
    return {
      mode: stalled === 0 ? mode : `${mode}, ${stalled} stalled`,
      microsPerDelivery: ((after.cpuMillis - before.cpuMillis) * 1000) / deliveries,
      deliveriesPerSecond: deliveries / seconds,
      rssMiB: after.rssMiB,
      complete: readers.filter(({ isBroken, received }) => received === events && !isBroken).length,
      p50Millis: latency.percentile(0.5),
      p99Millis: latency.percentile(0.99),
      closedAsSlow: after.closedAsSlow,
      dropped: after.dropped
    }
  }).pipe(Effect.scoped, Effect.orDie)

const main = Effect.gen(function* () {
  const [clients = 1000, events = 300, rate = Infinity, stalled = 0] = process.argv.slice(2).map(Number)
  const options = { clients, events, rate, stalled: 0 }
  const bareResult = yield* run("bare", options)
  const gatewayResult = yield* run("gateway", options)
  const stalledResult = stalled === 0 ? undefined : yield* run("gateway", { ...options, stalled })
  const ratio = (name: "microsPerDelivery" | "deliveriesPerSecond" | "rssMiB" | "p50Millis" | "p99Millis") =>
    (gatewayResult[name] / bareResult[name]).toFixed(2)
  yield* Effect.sync(() => {
    console.table([bareResult, gatewayResult, ...(stalledResult === undefined ? [] : [stalledResult])])
    console.log(
      `gateway to bare: deliveries a second ${ratio("deliveriesPerSecond")}, CPU for each ${ratio("microsPerDelivery")}, ` +
        `memory ${ratio("rssMiB")}, latency ${ratio("p50Millis")} (median), ${ratio("p99Millis")} (99th percentile)`
    )
    if (stalledResult === undefined) return
    const to = (name: "p50Millis" | "p99Millis") => (stalledResult[name] / gatewayResult[name]).toFixed(2)
    console.log(
      `with stalled clients to without: latency ${to("p50Millis")} (median), ${to("p99Millis")} (99th percentile); ` +
        `${stalledResult.complete} of ${clients - stalled} complete`
    )
  })
})

if (process.argv[1] === import.meta.filename) {
  if (process.argv[2] === "child") child(process.argv[3] ?? "", process.argv[4] ?? "")
  else await Effect.runPromise(main)
}
