/**
 * The dashboard in Chromium while 1,000 tasks send 500 events a second.
 *
 * A frame is everything that the main thread of the page does between two animation frames: messages of the feed, the
 * scripts of the page, style, layout and paint. Its time is CPU time from Chromium's own trace, so other programs on the
 * machine do not count. The interval between two frames is wall-clock time, as a person sees it.
 */
import * as Arr from "effect/Array"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as TaskId from "@makima-stream/core/TaskId"
import type { ServerMessage } from "@makima-stream/core/ServerMessage"
import * as Dashboard from "@makima-stream/gateway/Dashboard"
import * as Gateway from "@makima-stream/gateway/Gateway"
import * as NodeMeshSocket from "@makima-stream/node/NodeMeshSocket"
import * as MockMeshServer from "@makima-stream/test-kit/MockMeshServer"
import { execFileSync } from "node:child_process"
import { existsSync } from "node:fs"
import { delimiter, join, resolve } from "node:path"
import { chromium, type Page } from "playwright-core"

const tasks = 1000
const eventsPerSecond = 500

/** The 99th percentiles of one run, in milliseconds. */
export interface Frames {
  /** The CPU time of a frame. */
  readonly cpu: number
  /** The time from one frame to the next. */
  readonly interval: number
}

/** The path of Chromium; `undefined` if it is not installed. */
export const executable = (): string | undefined => {
  const { CHROMIUM, PATH = "" } = process.env
  if (CHROMIUM !== undefined && CHROMIUM !== "") return CHROMIUM
  return PATH.split(delimiter)
    .map((directory) => join(directory, "chromium"))
    .find((path) => existsSync(path))
}

const ids = Array.from({ length: tasks }, (_, n) => TaskId.make(`0f5c1e2a-7b1d-4c57-9d2f-${`${n}`.padStart(12, "0")}`))

/** The `n`-th event: mostly output, with an update in every tenth place and a cost in every fiftieth. */
const event = (n: number): ServerMessage => {
  // 389 and 1,000 have no common factor, so every task has its turn.
  const taskId = ids[(n * 389) % tasks] ?? TaskId.make("none")
  if (n % 10 === 0) return { _tag: "TaskUpdated", taskId, version: 2 + n, status: n % 40 === 0 ? "blocked" : "running" }
  if (n % 50 === 1) return { _tag: "TaskOutput", taskId, messageType: "result", content: "Done.", costUsd: 0.01 }
  const content = `${n}: The agent reads a file, thinks about it, and writes what it has found.`
  return { _tag: "TaskOutput", taskId, messageType: n % 7 === 0 ? "tool_use" : "assistant", content }
}

const percentile = (values: ReadonlyArray<number>, part: number): number =>
  values.toSorted((a, b) => a - b)[Math.min(values.length - 1, Math.floor(values.length * part))] ?? Number.NaN

/** Of a trace of Chromium. Times are in microseconds. */
interface TraceEvent {
  readonly name: string
  readonly pid: number
  readonly tid: number
  /** When it began, and how long it took. */
  readonly ts: number
  readonly dur?: number
  /** The CPU time that it took. */
  readonly tdur?: number
}

/** Occur in the task that renders a frame. */
const rendering: ReadonlySet<string> = new Set(["FireAnimationFrame", "Commit"])

/** The CPU time in milliseconds of each frame of the busiest thread of the trace, which is the main thread of the page. */
const cpuOfFrames = (trace: ReadonlyArray<TraceEvent>): ReadonlyArray<number> => {
  const threads = Arr.groupBy(trace, ({ pid, tid }) => `${pid} ${tid}`)
  const ofThread = (events: ReadonlyArray<TraceEvent>): ReadonlyArray<number> => {
    const marks = events.filter(({ name }) => rendering.has(name)).map(({ ts }) => ts)
    marks.sort((a, b) => a - b)
    const frames: Array<number> = []
    let cpu = 0
    let next = 0
    for (const task of events.filter(({ name }) => name === "RunTask").toSorted((a, b) => a.ts - b.ts)) {
      cpu += (task.tdur ?? 0) / 1000
      const end = task.ts + (task.dur ?? 0)
      const before = next
      while ((marks[next] ?? Number.POSITIVE_INFINITY) <= end) next++
      if (next === before) continue
      frames.push(cpu)
      cpu = 0
    }
    return frames
  }
  const sum = (values: ReadonlyArray<number>): number => values.reduce((total, value) => total + value, 0)
  const [frames = []] = Object.values(threads)
    .map(ofThread)
    .toSorted((a, b) => sum(b) - sum(a))
  return frames
}

