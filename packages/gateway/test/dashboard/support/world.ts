/**
 * The dashboard in Chromium: a mock server, a gateway with the built page, and a browser that has signed in. Between the
 * browser and the gateway, and between the gateway and the server, there is a proxy that can cut.
 */
import type { MeshEvent } from "@makima-stream/core/MeshEvent"
import type * as ServerMessage from "@makima-stream/core/ServerMessage"
import * as TaskId from "@makima-stream/core/TaskId"
import * as MemoryLog from "@makima-stream/log/MemoryLog"
import * as NodeMeshSocket from "@makima-stream/node/NodeMeshSocket"
import * as ChaosProxy from "@makima-stream/test-kit/ChaosProxy"
import * as MockMeshServer from "@makima-stream/test-kit/MockMeshServer"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Schedule from "effect/Schedule"
import * as Scope from "effect/Scope"
import type { Page } from "playwright-core"
import { mkdirSync } from "node:fs"
import { join, resolve } from "node:path"
import * as Build from "../../../scripts/dashboard.ts"
import * as Dashboard from "../../../src/Dashboard.ts"
import * as Gateway from "../../../src/Gateway.ts"
import * as Chromium from "../../browser/support/chromium.ts"

export const policy = { schedule: Schedule.spaced("50 millis"), minDelay: 1 }

export const widths = [1280, 768, 390] as const
export const themes = ["dark", "light"] as const

/** The rules of accessibility to check in a theme: all in the first one. The other theme differs in its colours only. */
export const rulesOf = (theme: (typeof themes)[number]): ReadonlyArray<string> | undefined =>
  theme === themes[0] ? undefined : ["color-contrast", "link-in-text-block"]

export interface Options {
  readonly gateway?: Gateway.Options
  readonly server?: MockMeshServer.Options
}

/** A server, and a gateway that serves the page through `downstream`. */
export const make = Effect.fnUntraced(function* (options: Options = {}) {
  const scope = yield* Effect.scope
  const server = yield* MockMeshServer.make(options.server)
  const upstream = yield* ChaosProxy.make({ target: server.port })
  const assets = yield* Dashboard.assets({ directory: Build.directory })

  const start = Effect.fnUntraced(function* (port: number) {
    const life = yield* Scope.fork(scope)
    const gateway = yield* Gateway.make({
      // The browser reaches it at the port of the proxy.
      hosts: ["127.0.0.1"],
      assets,
      ...options.gateway,
      port,
      upstream: { policy, ...options.gateway?.upstream }
    }).pipe(Effect.provide(NodeMeshSocket.layer({ url: upstream.url })), Scope.provide(life))
    return { gateway, life }
  })
  let running = yield* start(0)
  const { port } = running.gateway
  const downstream = yield* ChaosProxy.make({ target: port })
  yield* server.awaitReceived(({ message }) => message._tag === "SubscribeAll")

  return {
    server,
    upstream,
    downstream,
    url: downstream.url,
    /** A URL that signs in and then shows this path. */
    login: (path = "/") =>
      Effect.map(
        Effect.suspend(() => running.gateway.loginUrl),
        (loginUrl) => {
          const target = new URL(path, downstream.url)
          target.searchParams.set("token", new URL(loginUrl).searchParams.get("token") ?? "")
          return target.href
        }
      ),
    /** Ends the gateway. */
    stop: Effect.suspend(() => Scope.close(running.life, Exit.void)),
    /** Starts another gateway in its place. It knows no browser. */
    start: Effect.map(start(port), (started) => void (running = started))
  }
})

export type World = Effect.Success<ReturnType<typeof make>>

/** A log for the gateway, and a function that appends to it. */
export const makeLog = Effect.gen(function* () {
  const log = yield* MemoryLog.make()
  let id = 0
  const append = (events: ReadonlyArray<MeshEvent>) =>
    Effect.orDie(log.append(events.map((event) => ({ id: `${id++}`, event }))))
  return { append, log }
})

/** Waits until the server sends the output of these tasks. */
export const followed = ({ server }: World, tasks: ReadonlyArray<string>) =>
  Effect.forEach(
    tasks,
    (task) => server.awaitReceived(({ message }) => message._tag === "SubscribeOutput" && message.taskId === task),
    { discard: true }
  ).pipe(Effect.timeout(Chromium.patience))

export interface VisitOptions {
  /** The time of the page, in milliseconds since 1970. It stands still. Defaults to the time of the machine. */
  readonly time?: number
}

/** Opens a URL in a browser without cookies. */
export const visit = Effect.fnUntraced(function* (url: string, options?: VisitOptions) {
  const time = options?.time
  const page =
    time === undefined
      ? yield* Chromium.newPage
      : yield* Effect.flatMap(Chromium.newContext(), (context) => Effect.promise(() => context.newPage()))
  if (time !== undefined) yield* Effect.promise(() => page.clock.setFixedTime(time))
  const problems = Chromium.watch(page)
  const socket = page.waitForEvent("websocket")
  yield* Effect.promise(() => page.goto(url))
  return { page, problems, socket: yield* Effect.promise(() => socket) }
})

/** Signs a browser without cookies in, and shows a path. */
export const open = (world: World, options?: VisitOptions & { readonly path?: string }) => {
  const { path, ...visitOptions } = options ?? {}
  return Effect.flatMap(world.login(path), (url) => visit(url, visitOptions))
}

export type Opened = Effect.Success<ReturnType<typeof open>>

/** The requests of a page that did not go to its gateway. */
export const elsewhere = (world: World, { requested }: Chromium.Problems): ReadonlyArray<string> =>
  requested.filter((url) => new URL(url).host !== new URL(world.url).host && !url.startsWith("data:"))

const screenshots = resolve(import.meta.dirname, "../../../../../build/screenshots")

/** Writes `build/screenshots/<name>.png`. */
export const screenshot = (page: Page, name: string) =>
  Effect.promise(() => {
    mkdirSync(screenshots, { recursive: true })
    return page.screenshot({ path: join(screenshots, `${name}.png`), animations: "disabled" })
  })

export const updated = (task: string, version: number, status = "running"): ServerMessage.TaskUpdated => ({
  _tag: "TaskUpdated",
  taskId: TaskId.make(task),
  version,
  status
})

export const output = (
  task: string,
  content: string,
  rest?: Partial<Omit<ServerMessage.TaskOutput, "_tag" | "taskId" | "content">>
): ServerMessage.TaskOutput => ({
  _tag: "TaskOutput",
  taskId: TaskId.make(task),
  messageType: "assistant",
  content,
  ...rest
})
