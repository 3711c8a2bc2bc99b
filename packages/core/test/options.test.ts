import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Config from "effect/Config"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import * as SubscriptionRef from "effect/SubscriptionRef"
import * as ScriptedMesh from "@makima-stream/test-kit/ScriptedMesh"
import * as Interest from "../src/Interest.ts"
import * as MeshClient from "../src/MeshClient.ts"
import type { MeshEvent } from "../src/MeshEvent.ts"
import * as MeshSession from "../src/MeshSession.ts"
import * as MeshStream from "../src/MeshStream.ts"
import * as Repair from "../src/Repair.ts"

/** A value that a program in JavaScript, or from configuration, may pass. */
const misspelt = <A>(value: string): A => value as A

const feed: Stream.Stream<MeshEvent> = Stream.empty

/** What each option does with a misspelt value when the operator is applied. */
const applied: Record<string, () => unknown> = {
  keep: () => MeshStream.outputOnly(feed, { keep: misspelt("resyncs") }),
  pieces: () => MeshStream.joinPartials(feed, { pieces: misspelt("snapshots") }),
  closing: () => MeshStream.joinPartials(feed, { closing: misspelt("pieces") }),
  ends: () => MeshStream.lines(feed, { ends: misspelt("newlines") }),
  onFailure: () => Repair.repair(feed, { fetch: () => Effect.succeed([]), onFailure: misspelt("fails") })
}

/** What each option does with a misspelt value in a program. */
const run: Record<string, Effect.Effect<unknown, unknown, MeshClient.MeshClient>> = {
  overflow: Effect.flatMap(MeshClient.MeshClient, (client) =>
    Stream.runDrain(client.updates(undefined, { overflow: misspelt("drop") }))
  ),
  output: Effect.flatMap(MeshClient.MeshClient, (client) =>
    Stream.runDrain(client.everything({ output: misspelt("all") }))
  ),
  onBadFrame: Effect.scoped(
    Effect.provide(MeshSession.make(Interest.all, { onBadFrame: misspelt("skip") }), ScriptedMesh.layer())
  )
}

const layer = Layer.provide(MeshClient.layer(), ScriptedMesh.layer())

describe("a misspelt value of an option", () => {
  for (const [option, apply] of Object.entries(applied)) {
    it(`is refused where it is passed: ${option}`, () => {
      assert.throws(apply, TypeError, `The option "${option}" must be "`)
    })
  }

  for (const [option, program] of Object.entries(run)) {
    it.effect(`is a defect that names the option: ${option}`, () =>
      Effect.gen(function* () {
        const exit = yield* Effect.exit(Effect.provide(program, layer))
        assert.include(Exit.isFailure(exit) ? Cause.pretty(exit.cause) : "success", `The option "${option}" must be "`)
      })
    )
  }
})

describe("MeshClient.layerConfig", () => {
  const layer = MeshClient.layerConfig({
    keepAlive: Config.Boolean("KEEP_ALIVE"),
    policy: { minDelay: Config.Duration("MIN_DELAY") }
  }).pipe(Layer.provide(ScriptedMesh.layer()))

  const status = (env: Record<string, string>) =>
    MeshClient.MeshClient.pipe(
      Effect.flatMap((client) =>
        SubscriptionRef.changes(client.status).pipe(
          Stream.filter(({ _tag }) => _tag !== "Idle" && _tag !== "Connecting"),
          Stream.take(1),
          Stream.runCollect
        )
      ),
      Effect.map(([first]) => first?._tag),
      Effect.provide(layer),
      Effect.provideService(ConfigProvider.ConfigProvider, ConfigProvider.fromUnknown(env))
    )

  it.effect("reads its options, also those inside of another option", () =>
    Effect.gen(function* () {
      assert.strictEqual(yield* status({ KEEP_ALIVE: "true", MIN_DELAY: "1 second" }), "Online")
    })
  )

  for (const missing of ["KEEP_ALIVE", "MIN_DELAY"]) {
    it.effect(`fails if the configuration has no ${missing}`, () =>
      Effect.gen(function* () {
        const env = { KEEP_ALIVE: "true", MIN_DELAY: "1 second" }
        const error = yield* Effect.flip(status({ ...env, [missing]: undefined }))
        assert.strictEqual(error._tag, "ConfigError")
        assert.include(error.message, missing)
      })
    )
  }

  it.effect("reads all options from one Config", () =>
    Effect.gen(function* () {
      const whole = MeshClient.layerConfig(Config.map(Config.Boolean("KEEP_ALIVE"), (keepAlive) => ({ keepAlive })))
      const state = yield* Effect.flatMap(MeshClient.MeshClient, (client) => client.awaitOnline).pipe(
        Effect.as("online"),
        Effect.provide(Layer.provide(whole, ScriptedMesh.layer())),
        Effect.provideService(ConfigProvider.ConfigProvider, ConfigProvider.fromUnknown({ KEEP_ALIVE: "true" }))
      )
      assert.strictEqual(state, "online")
    })
  )
})
