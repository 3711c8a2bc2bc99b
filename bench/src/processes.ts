/** The processes of a run, and the messages between them. */
import { fork, type ChildProcess } from "node:child_process"
import { once } from "node:events"
import { join } from "node:path"

export interface Server {
  readonly port: number
  /** Sends the payload to every connected client. */
  readonly play: (how: {
    readonly tasks: number
    readonly rate?: number | "apart"
    readonly rounds?: number
  }) => Promise<void>
  /** Cuts every connection. */
  readonly drop: () => Promise<void>
  /** Waits until each of the connections, by default the only one, has sent this number of messages. Returns the first one. */
  readonly awaitPeer: (messages: number, connections?: number) => Promise<Peer>
  readonly stop: () => void
}

export interface Peer {
  readonly received: number
  /** When the connection opened, in milliseconds since 1970. */
  readonly openedAt: number
  /** The time from the opening to the last message. */
  readonly elapsedMillis: number
}

export const start = (file: string, nodeOptions: ReadonlyArray<string> = []): ChildProcess =>
  fork(join(import.meta.dirname, file), { execArgv: [...nodeOptions], stdio: ["ignore", "inherit", "inherit", "ipc"] })

/** Returns the next message of a process. Its type is agreed between the two files. Fails if the process ends. */
export const next = <A>(child: ChildProcess): Promise<A> =>
  new Promise((resolve, reject) => {
    const onExit = (code: number | null): void => reject(new Error(`A process of the benchmark ended with ${code}`))
    const patience = setTimeout(
      () => reject(new Error("A process of the benchmark sent no message for 5 minutes")),
      300_000
    )
    child.once("exit", onExit)
    child.once("message", (message) => {
      child.off("exit", onExit)
      clearTimeout(patience)
      resolve(message as A)
    })
  })

export const end = async (child: ChildProcess): Promise<void> => {
  if (child.exitCode !== null || child.signalCode !== null) return
  const exited = once(child, "exit")
  if (child.connected) child.disconnect()
  await exited
}

export const startServer = async (): Promise<Server> => {
  const child = start("server.ts")
  const { port } = await next<{ readonly port: number }>(child)
  const url = `http://127.0.0.1:${port}`
  return {
    port,
    async play(how) {
      const query = new URLSearchParams(Object.entries(how).map(([key, value]) => [key, String(value)]))
      await fetch(`${url}/play?${query}`)
    },
    async drop() {
      await fetch(`${url}/drop`)
    },
    async awaitPeer(messages, connections = 1) {
      const deadline = performance.now() + 60_000
      while (performance.now() < deadline) {
        const peers = (await (await fetch(`${url}/peers`)).json()) as ReadonlyArray<Peer>
        const [peer] = peers
        const isReady = peers.length === connections && peers.every(({ received }) => received >= messages)
        if (peer !== undefined && isReady) return peer
        await new Promise((resolve) => setTimeout(resolve, 20))
      }
      throw new Error(`No client sent ${messages} messages within a minute`)
    },
    stop: () => child.disconnect()
  }
}
