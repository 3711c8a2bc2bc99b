/**
 * The log on JetStream against the bare NATS client on the same server. Each round
 * runs both, one after the other, with streams of their own.
 */
import { AckPolicy, jetstream, jetstreamManager, StorageType, type JetStreamManager } from "@nats-io/jetstream"
import { connect, type NatsConnection } from "@nats-io/transport-node"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { TaskId } from "@makima-stream/core/TaskId"
import type { NewEvent, Service } from "@makima-stream/log/MeshLog"
import * as JetStreamLog from "@makima-stream/nats/JetStreamLog"
import { spawn, spawnSync, type ChildProcess } from "node:child_process"
import { once } from "node:events"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"

/** Rates of the log over those of the bare client, one for each round. */
export interface JetStream {
  readonly publish: ReadonlyArray<number>
  readonly consume: ReadonlyArray<number>
}

/** How many messages are published before their acknowledgements are awaited. */
const window = 1000

/** Whether a NATS server is installed. */
export const isInstalled = (): boolean => spawnSync("nats-server", ["--version"]).status === 0

const startServer = async (directory: string): Promise<readonly [ChildProcess, string]> => {
  const child = spawn("nats-server", ["--jetstream", "--store_dir", directory, "--addr", "127.0.0.1", "--port", "-1"], {
    stdio: ["ignore", "ignore", "pipe"]
  })
  let text = ""
  const url = new Promise<string>((resolve, reject) => {
    child.stderr?.setEncoding("utf8").on("data", (chunk: string) => {
      text += chunk
      const found = /client connections on [^\s]*:(\d+)[\s\S]*Server is ready/.exec(text)
      if (found?.[1] !== undefined) resolve(`nats://127.0.0.1:${found[1]}`)
    })
    child.once("exit", () => reject(new Error(`nats-server ended:\n${text}`)))
  })
  return [child, await url]
}

const events = (count: number): ReadonlyArray<NewEvent> =>
  Array.from({ length: count }, (_, n) => ({
    id: `o:1:bench:1:task-${n % 20}:${n}`,
    event: {
      _tag: "TaskOutput",
      taskId: TaskId.make(`task-${n % 20}`),
      messageType: "assistant",
      content: `Line ${n}: the agent reads a file, thinks about it, and writes what it has found.`
    }
  }))

/** Seconds. */
const time = async (run: () => Promise<unknown>): Promise<number> => {
  const start = performance.now()
  await run()
  return (performance.now() - start) / 1000
}

/** A side of the comparison: how long it takes to publish all events, and to read them. */
interface Side {
  readonly publish: () => Promise<number>
  readonly consume: () => Promise<number>
}

const bare = (nc: NatsConnection, jsm: JetStreamManager, name: string, batch: ReadonlyArray<NewEvent>): Side => {
  const js = jetstream(nc)
  return {
    publish: () =>
      time(async () => {
        for (let n = 0; n < batch.length; n += window) {
          await Promise.all(
            batch
              .slice(n, n + window)
              .map(({ event, id }) => js.publish(`${name}.events`, JSON.stringify(event), { msgID: id }))
          )
        }
      }),
    consume: async () => {
      const { name: consumer } = await jsm.consumers.add(name, { ack_policy: AckPolicy.None })
      const messages = await (await js.consumers.get(name, consumer)).consume({ max_messages: window })
      const seconds = await time(async () => {
        let count = 0
        for await (const message of messages) {
          message.json()
          if (++count === batch.length) break
        }
      })
      await jsm.consumers.delete(name, consumer)
      return seconds
    }
  }
}

const kept = (log: Service, batch: ReadonlyArray<NewEvent>): Side => ({
  publish: () =>
    time(async () => {
      for (let n = 0; n < batch.length; n += window) await Effect.runPromise(log.append(batch.slice(n, n + window)))
    }),
  consume: () => time(() => Effect.runPromise(Stream.runDrain(log.read())))
})

/** How often each side reads in a round. The fastest one counts: other processes slow some of them. */
const reads = 5

const compare = async (bare: Side, kept: Side) => {
  const publish = (await bare.publish()) / (await kept.publish())
  let [bareBest, keptBest] = [Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY]
  for (let read = 0; read < reads; read++) {
    bareBest = Math.min(bareBest, await bare.consume())
    keptBest = Math.min(keptBest, await kept.consume())
  }
  return { publish, consume: bareBest / keptBest }
}

/** Measures `rounds` rounds, after one that is not counted. */
export const measure = async ({
  count,
  rounds
}: {
  readonly count: number
  readonly rounds: number
}): Promise<JetStream> => {
  const directory = mkdtempSync(join(tmpdir(), "makima-bench-nats-"))
  const [server, url] = await startServer(directory)
  try {
    const batch = events(count)
    const publish: Array<number> = []
    const consume: Array<number> = []
    for (let round = 0; round <= rounds; round++) {
      // A connection of its own, as the log has.
      const nc = await connect({ servers: url })
      const jsm = await jetstreamManager(nc)
      const name = `bare${round}`
      await jsm.streams.add({ name, subjects: [`${name}.>`], storage: StorageType.File })
      const ratios = await Effect.runPromise(
        Effect.scoped(
          Effect.flatMap(JetStreamLog.make({ servers: url, feed: `bench${round}` }), (log) =>
            Effect.promise(() => compare(bare(nc, jsm, name, batch), kept(log, batch)))
          )
        )
      )
      await nc.close()
      if (round === 0) continue
      publish.push(ratios.publish)
      consume.push(ratios.consume)
    }
    return { publish, consume }
  } finally {
    server.kill("SIGKILL")
    await once(server, "exit")
    rmSync(directory, { recursive: true, force: true })
  }
}
