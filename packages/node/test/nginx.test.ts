/** Behind Debian's nginx with its defaults: idle timeouts, restarts, buffering, TLS with a private CA. */
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import * as Interest from "@makima-stream/core/Interest"
import * as MeshEvent from "@makima-stream/core/MeshEvent"
import * as MeshStream from "@makima-stream/core/MeshStream"
import * as ReconnectPolicy from "@makima-stream/core/ReconnectPolicy"
import * as Audit from "@makima-stream/test-kit/Audit"
import * as MockMeshServer from "@makima-stream/test-kit/MockMeshServer"
import * as Workload from "@makima-stream/test-kit/Workload"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Latch from "effect/Latch"
import * as Result from "effect/Result"
import * as Schedule from "effect/Schedule"
import * as Stream from "effect/Stream"
import type * as FileSystem from "effect/FileSystem"
import type * as Scope from "effect/Scope"
import { follow } from "../../core/test/support/follow.ts"
import * as NodeMeshSocket from "../src/NodeMeshSocket.ts"
import * as Nginx from "./support/nginx.ts"
import * as Servers from "./support/servers.ts"

const tasks = { tasks: 5, seed: 1 }
const [, , , , lastTask] = Workload.taskIds(tasks)

const policy: ReconnectPolicy.Options = {
  schedule: Schedule.spaced("20 millis"),
  minDelay: "20 millis"
}

const connect = (socket: NodeMeshSocket.Options) =>
  MeshStream.connect({
    interest: Interest.union(Interest.all, Interest.output(Workload.taskIds(tasks))),
    policy
  }).pipe(Stream.provide(NodeMeshSocket.layer(socket)))

const reasons = (events: ReadonlyArray<MeshEvent.MeshEvent>) =>
  events.flatMap((event) => (event._tag === "Disconnected" ? [event.reason._tag] : []))

const { isConnected } = MeshEvent

const { command } = Nginx
if (command === undefined) console.warn(`skipped: ${Nginx.missing}`)

/** A test that needs nginx, and is skipped with a message if it is not installed. */
const itThroughNginx = (
  name: string,
  test: (nginx: string) => Effect.Effect<unknown, unknown, Scope.Scope | FileSystem.FileSystem>
) =>
  command === undefined
    ? it(name, (context) => context.skip(Nginx.missing))
    : it.live(name, () => test(command).pipe(Effect.provide(NodeFileSystem.layer)), 30_000)

