/** This toolkit: every frame validated, every queue bounded, every gap marked. */
import * as Interest from "@makima-stream/core/Interest"
import * as MeshClient from "@makima-stream/core/MeshClient"
import * as MeshStream from "@makima-stream/core/MeshStream"
import type * as MeshEvent from "@makima-stream/core/MeshEvent"
import * as Repair from "@makima-stream/core/Repair"
import * as TaskId from "@makima-stream/core/TaskId"
import type * as ServerMessage from "@makima-stream/core/ServerMessage"
import * as NodeMeshSocket from "@makima-stream/node/NodeMeshSocket"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import { type Job, type Variant } from "./variant.ts"

export const socket = (port: number) => NodeMeshSocket.layer({ url: `http://127.0.0.1:${port}` })

export const idsOf = (job: Job): Set<TaskId.TaskId> => new Set([...job.wanted].map(TaskId.make))

export const consume = <E, R>(outputs: Stream.Stream<ServerMessage.TaskOutput, E, R>, job: Job) =>
  Stream.runForEachArray(outputs, (events) =>
    Effect.sync(() => {
      for (const event of events) job.output(event.content)
    })
  )

/** `MeshStream.connect` through `filterTask` and `outputOnly`. */
export const connect: Variant = {
  expects: () => 1,
  start(job) {
    const outputs = MeshStream.connect({ interest: Interest.all }).pipe(
      MeshStream.filterTask(idsOf(job)),
      MeshStream.outputOnly
    )
    Effect.runFork(Effect.provide(consume(outputs, job), socket(job.port)))
  }
}

const consumeEvents = <E, R>(feed: Stream.Stream<MeshEvent.MeshEvent, E, R>, job: Job) =>
  Stream.runForEachArray(feed, (events) =>
    Effect.sync(() => {
      for (const event of events) if (event._tag === "TaskOutput") job.output(event.content)
    })
  )

/** `MeshStream.connect` without filters. */
export const events: Variant = {
  expects: () => 1,
  start(job) {
    const feed = MeshStream.connect({ interest: Interest.all })
    Effect.runFork(Effect.provide(consumeEvents(feed, job), socket(job.port)))
  }
}

/** The same with a repair, of a feed without gaps. */
export const repair: Variant = {
  expects: () => 1,
  start(job) {
    const feed = MeshStream.connect({ interest: Interest.all }).pipe(
      Repair.repair({ fetch: () => Effect.succeed([]), spread: 0 })
    )
    Effect.runFork(Effect.provide(consumeEvents(feed, job), socket(job.port)))
  }
}

/** One consumer of all updates and of the output of the wanted tasks. */
export const client: Variant = {
  expects: ({ wanted }) => 1 + wanted.size,
  start(job) {
    const program = Effect.gen(function* () {
      const mesh = yield* MeshClient.MeshClient
      const events = mesh.events({ ...Interest.output(idsOf(job)), all: true })
      yield* consume(MeshStream.outputOnly(events), job)
    })
    Effect.runFork(program.pipe(Effect.provide(Layer.provide(MeshClient.layer(), socket(job.port)))))
  }
}

/** One consumer for each task. */
export const clientByTask: Variant = {
  expects: ({ wanted }) => wanted.size,
  start(job) {
    const program = Effect.gen(function* () {
      const mesh = yield* MeshClient.MeshClient
      yield* Effect.forEach(idsOf(job), (taskId) => consume(MeshStream.outputOnly(mesh.output(taskId)), job), {
        concurrency: "unbounded",
        discard: true
      })
    })
    Effect.runFork(program.pipe(Effect.provide(Layer.provide(MeshClient.layer(), socket(job.port)))))
  }
}
