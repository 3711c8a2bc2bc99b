/**
 * What a stranger's program does with the installed packages: two consumers on
 * one shared client, over a mesh in memory. `packages.ts` compiles it outside
 * the workspace and compares what it prints.
 */
import { Effect, Layer, Stream } from "effect"
import { MeshClient, MeshEvent, TaskId } from "@makima-stream/core"
import { isTerminal } from "@makima-stream/core/TaskStatus"
import { ScriptedMesh } from "@makima-stream/test-kit"

const a = TaskId.make("a")

const program = Effect.gen(function* () {
  const mesh = yield* ScriptedMesh.ScriptedMesh
  const client = yield* MeshClient.MeshClient

  yield* mesh
    .awaitReceived(({ message }) => message._tag === "SubscribeOutput")
    .pipe(
      Effect.andThen(
        mesh.emit(
          { _tag: "TaskOutput", taskId: a, messageType: "assistant", content: "hello" },
          { _tag: "TaskUpdated", taskId: a, version: 1, status: "done" }
        )
      ),
      Effect.forkChild
    )

  const events = yield* client.task(a).pipe(
    Stream.filter((event) => !MeshEvent.isLifecycle(event)),
    Stream.takeUntil((event) => event._tag === "TaskUpdated" && isTerminal(event.status ?? "")),
    Stream.runCollect
  )
  return events.map((event) => (event._tag === "TaskUpdated" ? event.status : event.content))
})

const layer = Layer.provideMerge(MeshClient.layer(), ScriptedMesh.layer)

console.log(JSON.stringify(await Effect.runPromise(Effect.provide(program, layer))))
