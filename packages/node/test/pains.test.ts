/**
 * Known problems of other clients. Each test has the name of a problem, and fails
 * with a client that has it. Most tests run in memory with the test clock. Problems
 * of sockets are tested with real sockets.
 */
import type * as ClientMessage from "@makima-stream/core/ClientMessage"
import * as Interest from "@makima-stream/core/Interest"
import * as MeshClient from "@makima-stream/core/MeshClient"
import type * as MeshEvent from "@makima-stream/core/MeshEvent"
import * as MeshStream from "@makima-stream/core/MeshStream"
import * as ReconnectPolicy from "@makima-stream/core/ReconnectPolicy"
import type * as ServerMessage from "@makima-stream/core/ServerMessage"
import * as TaskId from "@makima-stream/core/TaskId"
import * as MockMeshServer from "@makima-stream/test-kit/MockMeshServer"
import * as ScriptedMesh from "@makima-stream/test-kit/ScriptedMesh"
import type * as ServerLog from "@makima-stream/test-kit/ServerLog"
import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Random from "effect/Random"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as Schedule from "effect/Schedule"
import * as Stream from "effect/Stream"
import type * as Scope from "effect/Scope"
import * as Socket from "effect/socket/Socket"
import * as TestClock from "effect/testing/TestClock"
import * as NodeMeshSocket from "../src/NodeMeshSocket.ts"
import { follow, settle } from "../../core/test/support/follow.ts"
import * as Servers from "./support/servers.ts"

type Mesh = ScriptedMesh.ScriptedMesh["Service"]

const a = TaskId.make("a")
const b = TaskId.make("b")

const updated = (version: number, taskId: TaskId.TaskId = a): ServerMessage.TaskUpdated => ({
  _tag: "TaskUpdated",
  taskId,
  version
})
const said = (content: string): ServerMessage.TaskOutput => ({
  _tag: "TaskOutput",
  taskId: a,
  messageType: "assistant",
  content
})

const tags = (events: ReadonlyArray<MeshEvent.MeshEvent>) => events.map(({ _tag }) => _tag)
const versions = (events: ReadonlyArray<MeshEvent.MeshEvent>) =>
  events.flatMap((event) => (event._tag === "TaskUpdated" ? [event.version] : []))

/** Consumes a stream in the background, on a new mesh or the given one. */
const connect = (options?: Partial<MeshStream.ConnectOptions> & { readonly mesh?: Mesh }) =>
  Effect.gen(function* () {
    const mesh = options?.mesh ?? (yield* ScriptedMesh.make())
    const following = yield* MeshStream.connect({ interest: Interest.all, ...options }).pipe(
      Stream.provideService(Socket.Socket, mesh.socket),
      follow
    )
    return { mesh, ...following }
  })

const online = (mesh: Mesh, n = 1) => mesh.awaitReceived(({ connection }) => connection === n)

/** Returns how a stream ended, and after how many dials. */
const outcome = Effect.fnUntraced(function* (
  break_: (mesh: Mesh) => Effect.Effect<unknown, ScriptedMesh.NotReceived>,
  policy?: ReconnectPolicy.Options
): Effect.fn.Return<string, ScriptedMesh.NotReceived, Scope.Scope> {
  const mesh = yield* ScriptedMesh.make()
  const { exit, fiber } = yield* connect({ mesh, ...(policy === undefined ? {} : { policy }) })
  yield* break_(mesh)
  // The last attempt that a test waits for is the fourth, at most half a minute after the first.
  for (let i = 0; i < 12; i++) {
    yield* settle
    yield* TestClock.adjust("5 seconds")
  }
  if (fiber.pollUnsafe() === undefined) return "goes on"
  const error = Exit.findError(yield* exit)
  return `${Result.isSuccess(error) ? error.success.reason._tag : "no error"} after ${(yield* mesh.dials).length}`
})