const record = (page: Page): Promise<void> =>
  page.evaluate(() => {
    const times: Array<number> = []
    Object.assign(globalThis, { frameTimes: times })
    const next = (time: number): void => {
      times.push(time)
      requestAnimationFrame(next)
    }
    requestAnimationFrame(next)
  })

const recorded = (page: Page): Promise<ReadonlyArray<number>> =>
  page.evaluate(() => (globalThis as unknown as { readonly frameTimes: ReadonlyArray<number> }).frameTimes)

const run = (seconds: number): Effect.Effect<Frames, unknown, Scope.Scope> =>
  Effect.gen(function* () {
    const server = yield* MockMeshServer.make({ keepMessages: false })
    const assets = yield* Dashboard.assets()
    const gateway = yield* Gateway.make({ port: 0, assets }).pipe(
      Effect.provide(NodeMeshSocket.layer({ url: server.url }))
    )
    const browser = yield* Effect.acquireRelease(
      Effect.promise(() => chromium.launch({ executablePath: executable() ?? "chromium", args: ["--disable-gpu"] })),
      (browser) => Effect.promise(() => browser.close())
    )
    const page = yield* Effect.promise(() => browser.newPage({ viewport: { width: 1280, height: 800 } }))
    yield* server.awaitReceived(({ message }) => message._tag === "SubscribeAll")
    yield* server.emitAll(ids.map((taskId) => ({ _tag: "TaskUpdated", taskId, version: 1, status: "running" })))
    const url = yield* gateway.loginUrl
    yield* Effect.promise(() => page.goto(url))
    // The page subscribes to the output of every task.
    const last = ids.at(-1)
    yield* server.awaitReceived(({ message }) => message._tag === "SubscribeOutput" && message.taskId === last)

    const play = (seconds: number, from: number) => {
      const every = 20
      const count = (eventsPerSecond * every) / 1000
      const times = (seconds * 1000) / every
      let n = from
      return Effect.gen(function* () {
        const start = performance.now()
        for (let tick = 1; tick <= times; tick++) {
          yield* server.emitAll(Array.from({ length: count }, () => event(n++)))
          yield* Effect.sleep(Math.max(0, start + tick * every - performance.now()))
        }
        return n
      })
    }
    // The first seconds compile the scripts.
    const from = yield* play(3, 0)
    yield* Effect.promise(() => record(page))
    yield* Effect.promise(() =>
      browser.startTracing(page, {
        categories: ["disabled-by-default-devtools.timeline", "devtools.timeline"]
      })
    )
    yield* play(seconds, from)
    const trace = yield* Effect.promise(() => browser.stopTracing())
    const times = yield* Effect.promise(() => recorded(page))
    const { traceEvents } = JSON.parse(trace.toString()) as { readonly traceEvents: ReadonlyArray<TraceEvent> }
    const intervals = times.slice(1).map((time, n) => time - (times[n] ?? time))
    return { cpu: percentile(cpuOfFrames(traceEvents), 0.99), interval: percentile(intervals, 0.99) }
  })

/** Runs the page. Builds it first. */
export const measure = async (options: { readonly seconds: number; readonly rounds: number }) => {
  execFileSync(process.execPath, [resolve(import.meta.dirname, "../../packages/gateway/scripts/dashboard.ts")])
  const runs: Array<Frames> = []
  for (let n = 0; n < options.rounds; n++) runs.push(await Effect.runPromise(Effect.scoped(run(options.seconds))))
  return runs
}
