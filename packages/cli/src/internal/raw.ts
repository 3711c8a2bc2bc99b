/**
 * `-o raw`: the frames of the server as they are, one a line. The frames are
 * taken from the socket, so that acknowledgements and frames that cannot be
 * decoded are among them.
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Socket from "effect/socket/Socket"
import * as Stream from "effect/Stream"
import * as Interest from "@makima-stream/core/Interest"
import * as MeshClient from "@makima-stream/core/MeshClient"
import { Failure, exitCodes } from "../Program.ts"
import type { Input } from "../commands/tail.ts"
import * as Connection from "./connection.ts"
import * as Feed from "./feed.ts"
import * as Line from "./line.ts"
import * as Output from "./output.ts"
import * as Text from "./text.ts"

const decoder = new TextDecoder()

/** The text of a frame. On a terminal, without control sequences. */
const toLine = (frame: string | Uint8Array): string => {
  const text = typeof frame === "string" ? frame : decoder.decode(frame)
  return `${process.stdout.isTTY ? Text.strip(text) : text}\n`
}

/** A socket that prints each frame before it is read, at most `limit` of them. */
const printing = (socket: Socket.Socket, limit: number, done: Effect.Effect<unknown>): Socket.Socket => {
  let left = limit
  return Socket.make({
    reader: Effect.map(socket.reader, (inner) => ({
      ...inner,
      pull: Effect.tap(inner.pull, (frames) => {
        const printed = frames.slice(0, left)
        left -= printed.length
        const write = Output.out(printed.map(toLine).join(""))
        return left === 0 ? Effect.andThen(write, done) : write
      })
    })),
    writer: socket.writer
  })
}

/** Runs `tail -o raw`. */
export const run = Effect.fnUntraced(function* (input: Input) {
  const filters = [...input.include, ...input.exclude, ...input.status, ...input.type]
  if (filters.length > 0 || Option.isSome(input.template) || input.timestamps) {
    return yield* new Failure({
      message: "-o raw prints every frame as it is: flags that filter, time or format events cannot be used",
      exitCode: exitCodes.usage
    })
  }
  const limit = Option.getOrElse(input.count, () => Infinity)
  const end = Effect.suspend(() => closing)
  let closing: Effect.Effect<void> = Effect.void
  const socket = Layer.effect(
    Socket.Socket,
    Effect.map(Socket.Socket, (socket) => printing(socket, limit, Effect.forkDetach(end)))
  ).pipe(Layer.provide(Connection.socket(input)))
  yield* Effect.gen(function* () {
    const client = yield* MeshClient.MeshClient
    closing = client.close
    const events = input.tasks.length === 0 ? client.everything() : client.events(Interest.task(input.tasks))
    yield* Feed.untilOver(events).pipe(
      Stream.runForEachArray((batch) => {
        const text = input.quiet ? "" : batch.flatMap((event) => Line.lifecycle(event) ?? []).join("\n")
        return Output.err(text === "" ? "" : `${text}\n`)
      })
    )
  }).pipe(MeshClient.drainOnInterrupt(), Effect.provide(MeshClient.layer().pipe(Layer.provide(socket))))
})
