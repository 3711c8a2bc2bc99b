/** SIGINT and SIGTERM, in each state of a program. */
import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import type * as Scope from "effect/Scope"
import { spawn } from "node:child_process"
import { createInterface } from "node:readline"
import type { Readable } from "node:stream"
import { fileOf } from "../../test-kit/test/support/programs.ts"
import * as Ending from "./support/ending.ts"
import * as Servers from "./support/servers.ts"

interface Program {
  /** Waits until it has printed this. */
  readonly printed: (line: string) => Effect.Effect<void>
  /** Sends the signal. Call the returned function after the exit: it returns how long that took, in milliseconds. */
  readonly kill: (signal: NodeJS.Signals) => () => number
  readonly exited: Effect.Effect<number | null>
}

const start = (state: string, url: string): Effect.Effect<Program, never, Scope.Scope> =>
  Effect.gen(function* () {
    const lines = yield* Queue.unbounded<string>()
    const exited = Deferred.makeUnsafe<number | null>()
    const path = fileOf("packages/node/test/fixtures/shutdown")
    const child = yield* Effect.acquireRelease(
      Effect.sync(() => spawn(process.execPath, [path, state, url], { stdio: ["ignore", "pipe", "inherit", "pipe"] })),
      (child) => Effect.sync(() => child.kill("SIGKILL"))
    )
    createInterface({ input: child.stdout as Readable }).on("line", (line) => Queue.offerUnsafe(lines, line))
    child.on("close", (code) => Deferred.doneUnsafe(exited, Effect.succeed(code)))
    const printed: Program["printed"] = (line) =>
      Effect.flatMap(Queue.take(lines), (next) => (next === line ? Effect.void : printed(line)))
    return { printed, kill: (signal) => Ending.kill(child, signal), exited: Deferred.await(exited) }
  })

/** The close code on the wire, if there is a connection to close. */
type Ending = Effect.Effect<number | undefined>

/** Brings a program into a state. Returns how its connection ends. */
type State = (
  state: string
) => Effect.Effect<{ readonly program: Program; readonly ending: Ending }, never, Scope.Scope>

/** A server that never answers, and reports the first byte. */
const silent: State = Effect.fnUntraced(function* (state) {
  const asked = Deferred.makeUnsafe<void>()
  const { url } = yield* Servers.netServer((socket) => {
    socket.once("data", () => Deferred.doneUnsafe(asked, Effect.void))
  })
  const program = yield* start(state, url)
  yield* Deferred.await(asked)
  return { program, ending: Effect.undefined }
})

const refusing: State = Effect.fnUntraced(function* (state) {
  const { url } = yield* Servers.httpServer((_, response) => response.writeHead(503).end())
  const program = yield* start(state, url)
  yield* program.printed("Disconnected")
  return { program, ending: Effect.undefined }
})

const online = (prepare: (peer: Servers.Peer, program: Program) => Effect.Effect<void>): State =>
  Effect.fnUntraced(function* (state) {
    const server = yield* Servers.webSocketServer()
    const program = yield* start(state, server.url)
    const peer = yield* server.accept
    assert.strictEqual(yield* peer.receive, `{"type":"subscribeAll"}`)
    yield* program.printed("Connected")
    yield* prepare(peer, program)
    return { program, ending: Effect.map(peer.closed, ({ code }) => code) }
  })

const idle = online(() => Effect.void)

/** More than the kernels buffer, so that the other end pauses reads. */
const flooded = online(
  Effect.fnUntraced(function* ({ ws }, program) {
    const frame = `{"type":"taskUpdated","taskId":"a","status":"${"x".repeat(1000)}"}`
    for (let i = 0; i < 20_000; i++) ws.send(frame)
    yield* program.printed("TaskUpdated")
    assert.isAbove(yield* Servers.settled(() => ws.bufferedAmount), 1_000_000)
  })
)

const draining = online(
  Effect.fnUntraced(function* (peer) {
    peer.ws.send(`{"type":"subscribedAll"}`)
    // It waits for an acknowledgement that never comes.
    assert.strictEqual(yield* peer.receive, `{"type":"unsubscribeAll"}`)
  })
)

/** Credentials that never come, and cannot be interrupted. Nothing shows outside. */
const fetching: State = Effect.fnUntraced(function* (state) {
  const program = yield* start(state, "ws://127.0.0.1:1")
  yield* program.printed("fetching")
  return { program, ending: Effect.undefined }
})

/**
 * The kernel resets the connection of a process that ends with unread data. On a busy machine the server can notice the reset
 * before it has read the close frame.
 */
const flood = [1000, 1006]

/** One signal each, since the runtime handles both in the same way. Each signal meets a stream and a client. */
const states: ReadonlyArray<
  readonly [signal: NodeJS.Signals, name: string, state: string, get: State, codes: ReadonlyArray<number | undefined>]
> = [
  ["SIGINT", "fetching its credentials", "credentials", fetching, [undefined]],
  ["SIGTERM", "connecting", "connecting", silent, [undefined]],
  ["SIGINT", "in backoff", "backoff", refusing, [undefined]],
  ["SIGTERM", "online", "online", idle, [1000]],
  ["SIGINT", "online with a slow consumer", "slow", flooded, flood],
  ["SIGTERM", "a client in backoff", "client", refusing, [undefined]],
  ["SIGINT", "a client online", "client", idle, [1000]],
  ["SIGTERM", "a client with a slow consumer", "client-slow", flooded, flood],
  ["SIGINT", "draining", "draining", draining, [1000]]
]

describe("shutdown", () => {
  for (const [signal, name, state, get, codes] of states) {
    it.live(`${signal} ends a program within a second that is ${name}`, () =>
      Effect.gen(function* () {
        const { ending, program } = yield* get(state)
        const took = program.kill(signal)
        assert.strictEqual(yield* program.exited, 130)
        assert.isBelow(took(), 1000)
        assert.include(codes, yield* ending)
      })
    )
  }
})
