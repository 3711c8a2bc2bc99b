/** The rows that do not measure throughput: latency, memory, resubscription, and the size of core in a bundle. */
import * as Workload from "@makima-stream/test-kit/Workload"
import * as Bundle from "./bundle.ts"
import * as Dashboard from "./dashboard.ts"
import * as Imports from "./imports.ts"
import * as JetStream from "./jetstream.ts"
import * as Sqlite from "./sqlite.ts"
import * as Payload from "./payload.ts"
import * as Processes from "./processes.ts"
import type { Order } from "./scenario.ts"
import { median } from "./statistics.ts"

export interface Result {
  readonly id: string
  readonly what: string
  readonly unit: string
  /** The median of the runs. */
  readonly value: number
  readonly runs: ReadonlyArray<number>
  /** The largest allowed value. */
  readonly target?: number
  /** The smallest allowed value. */
  readonly least?: number
}

interface Scenario {
  readonly id: string
  readonly run: (options: Options) => Promise<ReadonlyArray<Result>>
}

export interface Options {
  readonly quick: boolean
}

/** How many messages each of the connections of a client must have sent before the server sends data. */
interface Ready {
  readonly expects: number
  readonly connections: number
}

const withClient = async <A>(
  use: (server: Processes.Server, send: (order: Order) => Promise<Ready>, next: <M>() => Promise<M>) => Promise<A>,
  nodeOptions: ReadonlyArray<string> = []
): Promise<A> => {
  const server = await Processes.startServer()
  const child = Processes.start("scenario.ts", nodeOptions)
  try {
    return await use(
      server,
      (order) => {
        child.send(order)
        return Processes.next<Ready>(child)
      },
      () => Processes.next(child)
    )
  } finally {
    await Processes.end(child)
    server.stop()
  }
}

const repeat = async <A>(times: number, run: () => Promise<A>): Promise<ReadonlyArray<A>> => {
  const results: Array<A> = []
  for (let n = 0; n < times; n++) results.push(await run())
  return results
}

const row = (id: string, what: string, unit: string, runs: ReadonlyArray<number>, target?: number): Result => ({
  id,
  what,
  unit,
  value: median(runs),
  runs,
  ...(target === undefined ? {} : { target })
})

/**
 * The process is warmed up first, since at 100 events a second V8 needs minutes to
 * compile the code. The warm-up uses separate events, because most of the latency is the
 * cost of a read, and a flood has hundreds of events in one read. The figure is the
 * difference to the bare loop.
 */
const latency: Scenario = {
  id: "latency",
  async run({ quick }) {
    const tasks = 24
    const payload = Payload.make("makima", tasks)
    const wanted = Workload.taskIds({ tasks })
    const once = (variant: "bare" | "connect" | "client" | "pair") =>
      withClient(async (server, send, next) => {
        const rounds = 10
        const warm = rounds * (payload.events / 5) * 4
        const samples = quick ? 300 : 500
        const { connections, expects } = await send({
          kind: "latency",
          port: server.port,
          variant,
          wanted,
          warm,
          samples
        })
        await server.awaitPeer(expects, connections)
        await server.play({ tasks, rate: "apart", rounds })
        await next()
        await server.play({ tasks, rate: 100 })
        return next<{ readonly median: number; readonly p99: number }>()
      })
    // Some processes are slow from start to end, so a median of two would be unreliable.
    const runs = await repeat(quick ? 1 : 5, async () => ({
      bare: await once("bare"),
      connect: await once("connect"),
      client: await once("client"),
      pair: await once("pair")
    }))
    type Run = (typeof runs)[number]
    const addedMedian = ({ bare, pair }: Run) => pair.median - bare.median
    const addedP99 = ({ bare, pair }: Run) => pair.p99 - bare.p99
    const of = (id: string, what: string, value: (run: Run) => number, target?: number) =>
      row(`latency-${id}`, `latency at 100 events/s, ${what}`, "µs", runs.map(value), target)
    return [
      of("bare-median", "the bare loop: median", ({ bare }) => bare.median),
      of("bare-p99", "the bare loop: 99th percentile", ({ bare }) => bare.p99),
      of("connect-median", "MeshStream.connect adds: median", ({ bare, connect }) => connect.median - bare.median, 50),
      of("connect-p99", "MeshStream.connect adds: 99th percentile", ({ bare, connect }) => connect.p99 - bare.p99, 250),
      of("client-median", "MeshClient adds: median", ({ bare, client }) => client.median - bare.median, 50),
      of("client-p99", "MeshClient adds: 99th percentile", ({ bare, client }) => client.p99 - bare.p99, 250),
      of("pair-median", "MeshStream.connect with two connections adds: median", addedMedian, 50),
      of("pair-p99", "MeshStream.connect with two connections adds: 99th percentile", addedP99, 250)
    ]
  }
}

