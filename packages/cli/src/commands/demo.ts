/** `makima-stream demo`: a mock server, three faults, and the audit of what arrived. */
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Endpoint from "@makima-stream/core/Endpoint"
import * as MeshConfig from "@makima-stream/node/MeshConfig"
import * as NodeMeshClient from "@makima-stream/node/NodeMeshClient"
import * as Audit from "@makima-stream/test-kit/Audit"
import * as Frame from "../demo/Frame.ts"
import * as Local from "../demo/Local.ts"
import type * as Tally from "../demo/Tally.ts"
import * as View from "../demo/View.ts"
import { Failure, exitCodes } from "../Program.ts"

/** Follows a real server until the program is interrupted or the server refuses for good. */
const remote = Effect.fnUntraced(function* (options: { readonly url: string; readonly json: boolean }) {
  yield* Effect.fromResult(Endpoint.fromString(options.url))
  const apiKey = yield* MeshConfig.apiKey
  return yield* Effect.gen(function* () {
    const view = yield* View.auto({ json: options.json, expected: undefined })
    const { following, tally } = yield* Local.follow({ view, keep: () => {} })
    yield* Fiber.join(following).pipe(
      Effect.onInterrupt(() => Effect.flatMap(tally, (seen) => print(seen, undefined, options.json)))
    )
  }).pipe(
    // The view is removed before anything else is printed.
    Effect.scoped,
    Effect.provide(NodeMeshClient.layer({ socket: { url: options.url, apiKey } }))
  )
})

const print = (tally: Tally.Tally, report: Audit.Report | undefined, json: boolean) => {
  const text = Frame.summary(tally, report === undefined ? undefined : Audit.format(report))
  return Effect.andThen(
    json ? Effect.void : Console.log(`\n${View.wrapped(text)}`),
    Console.log(JSON.stringify(Local.toResult(tally, report)))
  )
}

/** The values of the command line. */
export interface Input {
  readonly seed: Option.Option<number>
  readonly tasks: Option.Option<number>
  readonly connections: number
  readonly json: boolean
  readonly url: Option.Option<string>
}

/** Runs the command. */
export const run = Effect.fnUntraced(function* ({ connections, json, seed, tasks, url }: Input) {
  if (Option.isSome(url)) {
    if (Option.isSome(seed) || Option.isSome(tasks)) {
      return yield* new Failure({
        message: "--seed and --tasks are for the mock server, not for --url",
        exitCode: exitCodes.usage
      })
    }
    return yield* remote({ url: url.value, json }).pipe(
      Effect.mapError(
        ({ _tag, message }) =>
          new Failure({ message, exitCode: _tag === "MeshError" ? exitCodes.failed : exitCodes.usage })
      )
    )
  }
  const expected = Option.getOrElse(tasks, () => 24)
  const { report, tally } = yield* Local.run({
    seed: Option.getOrElse(seed, () => 1),
    tasks: expected,
    connections,
    view: View.auto({ json, expected })
  }).pipe(Effect.mapError(({ message }) => new Failure({ message, exitCode: exitCodes.failed })))
  yield* print(tally, report, json)
  if (!Audit.isClean(report)) {
    return yield* new Failure({ message: "The audit found a violation: see the counts", exitCode: exitCodes.failed })
  }
})
