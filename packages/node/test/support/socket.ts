/** Helpers for tests of a socket. */
import * as MeshError from "@makima-stream/core/MeshError"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as Socket from "effect/socket/Socket"
import * as TestClock from "effect/testing/TestClock"
import * as NodeMeshSocket from "../../src/NodeMeshSocket.ts"
import * as Servers from "./servers.ts"

export const key = Redacted.make("the-key")

/** A reader on a connection that lasts as long as the test. */
export const open = (options: NodeMeshSocket.Options) =>
  Effect.flatMap(NodeMeshSocket.make(options), ({ reader }) => reader)

/** The reason why a connection ended, after the frames before it. */
export const ending = (reader: Socket.Reader) =>
  Effect.gen(function* () {
    const frames: Array<string | Uint8Array> = []
    while (true) {
      const result = yield* Effect.result(reader.pull)
      if (result._tag === "Failure") return { frames, reason: MeshError.fromSocketError(result.failure) }
      frames.push(...result.success)
    }
  })

/** Pulls this many frames. */
export const pullFrames = (reader: Socket.Reader, count: number) =>
  Effect.gen(function* () {
    const frames: Array<string | Uint8Array> = []
    while (frames.length < count) frames.push(...(yield* reader.pull))
    return frames
  })

/** Advances the test clock second by second, and reads the sockets after each. */
export const seconds = (count: number) =>
  Effect.gen(function* () {
    for (let i = 0; i < count; i++) {
      yield* TestClock.adjust("1 second")
      yield* Servers.settled(() => 0)
    }
  })
