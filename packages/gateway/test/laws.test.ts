/**
 * The laws of a transport over a gateway: what the server says is what the client hears. The laws of raw frames, of close
 * codes and of refused dials are about the socket alone, so they do not apply.
 */
import type { MeshEvent } from "@makima-stream/core/MeshEvent"
import * as ServerMessage from "@makima-stream/core/ServerMessage"
import * as NodeMeshSocket from "@makima-stream/node/NodeMeshSocket"
import * as ChaosProxy from "@makima-stream/test-kit/ChaosProxy"
import * as ScriptedMesh from "@makima-stream/test-kit/ScriptedMesh"
import * as TransportLaws from "@makima-stream/test-kit/TransportLaws"
import { describe, it } from "@effect/vitest"
import * as Arr from "effect/Array"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Result from "effect/Result"
import * as Socket from "effect/socket/Socket"
import * as Gateway from "../src/Gateway.ts"
import { said } from "./support/world.ts"

/** What the server said in a frame; `undefined` for an acknowledgement. */
const contentOf = (frame: string | Uint8Array): string | undefined => {
  const message = ServerMessage.decodeFrame(frame)
  if (Result.isFailure(message)) return undefined
  return message.success._tag === "TaskOutput" ? message.success.content : undefined
}

/** A socket that subscribes to the output of a task, and whose frames are what the server says. */
const hearing = (socket: Socket.Socket): Socket.Socket =>
  Socket.make({
    writer: socket.writer,
    reader: Effect.gen(function* () {
      const reader = yield* socket.reader
      const { write } = yield* socket.writer
      yield* write(`{"type":"subscribeOutput","taskId":"a"}`)
      yield* reader.pull
      const pull: typeof reader.pull = Effect.flatMap(reader.pull, (frames) => {
        const said = frames.flatMap((frame) => contentOf(frame) ?? [])
        return Arr.isReadonlyArrayNonEmpty(said) ? Effect.succeed(said) : pull
      })
      return { ...reader, pull }
    })
  })

const harness = (heartbeat: NodeMeshSocket.HeartbeatOptions) =>
  Layer.effect(
    TransportLaws.Harness,
    Effect.gen(function* () {
      const mesh = yield* ScriptedMesh.make()
      const gateway = yield* Gateway.make({ port: 0, hosts: ["127.0.0.1"], maxBufferedBytes: 100_000_000 }).pipe(
        Effect.provideService(Socket.Socket, mesh.socket)
      )
      const proxy = yield* ChaosProxy.make({ target: gateway.port })
      const socket = yield* NodeMeshSocket.make({ url: proxy.url, apiKey: gateway.token, heartbeat })
      const unsupported = () => Effect.die(new Error("Not a promise of a gateway"))
      return {
        socket: hearing(socket),
        server: {
          send(frame) {
            const message: MeshEvent = said("a", String(frame))
            return Effect.gen(function* () {
              const { events } = yield* gateway.stats
              yield* mesh.emit(message)
              // The gateway has passed it on.
              yield* Effect.repeat(Effect.andThen(Effect.yieldNow, gateway.stats), {
                until: (stats) => stats.events > events
              })
            })
          },
          // A gateway closes no client on request. The law only needs an end.
          close: () => Effect.asVoid(proxy.kill()),
          kill: proxy.kill(),
          freeze: proxy.freeze(),
          refuse: unsupported,
          stallDial: unsupported(),
          open: Effect.map(gateway.stats, ({ clients }) => clients),
          received: unsupported(),
          undelivered: unsupported()
        },
        advance: Effect.sleep
      }
    })
  )

const names = [
  "order",
  "boundaries",
  "large",
  "interruptedPull",
  "racedPull",
  "kill",
  "freeze",
  "scope",
  "lateFrames"
] as const satisfies ReadonlyArray<keyof typeof TransportLaws.laws>

describe("a socket to a gateway", () => {
  for (const name of names) {
    const law = TransportLaws.laws[name]
    // Only one law waits for silence. The others must not see it on a busy machine.
    const heartbeat =
      name === "freeze" ? { interval: 100, deadline: 200 } : ({ interval: "1 minute", deadline: "1 minute" } as const)
    it.live(law.promise, () => TransportLaws.checkIn(law, harness(heartbeat)))
  }
})
