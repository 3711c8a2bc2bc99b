/**
 * What the built command costs: `node bench/src/cli.ts [start,tail,sleeping,top]`.
 * Linux only, because it reads the processor time of processes from `/proc`.
 *
 * - `start`: the wall time of `--version`, and of `tail` up to its first event, as
 *   multiples of `node -e 0` in the same run.
 * - `tail`: the events a second of processor time that `tail -o json` writes into a
 *   pipe, as a share of what the bare loop (`bare` of `pnpm bench`) reads.
 * - `sleeping`: the memory of `tail -o json` while its reader sleeps and 10 million
 *   events wait.
 * - `top`: the share of a core that `top` takes with 1,000 tasks at 500 events a
 *   second, and its writes a frame.
 */
import { spawn, type ChildProcess } from "node:child_process"
import { once } from "node:events"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import * as Workload from "@makima-stream/test-kit/Workload"
import type { Order } from "./client.ts"
import type { Usage } from "./meter.ts"
import * as Payload from "./payload.ts"
import * as Processes from "./processes.ts"
import { median } from "./statistics.ts"

const program = join(import.meta.dirname, "../../packages/cli/dist/bin/makima-stream.js")
const tasks = 24
const pause = (millis: number) => new Promise((resolve) => setTimeout(resolve, millis))

/** The processor time of a process in milliseconds: user and system. */
const cpuOf = (pid: number): number => {
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8")
    .replace(/^.*\) /, "")
    .split(" ")
  return (Number(fields[11]) + Number(fields[12])) * 10
}

const memoryOf = (pid: number): number =>
  Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]) / 1024

const stop = async (child: ChildProcess): Promise<void> => {
  const exited = once(child, "exit")
  child.kill("SIGKILL")
  await exited
}

const tail = (port: number): ChildProcess =>
  spawn(process.execPath, [program, "tail", "--url", `http://127.0.0.1:${port}`, "-o", "json"], {
    stdio: ["ignore", "pipe", "inherit"]
  })

/** The median wall time of a run, in milliseconds. */
const timed = async (rounds: number, run: () => Promise<void>): Promise<number> => {
  const times: Array<number> = []
  for (let round = 0; round < rounds; round++) {
    const start = performance.now()
    await run()
    times.push(performance.now() - start)
  }
  return median(times)
}

const measureStart = async (): Promise<void> => {
  const server = await Processes.startServer()
  const node =
    (...args: ReadonlyArray<string>) =>
    async () => {
      await once(spawn(process.execPath, args, { stdio: "ignore" }), "exit")
    }
  const first = async () => {
    const child = tail(server.port)
    await server.awaitPeer(1)
    await server.play({ tasks, rounds: 1 })
    let text = ""
    for await (const chunk of child.stdout ?? []) {
      text += String(chunk)
      if (text.includes("TaskUpdated")) break
    }
    await stop(child)
  }
  const none = await timed(9, node("-e", "0"))
  const version = await timed(9, node(program, "--version"))
  // Keeps the compiled code, as any run does that ends by itself.
  await node(program, "tail", "--nope")()
  const event = await timed(9, first)
  console.log(`start: node -e 0 ${none.toFixed(0)} ms; --version ${(version / none).toFixed(2)} times (at most 5)`)
  console.log(`start: tail to its first event ${(event / none).toFixed(2)} times (at most 10)`)
  server.stop()
}

/** The processor time of an event in the bare loop, in microseconds. */
const bare = async (server: Processes.Server, warmRounds: number, rounds: number): Promise<number> => {
  const wanted = Workload.taskIds({ tasks })
  const length = Payload.roundLength(tasks)
  const outputs = (length / 5) * 4
  const child = Processes.start("client.ts")
  const order: Order = {
    port: server.port,
    variant: "bare",
    jit: false,
    wanted,
    warm: outputs * warmRounds,
    measured: outputs * rounds
  }
  child.send(order)
  const { expects } = await Processes.next<{ readonly expects: number }>(child)
  await server.awaitPeer(expects)
  await server.play({ tasks })
  const { cpuMillis } = await Processes.next<Usage>(child)
  await Processes.end(child)
  return (cpuMillis * 1000) / (length * rounds)
}