const memory = (variant: "connect" | "client"): Scenario => ({
  id: "memory",
  async run({ quick }) {
    const tasks = 24
    const megabytes = quick ? 100 : 500
    const { bytes, events: perRound } = Payload.make("makima", tasks)
    // Whole rounds, so that the number of events is known.
    const times = Math.ceil((megabytes * 1e6) / bytes.length)
    const events = times * perRound
    const runs = await repeat(quick ? 1 : 2, () =>
      withClient(async (server, send, next) => {
        const wanted = Workload.taskIds({ tasks })
        await send({ kind: "memory", port: server.port, variant, wanted, events })
        await server.play({ tasks, rounds: times })
        const { idle, peak } = await next<{ readonly idle: number; readonly peak: number }>()
        return (peak - idle) / 1e6
      })
    )
    const name = variant === "connect" ? "MeshStream.connect" : "MeshClient"
    return [
      row(`memory-${variant}`, `peak RSS above idle: ${megabytes} MB for a slow consumer of ${name}`, "MB", runs, 40)
    ]
  }
})

/** What two connections need more than one, for 1,000 live tasks: the places of all updates and outputs. */
const tasks: Scenario = {
  id: "tasks",
  async run({ quick }) {
    const tasks = 1000
    const rounds = 2
    const wanted = Workload.taskIds({ tasks })
    const events = Payload.roundLength(tasks) * rounds
    const once = (count: 1 | 2) =>
      withClient(
        async (server, send, next) => {
          const order = { kind: "tasks", port: server.port, connections: count, wanted, events } as const
          const { connections, expects } = await send(order)
          await server.awaitPeer(expects, connections)
          await server.play({ tasks, rounds })
          return (await next<{ readonly bytes: number }>()).bytes / 1e6
        },
        ["--expose-gc"]
      )
    const runs = await repeat(quick ? 1 : 3, async () => ({ one: await once(1), two: await once(2) }))
    const what = "heap after 40,000 events of 1,000 live tasks"
    return [
      row(
        "tasks-one",
        `${what}, MeshClient`,
        "MB",
        runs.map(({ one }) => one)
      ),
      row(
        "tasks-two",
        `${what}, what two connections add`,
        "MB",
        runs.map(({ one, two }) => two - one),
        4
      )
    ]
  }
}

const idle: Scenario = {
  id: "idle",
  async run({ quick }) {
    const runs = await repeat(quick ? 1 : 3, () =>
      withClient(
        async (server, send, next) => {
          await send({ kind: "idle", port: server.port, consumers: 10_000 })
          return next<{ readonly bytes: number; readonly fiberBytes: number }>()
        },
        ["--expose-gc"]
      )
    )
    return [
      row(
        "idle",
        "an idle per-task consumer, its fiber included",
        "bytes",
        runs.map(({ bytes }) => bytes),
        10_000
      ),
      row(
        "idle-fiber",
        "a fiber that does nothing",
        "bytes",
        runs.map(({ fiberBytes }) => fiberBytes)
      )
    ]
  }
}

