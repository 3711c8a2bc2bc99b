/**
 * The main use of the toolkit on real WebSocket traffic: follows the updates of all
 * tasks, and the output of each task from its first update on, through a network with
 * latency and three faults. At the end it compares the received events with the server's
 * log.
 *
 * `pnpm demo`, `pnpm demo --json`, `pnpm demo --seed 7 --tasks 100`,
 * `MAKIMA_API_KEY=… pnpm demo --url https://…`
 */
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Endpoint from "@makima-stream/core/Endpoint"
import * as MeshConfig from "@makima-stream/node/MeshConfig"
import * as NodeMeshClient from "@makima-stream/node/NodeMeshClient"
import * as Audit from "@makima-stream/test-kit/Audit"
import * as Frame from "./demo/Frame.ts"
import * as Local from "./demo/Local.ts"
import type * as Tally from "./demo/Tally.ts"
import * as View from "./demo/View.ts"
import * as Cli from "./support/cli.ts"

/** Follows a real server until the program is interrupted or the feed fails. */
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

const demo = Command.make(
  "demo",
  {
    seed: Flag.Int("seed").pipe(Flag.withDescription("The seed of the workload. Defaults to 1"), Flag.optional),
    tasks: Flag.Int("tasks").pipe(
      Flag.withDescription("The number of tasks, from 1 to 1000. Defaults to 24"),
      Flag.withSchema(Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 1000 }))),
      Flag.optional
    ),
    json: Flag.Boolean("json").pipe(Flag.withDescription("Print only the final object"), Flag.withDefault(false)),
    url: Flag.String("url").pipe(
      Flag.withDescription("Follow the server at this URL instead, with the key from MAKIMA_API_KEY"),
      Flag.optional
    )
  },
  Effect.fnUntraced(function* ({ json, seed, tasks, url }) {
    if (Option.isSome(url)) {
      if (Option.isSome(seed) || Option.isSome(tasks)) {
        return yield* new Cli.Failure({
          message: "--seed and --tasks are for the mock server, not for --url",
          exitCode: 2
        })
      }
      return yield* remote({ url: url.value, json }).pipe(
        Effect.mapError(
          (error) => new Cli.Failure({ message: error.message, exitCode: error._tag === "MeshError" ? 1 : 2 })
        )
      )
    }
    const expected = Option.getOrElse(tasks, () => 24)
    const { report, tally } = yield* Local.run({
      seed: Option.getOrElse(seed, () => 1),
      tasks: expected,
      view: View.auto({ json, expected })
    }).pipe(Effect.mapError(({ message }) => new Cli.Failure({ message, exitCode: 1 })))
    yield* print(tally, report, json)
    if (!Audit.isClean(report)) {
      return yield* new Cli.Failure({ message: "The audit found a violation: see the counts", exitCode: 1 })
    }
  })
).pipe(
  Command.withDescription("Follows a task feed through three faults of its connection, and audits the received events")
)

Cli.main(demo)
