/** `makima-stream mock`: a server on which every other command can be tried. */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as MockMeshServer from "@makima-stream/test-kit/MockMeshServer"
import * as Workload from "@makima-stream/test-kit/Workload"
import { Environment } from "../internal/environment.ts"
import * as Output from "../internal/output.ts"
import { Failure, exitCodes } from "../Program.ts"

/** What is played. */
export interface Play {
  readonly tasks: number
  readonly seed: number
  readonly speed: number
  readonly concurrency: Option.Option<number>
  readonly loop: boolean
  /** Further options of the workload. Defaults to those of `Workload`. */
  readonly workload?: Omit<Workload.Options, "seed" | "tasks" | "concurrency">
}

/** The values of the command line. */
export interface Input extends Play {
  readonly port: number
  readonly host: string
  readonly keyEnv: Option.Option<string>
  readonly killEvery: Option.Option<number>
  readonly output: "text" | "json"
}

/** Starts the server. The scope owns it. */
export const make = (options: { readonly host: string; readonly port: number; readonly key: string | undefined }) =>
  MockMeshServer.make({
    host: options.host,
    port: options.port,
    keepMessages: false,
    ...(options.key === undefined ? {} : { apiKey: Redacted.make(options.key) })
  }).pipe(Effect.mapError(({ message }) => new Failure({ message, exitCode: exitCodes.usage })))

/** Plays workloads, each with tasks of its own. */
export const play = Effect.fnUntraced(function* (server: MockMeshServer.Service, input: Play) {
  // Nothing is played before a client has subscribed.
  yield* server.awaitReceived(() => true)
  for (let round = 0; round === 0 || input.loop; round++) {
    const workload = Workload.make({
      ...input.workload,
      seed: input.seed + round,
      tasks: input.tasks,
      ...(Option.isSome(input.concurrency) ? { concurrency: input.concurrency.value } : {})
    })
    yield* server.play(workload, { speed: input.speed })
    // A workload without messages must not keep the processor busy.
    if (workload.length === 0) yield* Effect.sleep("1 second")
  }
  yield* server.drain()
})

/** Runs the command. */
export const run = Effect.fnUntraced(function* (input: Input) {
  const key = Option.isSome(input.keyEnv) ? ((yield* Environment)[input.keyEnv.value] ?? "").trim() : undefined
  if (key === "") {
    return yield* new Failure({
      message: `There is no key in the variable ${Option.getOrElse(input.keyEnv, () => "")}`,
      exitCode: exitCodes.usage
    })
  }
  yield* Effect.gen(function* () {
    const server = yield* make({ host: input.host, port: input.port, key })
    yield* Output.out(input.output === "json" ? `${JSON.stringify({ url: server.url })}\n` : `${server.url}\n`)
    yield* Output.err(`Try: makima-stream top --url ${server.url}\n`)
    if (Option.isSome(input.killEvery)) {
      yield* server.kill().pipe(Effect.delay(input.killEvery.value), Effect.forever, Effect.forkScoped)
    }
    yield* play(server, input)
    if (!input.loop) yield* server.close(1000, "The workload is over")
  }).pipe(Effect.scoped)
})