const resubscribe: Scenario = {
  id: "resubscribe",
  async run({ quick }) {
    const tasks = 10_000
    const runs = await withClient(async (server, send, next) => {
      const { expects } = await send({ kind: "resubscribe", port: server.port, tasks })
      await server.awaitPeer(expects)
      return repeat(quick ? 3 : 9, async () => {
        const marked = next<{ readonly markAt: number; readonly unconfirmed: number }>()
        await server.drop()
        const { elapsedMillis, openedAt } = await server.awaitPeer(expects)
        const { markAt, unconfirmed } = await marked
        if (unconfirmed > 0) throw new Error(`${unconfirmed} of ${tasks} subscriptions were not confirmed`)
        return { requests: elapsedMillis, mark: markAt - openedAt }
      })
    })
    const of = (id: string, end: string, value: (run: (typeof runs)[number]) => number, target: number) =>
      row(id, `resubscribing 10,000 tasks, from the handshake to ${end}`, "ms", runs.map(value), target)
    return [
      of("resubscribe", "the last request", ({ requests }) => requests, 100),
      of("resubscribe-mark", "the mark", ({ mark }) => mark, 150)
    ]
  }
}

const imports: Scenario = {
  id: "import",
  run: async ({ quick }) => [
    row(
      "import",
      "CPU of importing core, over effect/Stream and effect/Schema",
      "×",
      await Imports.measure(quick ? 5 : 15),
      1.3
    )
  ]
}

const bundle: Scenario = {
  id: "bundle",
  async run() {
    const { all, client, connect, program } = await Bundle.measure()
    const kib = (bytes: number) => [bytes / 1024]
    return [
      row("bundle-client", "MeshClient, minified and gzipped, without effect", "KiB", kib(client), 16),
      row("bundle-connect", "MeshStream.connect, without effect", "KiB", kib(connect), 10),
      row("bundle-all", "every module of core, without effect", "KiB", kib(all)),
      row("bundle-program", "a small program, with effect", "KiB", kib(program))
    ]
  }
}

/** The log on JetStream: rates over those of the bare client. */
const jetStream: Scenario = {
  id: "jetstream",
  run: async ({ quick }) => {
    if (!JetStream.isInstalled()) {
      process.stderr.write("jetstream: skipped, because nats-server is not installed\n")
      return []
    }
    const { consume, publish } = await JetStream.measure({ count: quick ? 20_000 : 50_000, rounds: quick ? 3 : 7 })
    return [
      { ...row("jetstream", "append to JetStream, rate over the bare client", "×", publish), least: 0.7 },
      { ...row("jetstream", "read from JetStream, rate over the bare client", "×", consume), least: 0.7 }
    ]
  }
}

/** The log in SQLite: rates over those of bare statements. */
const sqlite: Scenario = {
  id: "sqlite",
  run: async ({ quick }) => {
    const { append, open, replay } = await Sqlite.measure({ count: quick ? 50_000 : 100_000, rounds: quick ? 3 : 7 })
    return [
      { ...row("sqlite", "append to SQLite, rate over bare batched inserts", "×", append), least: 0.6 },
      {
        ...row("sqlite", "replay from SQLite through events and outputOnly, rate over bare row reads", "×", replay),
        least: 0.5
      },
      row("sqlite-open", "opening a log of a million events in SQLite", "ms", open, 200)
    ]
  }
}

/** The page of the gateway in Chromium. */
const dashboard: Scenario = {
  id: "dashboard",
  run: async ({ quick }) => {
    if (Dashboard.executable() === undefined) {
      process.stderr.write("dashboard: skipped, because Chromium is not installed\n")
      return []
    }
    const runs = await Dashboard.measure({ seconds: quick ? 5 : 20, rounds: quick ? 1 : 3 })
    const of = (id: string, what: string, value: (run: (typeof runs)[number]) => number, target?: number) =>
      row(id, `the dashboard with 1,000 tasks at 500 events/s, ${what}: 99th percentile`, "ms", runs.map(value), target)
    return [
      of("dashboard", "main-thread CPU time of a frame", ({ cpu }) => cpu, 50),
      of("dashboard-interval", "from one frame to the next", ({ interval }) => interval)
    ]
  }
}

export const scenarios: ReadonlyArray<Scenario> = [
  latency,
  memory("connect"),
  memory("client"),
  tasks,
  idle,
  resubscribe,
  imports,
  bundle,
  sqlite,
  jetStream,
  dashboard
]