/** The same of `tail -o json`, from line to line. */
const piped = async (server: Processes.Server, warmRounds: number, rounds: number): Promise<number> => {
  const length = Payload.roundLength(tasks)
  const child = tail(server.port)
  await server.awaitPeer(1)
  await server.play({ tasks })
  let lines = 0
  let startCpu = 0
  let startLines = 0
  for await (const chunk of child.stdout ?? []) {
    for (const byte of chunk as Buffer) if (byte === 10) lines++
    if (startLines === 0 && lines >= length * warmRounds) {
      startLines = lines
      startCpu = cpuOf(child.pid ?? 0)
    }
    if (startLines > 0 && lines - startLines >= length * rounds) break
  }
  const micros = ((cpuOf(child.pid ?? 0) - startCpu) * 1000) / (lines - startLines)
  await stop(child)
  return micros
}

const measureTail = async (): Promise<void> => {
  const server = await Processes.startServer()
  const ratios: Array<number> = []
  for (let round = 0; round < 5; round++) {
    const reference = await bare(server, 5, 15)
    const own = await piped(server, 5, 15)
    ratios.push(reference / own)
    console.log(`tail: bare ${reference.toFixed(2)} us, tail -o json ${own.toFixed(2)} us an event`)
  }
  console.log(`tail: ${median(ratios).toFixed(2)} of the bare loop (at least 0.5)`)
  server.stop()
}

const measureSleeping = async (): Promise<void> => {
  const server = await Processes.startServer()
  const child = tail(server.port)
  await server.awaitPeer(1)
  const rounds = Math.ceil(10_000_000 / Payload.roundLength(tasks))
  await server.play({ tasks, rounds })
  const samples: Array<number> = []
  for (let second = 0; second < 15; second++) {
    await pause(1000)
    samples.push(memoryOf(child.pid ?? 0))
  }
  const [before, after] = [samples[4] ?? 0, samples.at(-1) ?? 0]
  console.log(
    `sleeping: ${before.toFixed(0)} MiB after 5 s, ${after.toFixed(0)} MiB after 15 s, while 10 million events wait`
  )
  await stop(child)
  server.stop()
}

const measureTop = async (): Promise<void> => {
  const server = await Processes.startServer()
  const seconds = 10
  const line = `stty cols 160 rows 50; echo $$ >&2; exec ${process.execPath} ${program} top --url http://127.0.0.1:${server.port}`
  const child = spawn("script", ["-q", "-f", "-c", line, "/dev/null"], { stdio: ["pipe", "pipe", "inherit"] })
  let text = ""
  child.stdout.on("data", (chunk) => (text += String(chunk)))
  await server.awaitPeer(1)
  const pid = Number(/\d+/.exec(text)?.[0])
  await server.play({ tasks: 1000, rate: 500 })
  // Until every task is on the board.
  await pause(12_000)
  const [startCpu, startFrames] = [cpuOf(pid), text.split("\u001b[?2026h").length]
  await pause(seconds * 1000)
  const share = (cpuOf(pid) - startCpu) / (seconds * 1000)
  const frames = text.split("\u001b[?2026h").length - startFrames
  console.log(
    `top: ${(share * 100).toFixed(1)} % of a core (less than 30), ${(frames / seconds).toFixed(1)} frames a second, a write each`
  )
  child.kill("SIGKILL")
  server.stop()
}

const parts: Readonly<Record<string, () => Promise<void>>> = {
  start: measureStart,
  tail: measureTail,
  sleeping: measureSleeping,
  top: measureTop
}

for (const name of process.argv[2]?.split(",") ?? Object.keys(parts)) await parts[name]?.()
process.exit()