describe("through nginx", () => {
  for (const tls of [false, true]) {
    itThroughNginx(
      `the feed arrives whole and in order${tls ? " over TLS with a private CA" : ", buffering and all defaults as they are"}`,
      Effect.fnUntraced(function* (nginx) {
        const server = yield* MockMeshServer.make()
        const { port } = yield* Nginx.make({ nginx, target: server.port, tls })
        const workload = Workload.make(tasks)
        const { events } = yield* follow(
          connect({
            url: `${tls ? "https" : "http"}://127.0.0.1:${port}`,
            ...(tls ? { tls: { ca: Servers.ca } } : {})
          })
        )
        yield* server.awaitReceived(({ message }) => message._tag === "SubscribeOutput" && message.taskId === lastTask)
        yield* Servers.until(() => events.length > 0)
        yield* server.play(workload, { speed: Number.POSITIVE_INFINITY })
        const isData = ({ _tag }: MeshEvent.MeshEvent) => _tag === "TaskUpdated" || _tag === "TaskOutput"
        yield* Servers.until(() => events.filter(isData).length >= workload.length)
        const report = Audit.compare(yield* server.log, events)
        assert.isTrue(Audit.isClean(report), JSON.stringify(report))
        assert.deepStrictEqual([report.received, report.inFlight, report.epochs], [workload.length, 0, 1])
      })
    )
  }

  itThroughNginx(
    "a message arrives at once, and not when a buffer is full",
    Effect.fnUntraced(function* (nginx) {
      const server = yield* MockMeshServer.make()
      const { port } = yield* Nginx.make({ nginx, target: server.port })
      const { events } = yield* follow(connect({ url: `http://127.0.0.1:${port}` }))
      yield* server.awaitReceived(({ message }) => message._tag === "SubscribeAll")
      for (let n = 1; n <= 20; n++) {
        yield* server.emitRaw(`{"type":"error","code":"${n}"}`)
        yield* Servers.until(() => events.filter(({ _tag }) => _tag === "ServerError").length === n)
      }
    })
  )

  itThroughNginx(
    "its idle timeout ends a feed that has gone quiet, which is marked, and a heartbeat keeps it",
    Effect.fnUntraced(function* (nginx) {
      const server = yield* MockMeshServer.make()
      const { port } = yield* Nginx.make({ nginx, target: server.port, server: "proxy_read_timeout 2s;" })
      const url = `http://127.0.0.1:${port}`
      const alive = Latch.makeUnsafe(false)
      let roundTrips = 0
      const kept = yield* follow(
        connect({
          url,
          heartbeat: {
            interval: "200 millis",
            // Twice the timeout.
            onRoundTrip: () => Effect.sync(() => (++roundTrips >= 20 ? alive.openUnsafe() : undefined))
          }
        })
      )
      const idle = yield* follow(connect({ url, heartbeat: false }))
      yield* alive.await
      yield* Servers.until(() => idle.events.filter(({ _tag }) => _tag === "Resync").length >= 2)
      assert.deepStrictEqual(
        kept.events.map(({ _tag }) => _tag),
        ["Connected", "Resync"]
      )
      assert.deepStrictEqual(
        idle.events.slice(0, 5).map(({ _tag }) => _tag),
        ["Connected", "Resync", "Disconnected", "Connected", "Resync"]
      )
      assert.strictEqual(reasons(idle.events)[0], "ConnectionLost")
    })
  )

  itThroughNginx(
    "the feed survives its restart, and a server that is down behind it, and marks every reconnect",
    Effect.fnUntraced(function* (nginx) {
      const first = yield* Effect.scoped(MockMeshServer.make())
      const proxy = yield* Nginx.make({ nginx, target: first.port })
      // No server is behind it: 502.
      const { events } = yield* follow(connect({ url: `http://127.0.0.1:${proxy.port}` }))
      yield* Servers.until(() => reasons(events).includes("HandshakeRejected"))
      const server = yield* MockMeshServer.make({ port: first.port })
      yield* server.awaitReceived(({ message }) => message._tag === "SubscribeAll")
      yield* Servers.until(() => events.at(-1)?._tag === "Resync")
      yield* proxy.stop
      yield* Servers.until(() => reasons(events).includes("DialFailed"))
      yield* proxy.start
      // The last of the interest is confirmed.
      yield* Servers.until(() => events.at(-1)?._tag === "Resync" && events.filter(isConnected).length === 2)
      yield* server.emitRaw(`{"type":"error"}`)
      yield* Servers.until(() => events.at(-1)?._tag === "ServerError")
      assert.deepStrictEqual(
        events.slice(-3).map(({ _tag }) => _tag),
        ["Connected", "Resync", "ServerError"]
      )
      assert.include(reasons(events), "ConnectionLost")
    })
  )

  itThroughNginx(
    "a certificate that is not trusted ends the feed at once, with its reason",
    Effect.fnUntraced(function* (nginx) {
      const server = yield* MockMeshServer.make()
      const { port } = yield* Nginx.make({ nginx, target: server.port, tls: true })
      const { events, exit } = yield* follow(connect({ url: `https://127.0.0.1:${port}` }))
      const error = Exit.findError(yield* exit)
      assert.strictEqual(
        Result.isSuccess(error) && "reason" in error.success ? error.success.reason._tag : "",
        "TlsFailed"
      )
      assert.deepStrictEqual(reasons(events), ["TlsFailed"])
    })
  )
})