describe("pains", () => {
  // The fault: the client retries a 401, a policy close or a bad certificate for ever, or it gives up after a lost network or without an error.
  it.effect("wrong terminal decision: what will not heal fails at once with its reason, what may heal is retried", () =>
    Effect.gen(function* () {
      const closed = (code: number) => (mesh: Mesh) => Effect.andThen(online(mesh), mesh.close(code))
      for (const status of [301, 308, 401, 403, 404, 426, 505]) {
        assert.strictEqual(yield* outcome((mesh) => mesh.refuse(1000, status)), "HandshakeRejected after 1")
      }
      for (const code of [1008, 3000, 3003, 4400, 4403, 4499]) {
        assert.strictEqual(yield* outcome(closed(code)), "ConnectionClosed after 1")
      }
      for (const status of [429, 500, 502, 503]) {
        assert.strictEqual(yield* outcome((mesh) => mesh.refuse(1000, status)), "goes on")
      }
      for (const code of [1000, 1001, 1011, 1012, 3501, 4408, 4429]) {
        assert.strictEqual(yield* outcome(closed(code)), "goes on")
      }
      assert.strictEqual(yield* outcome((mesh) => Effect.andThen(online(mesh), mesh.kill())), "goes on")
      // A server with its own codes: the program defines what they mean.
      const classify: ReconnectPolicy.ReconnectPolicy["classify"] = (reason, context) =>
        reason._tag === "ConnectionClosed" && reason.code === 3501 ? "fail" : ReconnectPolicy.classify(reason, context)
      assert.strictEqual(yield* outcome(closed(3501), { classify }), "ConnectionClosed after 1")
      // Giving up is a typed failure.
      const schedule = ReconnectPolicy.schedule.pipe(Schedule.upTo({ times: 3 }))
      assert.strictEqual(yield* outcome((mesh) => mesh.refuse(1000, 503), { schedule }), "RetriesExhausted after 4")
    })
  )

  // The fault: 50 clients reconnect at the same moment or exactly at the cap, or a client dials a server that accepts and
  // closes thousands of times, since each success resets the delay.
  it.effect(
    "reconnect storms: clients that lose one server come back spread, and an accepting server is not hammered",
    () =>
      Effect.gen(function* () {
        const clients = 50
        const mesh = yield* ScriptedMesh.make()
        for (let i = 0; i < clients; i++) yield* connect({ mesh })
        yield* mesh.awaitConnection(clients)
        const start = (yield* mesh.dials).length
        yield* mesh.refuse(1000, 503)
        yield* mesh.kill()
        // 2, 4, 8 and 16 seconds, then the cap.
        for (let second = 0; second < 70; second++) {
          yield* settle
          yield* TestClock.adjust("1 second")
        }
        const times = (yield* mesh.dials).slice(start)
        const rounds = [0, 1, 2, 3, 4].map((round) => times.slice(round * clients, (round + 1) * clients))
        for (const round of rounds) assert.isAtLeast(new Set(round.map((at) => Math.round(at / 100))).size, 5)
        const first = rounds[0] ?? []
        assert.isAtLeast(Math.min(...first), 1000)
        assert.isAtLeast(Math.max(...first) - Math.min(...first), 700)
        const capped = rounds[4] ?? []
        assert.isAtLeast(Math.max(...capped) - Math.min(...capped), 7500)
        assert.isAtLeast(new Set(capped).size, 30)

        const hammered = yield* connect()
        const dialsIn = Effect.fnUntraced(function* (seconds: number) {
          for (let i = 0; i < seconds * 10; i++) {
            yield* hammered.mesh.emit(updated(i))
            yield* settle
            yield* hammered.mesh.close(1001)
            yield* settle
            yield* TestClock.adjust("100 millis")
          }
          return (yield* hammered.mesh.dials).length
        })
        // At least half of each delay: 1, 2, 4, 8, 15, 15, 15 seconds.
        assert.isAtMost(yield* dialsIn(60), 9)
      }).pipe(Random.withSeed("storm"))
  )

  // The fault: the client waits for ever for a message, or for the close event of a socket whose peer never answers.
  it.effect("half-open connections: a peer that disappears silently is noticed, and its socket released", () =>
    Effect.gen(function* () {
      const server = yield* Servers.rawServer
      const { events } = yield* MeshStream.connect({ interest: Interest.all }).pipe(
        Stream.provide(NodeMeshSocket.layer({ url: server.url })),
        follow
      )
      const { closed } = yield* server.accept
      for (let second = 0; second < 25; second++) {
        yield* TestClock.adjust("1 second")
        yield* Servers.settled(() => events.length)
      }
      const ended = events.find((event) => event._tag === "Disconnected")
      assert.strictEqual(ended?.reason._tag, "HeartbeatTimeout")
      yield* closed
    })
  )

  // The fault: the stream continues without a mark, or shows a gap only when a later version arrives, so never on a quiet
  // feed.
  it.effect("silent gaps: every reconnect is marked in the stream, in order, even if no event follows it", () =>
    Effect.gen(function* () {
      const { events, mesh } = yield* connect()
      yield* online(mesh)
      yield* mesh.emit(updated(1))
      yield* settle
      yield* mesh.kill()
      // Updates that the server never repeats.
      yield* mesh.emit(updated(2))
      yield* settle
      yield* TestClock.adjust("2 seconds")
      yield* online(mesh, 2)
      yield* settle
      assert.deepStrictEqual(tags(events), [
        "Connected",
        "Resync",
        "TaskUpdated",
        "Disconnected",
        "Connected",
        "Resync"
      ])
    })
  )

  // The fault: the process queues everything that the server sends, or drops events without a mark.
  it.effect("memory under a slow consumer: it stops the server, or loses what its policy says, marked", () =>
    Effect.gen(function* () {
      const server = yield* MockMeshServer.make({ keepMessages: false })
      const gate = yield* Deferred.make<void>()
      const received: Array<MeshEvent.MeshEvent> = []
      const consuming = yield* MeshStream.connect({ interest: Interest.all }).pipe(
        Stream.tap((event) => Effect.sync(() => received.push(event))),
        Stream.tap(() => Deferred.await(gate)),
        Stream.takeUntil((event) => event._tag === "ServerError"),
        Stream.runDrain,
        Effect.provide(NodeMeshSocket.layer({ url: server.url })),
        Effect.forkChild
      )
      yield* server.awaitConnection(1)
      const [message, count] = [{ _tag: "UnknownMessage", raw: { type: "x", text: "x".repeat(50_000) } } as const, 1000]
      yield* server.emitRawAll(Array.from({ length: count }, () => JSON.stringify(message.raw)))
      yield* server.emitRaw(`{"type":"error"}`)
      // Of 50 MB, kernels buffer a few. The server keeps the rest.
      const held = yield* Servers.settled(() => Effect.runSync(server.connections)[0]?.bufferedBytes ?? 0)
      assert.isAbove(held, 30_000_000)
      assert.strictEqual(received.length, 1)
      yield* Deferred.succeed(gate, undefined)
      yield* Fiber.join(consuming)
      assert.strictEqual(received.filter(({ _tag }) => _tag === "UnknownMessage").length, count)

      // With an overflow policy, the queue stays within its bound, and the stream contains a mark of the loss.
      const mesh = yield* ScriptedMesh.make()
      const client = yield* MeshClient.make().pipe(Effect.provideService(Socket.Socket, mesh.socket))
      const open = yield* Deferred.make<void>()
      const slow = yield* client.updates(undefined, { overflow: "sliding", capacity: 10 }).pipe(
        Stream.tap((event) => (event._tag === "TaskUpdated" ? Deferred.await(open) : Effect.void)),
        follow
      )
      yield* online(mesh)
      yield* settle
      yield* mesh.emit(...Array.from({ length: 1000 }, (_, n) => updated(n + 1)))
      yield* settle
      yield* Deferred.succeed(open, undefined)
      yield* settle
      const dropped = slow.events.reduce(
        (sum, event) =>
          event._tag === "Resync" && event.reason._tag === "Overflow" ? sum + event.reason.dropped : sum,
        0
      )
      assert.isAtMost(versions(slow.events).length, 11)
      assert.strictEqual(versions(slow.events).length + dropped, 1000)
    })
  )

  // The fault: the first of two consumers to leave unsubscribes both, or a join during a leave ends without a subscription,
  // or requests are sent in another order than they were made.
  it.effect(
    "races of subscribe and unsubscribe: after any joins and leaves, the wire matches the consumers that stay",
    () =>
      Effect.gen(function* () {
        const mesh = yield* ScriptedMesh.make({ acknowledge: "manual" })
        const client = yield* MeshClient.make({ subscriptionIdleTimeToLive: 0 }).pipe(
          Effect.provideService(Socket.Socket, mesh.socket)
        )
        const stays = yield* follow(client.output(a))
        yield* online(mesh)
        for (let round = 0; round < 20; round++) {
          // Between the acknowledgements, a consumer of the same key and a consumer of another key join and leave.
          const others = [yield* follow(client.output(a)), yield* follow(client.output(b))]
          yield* settle
          if (round % 2 === 0) yield* mesh.acknowledge()
          for (const { fiber } of others) yield* Fiber.interrupt(fiber)
          if (round % 3 === 0) yield* mesh.acknowledge()
          yield* settle
        }
        yield* mesh.setAcknowledge("auto")
        yield* mesh.acknowledge()
        yield* settle
        assert.deepStrictEqual(yield* mesh.subscriptions, Interest.output(a))
        const about = (taskId: TaskId.TaskId) =>
          Effect.map(mesh.received, (received) =>
            received
              .map(({ message }) => message)
              .filter((message: ClientMessage.ClientMessage) => "taskId" in message && message.taskId === taskId)
              .map(({ _tag }) => _tag)
          )
        assert.deepStrictEqual(yield* about(a), ["SubscribeOutput"])
        // Requests of one key alternate.
        const own = yield* about(b)
        assert.deepStrictEqual(
          own,
          own.map((_, i) => (i % 2 === 0 ? "SubscribeOutput" : "UnsubscribeOutput"))
        )
        yield* mesh.emit(said("still here"))
        yield* settle
        assert.deepStrictEqual(stays.events.at(-1), said("still here"))
      })
  )

  // The fault: the client still reads the old socket, so its late frames are duplicates or out of order, or two connections
  // are open at the same time.
  it.effect("zombie sockets and duplicates: what an abandoned connection still sends is dropped", () =>
    Effect.gen(function* () {
      const server = yield* MockMeshServer.make()
      const { events } = yield* MeshStream.connect({ interest: Interest.all }).pipe(
        Stream.provide(NodeMeshSocket.layer({ url: server.url })),
        follow
      )
      const subscribed = (n: number) => server.awaitReceived(({ connection }) => connection === n)
      yield* subscribed(1)
      yield* server.freeze(1)
      yield* server.emit(updated(1))
      for (let second = 0; second < 27; second++) {
        yield* TestClock.adjust("1 second")
        yield* Servers.settled(() => events.length)
      }
      yield* subscribed(2)
      yield* server.emit(updated(2))
      // The old connection resumes and sends its late updates, which are dropped.
      yield* server.thaw(1)
      yield* server.awaitEntry((entry): entry is ServerLog.Closed => entry._tag === "Closed" && entry.connection === 1)
      yield* server.emit(updated(3))
      yield* Servers.until(() => versions(events).includes(3))
      assert.deepStrictEqual(versions(events), [2, 3])
      assert.deepStrictEqual(tags(events).slice(0, 5), ["Connected", "Resync", "Disconnected", "Connected", "Resync"])
      assert.deepStrictEqual(
        (yield* server.connections).map(({ id }) => id),
        [2]
      )
    })
  )

  // The fault: the client dials after its stop because a backoff timer was set, or the error of an abandoned socket has no
  // listener and ends the process.
  it.effect(
    "stop does not stop: nothing is dialled after an interruption, and a late error does not end the process",
    () =>
      Effect.gen(function* () {
        const mesh = yield* ScriptedMesh.make()
        yield* mesh.refuse(3, 503)
        const { fiber } = yield* connect({ mesh })
        yield* settle
        yield* Fiber.interrupt(fiber)
        yield* TestClock.adjust("1 day")
        yield* settle
        assert.strictEqual((yield* mesh.dials).length, 1)

        const uncaught: Array<unknown> = []
        const onUncaught = (error: unknown) => uncaught.push(error)
        yield* Effect.acquireRelease(
          Effect.sync(() => process.on("uncaughtExceptionMonitor", onUncaught)),
          () => Effect.sync(() => process.off("uncaughtExceptionMonitor", onUncaught))
        )
        for (const state of ["open", "closing", "connecting"]) {
          const server = yield* state === "connecting" ? silentServer : Servers.rawServer
          const socket = yield* NodeMeshSocket.make({ url: server.url })
          const reading = yield* Effect.forkChild(Effect.scoped(Effect.flatMap(socket.reader, ({ pull }) => pull)))
          const peer = yield* server.accept
          if (state !== "open") yield* Fiber.interrupt(reading)
          peer.socket.resetAndDestroy()
          yield* peer.closed
          yield* Fiber.await(reading)
          yield* Servers.settled(() => uncaught.length)
        }
        assert.deepStrictEqual(uncaught, [])
      })
  )

  // The fault: the client uses the key of its first dial for ever, or a failed read of the key is an unhandled rejection, and
  // the client never dials again.
  it.effect(
    "stale or failing credentials: they are read anew in each attempt, and their failure fails that attempt alone",
    () =>
      Effect.gen(function* () {
        const server = yield* MockMeshServer.make()
        let reads = 0
        const apiKey = Effect.suspend(() =>
          ++reads === 2 ? Effect.fail("the vault is sealed") : Effect.succeed(Redacted.make(`key-${reads}`))
        )
        const { events } = yield* MeshStream.connect({ interest: Interest.all }).pipe(
          Stream.provide(NodeMeshSocket.layer({ url: server.url, apiKey })),
          follow
        )
        yield* server.awaitConnection(1)
        yield* server.kill()
        for (const seconds of [2, 4]) {
          yield* Servers.settled(() => events.length)
          yield* TestClock.adjust(`${seconds} seconds`)
        }
        const { apiKey: second } = yield* server.awaitConnection(2)
        assert.strictEqual(second === undefined ? "none" : Redacted.value(second), "key-3")
        yield* Servers.until(() => events.length >= 5)
        assert.deepStrictEqual(
          events.flatMap((event) => (event._tag === "Disconnected" ? [event.reason._tag] : [])),
          ["ConnectionLost", "CredentialsFailed"]
        )
      })
  )

  // The fault: one invalid frame fails every consumer or is dropped silently, a consumer that throws fails the others, or
  // the client reads a server with another protocol for ever.
  it.effect("poison frames: a frame that cannot be read is marked, and one consumer's failure is its own", () =>
    Effect.gen(function* () {
      const mesh = yield* ScriptedMesh.make()
      const client = yield* MeshClient.make().pipe(Effect.provideService(Socket.Socket, mesh.socket))
      const healthy = yield* follow(client.events())
      const fragile = yield* client.events().pipe(
        Stream.tap((event) => (event._tag === "TaskUpdated" ? Effect.die("the consumer's own fault") : Effect.void)),
        follow
      )
      yield* online(mesh)
      for (const problem of ["InvalidJson", "InvalidMessage", "InvalidUtf8", "NotAnObject"] as const) {
        yield* mesh.garbage(problem)
      }
      yield* mesh.emit(updated(1))
      yield* settle
      yield* mesh.emit(updated(2))
      yield* settle
      assert.isTrue(Exit.hasDies(yield* fragile.exit))
      assert.deepStrictEqual(
        [...tags(healthy.events).slice(1, 5), ...versions(healthy.events)],
        ["Resync", "Resync", "Resync", "Resync", 1, 2]
      )
      for (let i = 0; i < 100; i++) yield* mesh.garbage()
      yield* settle
      const last = healthy.events.findLast((event) => event._tag === "Disconnected")
      assert.deepStrictEqual([last?.reason._tag, (last?.retryInMillis ?? 0) >= 1000], ["TooManyBadFrames", true])
    })
  )
})

/** A server that never answers a handshake. */
const silentServer = Effect.gen(function* () {
  const accepted = yield* Deferred.make<Servers.RawPeer>()
  const server = yield* Servers.netServer((socket) => {
    const closed = Deferred.makeUnsafe<void>()
    socket.on("close", () => Deferred.doneUnsafe(closed, Effect.void))
    socket.once("data", () => Deferred.doneUnsafe(accepted, Effect.succeed({ socket, closed: Deferred.await(closed) })))
  })
  return { ...server, accept: Deferred.await(accepted) }
})
