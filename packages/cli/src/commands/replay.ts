/** `makima-stream replay`: plays a recording, as text, as JSON, or as a server. */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Stream from "effect/Stream"
import * as ServerMessage from "@makima-stream/core/ServerMessage"
import * as MockMeshServer from "@makima-stream/test-kit/MockMeshServer"
import * as Recording from "@makima-stream/test-kit/Recording"
import * as Output from "../internal/output.ts"
import { Failure, exitCodes } from "../Program.ts"
import * as Tail from "./tail.ts"

/** The values of the command line. */
export interface Input extends Tail.Filter, Tail.Format {
  readonly file: string
  readonly speed: number
  readonly count: Option.Option<number>
  readonly serve: boolean
  readonly port: number
  readonly host: string
}

/** Whether the mock server answers with this message by itself. */
const isAcknowledgement = ({ _tag }: ServerMessage.ServerMessage): boolean => /ubscribed/.test(_tag)

/** Sends a recorded frame to the connections that subscribed to it. */
const send = (server: MockMeshServer.Service, text: string): Effect.Effect<unknown> => {
  const message = ServerMessage.decodeFrame(text)
  if (Result.isFailure(message)) return server.emitRaw(text)
  return isAcknowledgement(message.success) ? Effect.void : server.emit(message.success)
}

const failure = (message: string) => new Failure({ message, exitCode: exitCodes.failed })

/** Plays the recording to all clients, from the first request on. */
const serve = Effect.fnUntraced(function* (input: Input) {
  const server = yield* MockMeshServer.make({ host: input.host, port: input.port, keepMessages: false }).pipe(
    Effect.mapError(({ message }) => failure(message))
  )
  yield* Output.out(`${server.url}\n`)
  yield* Output.err(`Try: makima-stream top --url ${server.url}\n`)
  yield* server.awaitReceived(() => true)
  let now = 0
  yield* Recording.read(Recording.fromFile(input.file)).pipe(
    Stream.runForEach((entry) =>
      Effect.gen(function* () {
        const wait = (entry.at - now) / input.speed
        now = entry.at
        if (wait > 0) yield* Effect.sleep(wait)
        if (entry._tag === "Received") {
          yield* send(
            server,
            "text" in entry.frame ? entry.frame.text : Buffer.from(entry.frame.base64, "base64").toString()
          )
          yield* server.drain(1 << 20)
        }
        // A connection that was lost is lost again, so that the gap is where it was.
        if (entry._tag === "Ended" && entry.reason !== undefined) yield* server.kill()
      })
    ),
    Effect.mapError(({ message }) => failure(message))
  )
  yield* server.drain()
  yield* server.close(1000, "The recording is over")
  yield* Output.err("The recording is over\n")
}, Effect.scoped)

/** Runs the command. */
export const run = Effect.fnUntraced(function* (input: Input) {
  if (input.serve) return yield* serve(input)
  const none = { url: Option.none(), context: Option.none(), keyEnv: Option.none(), keyFile: Option.none() }
  yield* Tail.run({
    ...input,
    ...none,
    keyCommand: Option.none(),
    replay: Option.some(input.file),
    tasks: [],
    follow: true
  })
})
