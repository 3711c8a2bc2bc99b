/** A client on a scripted mesh, and helpers that read what its consumers received. */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Result from "effect/Result"
import * as Schedule from "effect/Schedule"
import * as Stream from "effect/Stream"
import * as Socket from "effect/socket/Socket"
import * as ScriptedMesh from "@makima-stream/test-kit/ScriptedMesh"
import * as MeshClient from "../../src/MeshClient.ts"
import type * as MeshError from "../../src/MeshError.ts"
import type { MeshEvent } from "../../src/MeshEvent.ts"
import type { ServerMessage } from "../../src/ServerMessage.ts"
import { TaskId } from "../../src/TaskId.ts"
import { closesEverything } from "./leaves.ts"

export const a = TaskId.make("a")
export const b = TaskId.make("b")

export const updated = (version: number, taskId: TaskId = a, status = "running"): ServerMessage => ({
  _tag: "TaskUpdated",
  taskId,
  version,
  status
})

export const said = (content: string, taskId: TaskId = a): ServerMessage => ({
  _tag: "TaskOutput",
  taskId,
  messageType: "assistant",
  content
})

export const partial = (content: string, taskId: TaskId = a): ServerMessage => ({
  _tag: "TaskOutput",
  taskId,
  messageType: "assistant",
  content,
  isPartial: true
})

/** The default delays without their jitter, so that times can be exact. */
export const plain = { schedule: Schedule.spaced("2 seconds") }

export const setup = (options?: MeshClient.Options & { readonly mesh?: ScriptedMesh.Options }) =>
  Effect.gen(function* () {
    const mesh = yield* ScriptedMesh.make(options?.mesh)
    yield* closesEverything(mesh)
    const client = yield* MeshClient.make({ policy: plain, ...options }).pipe(
      Effect.provideService(Socket.Socket, mesh.socket)
    )
    return { mesh, client }
  })

export const tags = (events: ReadonlyArray<MeshEvent>) => events.map((event) => event._tag)

export const data = (events: ReadonlyArray<MeshEvent>) =>
  events.flatMap((event) =>
    event._tag === "TaskUpdated"
      ? [`${event.taskId} ${event.version}`]
      : event._tag === "TaskOutput"
        ? [`${event.taskId}: ${event.content}`]
        : []
  )

export const requests = (mesh: ScriptedMesh.ScriptedMesh["Service"], connection?: number) =>
  Effect.map(mesh.received, (received) =>
    received
      .filter((request) => connection === undefined || request.connection === connection)
      .map(({ message }) => ("taskId" in message ? `${message._tag} ${message.taskId}` : message._tag))
  )

export const reasonOf = (exit: Exit.Exit<void, MeshError.MeshError>): string => {
  const error = Exit.findError(exit)
  return Result.isSuccess(error) ? error.success.reason._tag : "none"
}

/** A consumer that reads up to the mark that opens its complete stretch, then stops until `release`. */
export const stalled = <A extends MeshEvent>(stream: Stream.Stream<A, MeshError.MeshError>) =>
  Effect.gen(function* () {
    const events: Array<MeshEvent> = []
    const started = yield* Deferred.make<void>()
    const gate = yield* Deferred.make<void>()
    const fiber = yield* stream.pipe(
      Stream.runForEachArray((batch) => {
        events.push(...batch)
        return events.some(({ _tag }) => _tag === "Resync")
          ? Effect.andThen(Deferred.succeed(started, undefined), Deferred.await(gate))
          : Effect.void
      }),
      Effect.forkScoped
    )
    return { events, fiber, started: Deferred.await(started), release: Deferred.succeed(gate, undefined) }
  })

/** The number of lost events, by the marks that a consumer received. */
export const dropped = (events: ReadonlyArray<MeshEvent>): number =>
  events.reduce(
    (sum, event) => (event._tag === "Resync" && event.reason._tag === "Overflow" ? sum + event.reason.dropped : sum),
    0
  )
