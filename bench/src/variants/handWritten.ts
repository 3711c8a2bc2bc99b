/**
 * A simple client on Effect: Effect's own socket, a schema for each frame, a filter.
 * No reconnect, no marks, no interest.
 */
import * as NodeWS from "@effect/platform-node/NodeWS"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Socket from "effect/socket/Socket"
import * as Stream from "effect/Stream"
import { feedUrl, type Variant } from "./variant.ts"

const TaskUpdated = Schema.Struct({
  type: Schema.Literal("taskUpdated"),
  taskId: Schema.String,
  version: Schema.optionalKey(Schema.NullOr(Schema.Int)),
  status: Schema.optionalKey(Schema.NullOr(Schema.String)),
  updatedFields: Schema.optionalKey(Schema.NullOr(Schema.Array(Schema.String))),
  updatedBy: Schema.optionalKey(Schema.NullOr(Schema.String))
})

const TaskOutput = Schema.Struct({
  type: Schema.Literal("taskOutput"),
  taskId: Schema.String,
  messageType: Schema.String,
  content: Schema.String,
  toolName: Schema.optionalKey(Schema.NullOr(Schema.String)),
  toolInput: Schema.optionalKey(Schema.Json),
  isError: Schema.optionalKey(Schema.NullOr(Schema.Boolean)),
  costUsd: Schema.optionalKey(Schema.NullOr(Schema.Number)),
  durationMs: Schema.optionalKey(Schema.NullOr(Schema.Int)),
  isPartial: Schema.optionalKey(Schema.NullOr(Schema.Boolean))
})

const decode = Schema.decodeEffect(Schema.fromJsonString(Schema.Union([TaskUpdated, TaskOutput])))

export const handWritten: Variant = {
  expects: () => 0,
  start({ port, wanted, output }) {
    const program = Effect.gen(function* () {
      const socket = yield* Socket.makeWebSocket(feedUrl(port))
      return yield* Stream.never.pipe(
        Stream.pipeThroughChannel(Socket.toChannelString(socket)),
        Stream.mapEffect((frame) => decode(frame)),
        Stream.filter((message) => message.type === "taskOutput"),
        Stream.filter((message) => wanted.has(message.taskId)),
        Stream.runForEachArray((messages) =>
          Effect.sync(() => {
            for (const message of messages) output(message.content)
          })
        )
      )
    })
    Effect.runFork(Effect.provide(program, NodeWS.layerWebSocketConstructor))
  }
}
