/** The end of a recording, for every command. */
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import type * as MeshError from "@makima-stream/core/MeshError"

/** Whether a feed ended because its recording is over. The module for recordings is loaded only then. */
const isOver = (error: MeshError.MeshError): Effect.Effect<boolean> =>
  error.reason._tag === "ConnectionClosed"
    ? Effect.map(
        Effect.promise(() => import("./replay.ts")),
        (Replay) => Replay.isOver(error)
      )
    : Effect.succeed(false)

/** Ends the stream when the recording that it plays is over. Other failures are passed on. */
export const untilOver = <A, R>(
  self: Stream.Stream<A, MeshError.MeshError, R>
): Stream.Stream<A, MeshError.MeshError, R> =>
  Stream.catch(self, (error) =>
    Stream.unwrap(Effect.map(isOver(error), (over) => (over ? Stream.empty : Stream.fail(error))))
  )
