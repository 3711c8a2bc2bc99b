/**
 * A user's program on the installed packages: a shared client, first on the
 * scripted mesh, then over a real socket. `packages.ts` compiles it outside the
 * workspace and compares its output.
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import * as MeshClient from "@makima-stream/core/MeshClient"
import * as MeshEvent from "@makima-stream/core/MeshEvent"
import * as TaskId from "@makima-stream/core/TaskId"
import type { ServerMessage } from "@makima-stream/core/ServerMessage"
import { isTerminal } from "@makima-stream/core/TaskStatus"
import * as NodeMeshClient from "@makima-stream/node/NodeMeshClient"
import * as MockMeshServer from "@makima-stream/test-kit/MockMeshServer"
import * as ScriptedMesh from "@makima-stream/test-kit/ScriptedMesh"

const a = TaskId.make("a")

const messages: ReadonlyArray<ServerMessage> = [
  { _tag: "TaskOutput", taskId: a, messageType: "assistant", content: "hello" },
  { _tag: "TaskUpdated", taskId: a, version: 1, status: "done" }
]

const followed = Effect.gen(function* () {
  const client = yield* MeshClient.MeshClient
  const events = yield* client.task(a).pipe(
    Stream.filter((event) => !MeshEvent.isLifecycle(event)),
    Stream.takeUntil((event) => event._tag === "TaskUpdated" && isTerminal(event.status ?? "")),
    Stream.runCollect
  )
  return events.map((event) => (event._tag === "TaskOutput" ? event.content : event.status))
})

const inMemory = Effect.gen(function* () {
  const mesh = yield* ScriptedMesh.ScriptedMesh
  yield* mesh
    .awaitReceived(({ message }) => message._tag === "SubscribeOutput")
    .pipe(Effect.andThen(mesh.emit(...messages)), Effect.forkChild)
  return yield* followed
}).pipe(Effect.provide(Layer.provideMerge(MeshClient.layer(), ScriptedMesh.layer())))

const overSockets = Effect.gen(function* () {
  const server = yield* MockMeshServer.make()
  yield* server
    .awaitReceived(({ message }) => message._tag === "SubscribeOutput")
    .pipe(Effect.andThen(server.emitAll(messages)), Effect.forkScoped)
  return yield* Effect.provide(followed, NodeMeshClient.layer({ socket: { url: server.url } }))
}).pipe(Effect.scoped)

console.log(JSON.stringify(await Effect.runPromise(Effect.all([inMemory, overSockets]))))
