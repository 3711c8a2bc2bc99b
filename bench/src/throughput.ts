/** The throughput rows: the variants take turns in rounds, and each run is a new process. */
import * as Workload from "@makima-stream/test-kit/Workload"
import type { Order } from "./client.ts"
import type { Usage } from "./meter.ts"
import * as Payload from "./payload.ts"
import * as Processes from "./processes.ts"
import * as Rows from "./rows.ts"
import { median } from "./statistics.ts"

export interface Options {
  readonly rows: ReadonlyArray<Rows.ThroughputRow>
  readonly rounds: number
  /** The number of events before the measurement, and the number of measured events. */
  readonly warmEvents: number
  readonly measuredEvents: number
  /** Passed to the Node of the clients. */
  readonly nodeOptions: ReadonlyArray<string>
}

export interface Result {
  readonly id: string
  readonly what: string
  readonly reference: string
  readonly target?: number
  /** Medians, in microseconds an event. */
  readonly cpuMicros: number
  readonly wallMicros: number
  /** Medians of the ratios of each round: how many times faster than the reference. */
  readonly cpuRatio: number
  readonly wallRatio: number
}

interface Sample {
  readonly wall: number
  readonly cpu: number
}

/** The events and contents that a consumer of these tasks must receive in one round of the payload. */
const matches = (tasks: number, wanted: ReadonlySet<string>) => {
  let outputs = 0
  let chars = 0
  let left = Payload.roundLength(tasks)
  for (const message of Workload.endless({ tasks })) {
    if (left-- === 0) break
    if (message._tag === "TaskOutput" && wanted.has(message.taskId)) {
      outputs++
      chars += message.content.length
    }
  }
  return { outputs, chars }
}

const runOnce = async (server: Processes.Server, row: Rows.ThroughputRow, options: Options): Promise<Sample> => {
  const { tasks } = row
  const wanted = Workload.taskIds({ tasks }).slice(0, row.wanted)
  const perRound = matches(tasks, new Set(wanted))
  const roundEvents = Payload.roundLength(tasks)
  const warmRounds = Math.ceil(options.warmEvents / roundEvents)
  const measuredRounds = Math.ceil(options.measuredEvents / roundEvents)
  const order: Order = {
    port: server.port,
    variant: row.variant,
    jit: row.jit ?? false,
    wanted,
    warm: perRound.outputs * warmRounds,
    measured: perRound.outputs * measuredRounds
  }
  const child = Processes.start("client.ts", options.nodeOptions)
  try {
    child.send(order)
    const { connections, expects } = await Processes.next<{
      readonly expects: number
      readonly connections: number
    }>(child)
    await server.awaitPeer(expects, connections)
    await server.play({ tasks })
    const usage = await Processes.next<Usage>(child)
    if (usage.chars !== perRound.chars * measuredRounds) throw new Error(`${row.id} did not receive what was sent`)
    const events = measuredRounds * roundEvents
    return { wall: (usage.wallMillis * 1000) / events, cpu: (usage.cpuMillis * 1000) / events }
  } finally {
    await Processes.end(child)
  }
}

export const measure = async (options: Options): Promise<ReadonlyArray<Result>> => {
  const { rounds, rows } = options
  const samples = rows.map((): Array<Sample> => [])
  const server = await Processes.startServer()
  try {
    for (let round = 0; round < rounds; round++) {
      // Each round starts with another variant, so that no variant always runs after the same one.
      for (let n = 0; n < rows.length; n++) {
        const index = (n + round) % rows.length
        const row = rows[index]
        if (row !== undefined) samples[index]?.push(await runOnce(server, row, options))
      }
      process.stderr.write(`throughput: round ${round + 1} of ${rounds}\n`)
    }
  } finally {
    server.stop()
  }
  return rows.map((row, index): Result => {
    const own = samples[index] ?? []
    const reference = samples[rows.findIndex(({ id }) => id === row.reference)] ?? []
    const ratio = (of: (sample: Sample) => number): number =>
      median(own.map((sample, round) => of(reference[round] ?? sample) / of(sample)))
    return {
      id: row.id,
      what: row.what,
      reference: row.reference,
      ...(row.target === undefined ? {} : { target: row.target }),
      cpuMicros: median(own.map(({ cpu }) => cpu)),
      wallMicros: median(own.map(({ wall }) => wall)),
      cpuRatio: ratio(({ cpu }) => cpu),
      wallRatio: ratio(({ wall }) => wall)
    }
  })
}
