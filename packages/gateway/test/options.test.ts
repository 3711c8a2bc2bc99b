import { assert, describe, it } from "@effect/vitest"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Socket from "effect/socket/Socket"
import * as TestClock from "effect/testing/TestClock"
import * as ScriptedMesh from "@makima-stream/test-kit/ScriptedMesh"
import * as Gateway from "../src/Gateway.ts"

describe("the options of a gateway", () => {
  for (const port of [-1, 1.5, 70_000, Number.NaN]) {
    it.effect(`refuses the port ${port} with an error that names the option`, () =>
      Effect.gen(function* () {
        const error = yield* Effect.flip(Gateway.make({ port }))
        assert.strictEqual(error._tag, "InvalidOption")
        assert.strictEqual(error.message, `The option "port" must be an integer from 0 to 65535, not ${port}`)
      }).pipe(Effect.scoped, Effect.provide(ScriptedMesh.layer()))
    )
  }

  it.effect("lead to no connection to the server if the gateway cannot listen", () =>
    Effect.gen(function* () {
      const [one, two] = [yield* ScriptedMesh.make(), yield* ScriptedMesh.make()]
      const { port } = yield* Effect.provideService(Gateway.make({ port: 0 }), Socket.Socket, one.socket)
      const error = yield* Effect.flip(Effect.provideService(Gateway.make({ port }), Socket.Socket, two.socket))
      assert.strictEqual(error._tag, "ListenError")
      yield* TestClock.adjust("1 second")
      assert.strictEqual((yield* one.dials).length, 1)
      assert.deepStrictEqual(yield* two.dials, [])
    }).pipe(Effect.scoped)
  )

  it.effect("can be read from configuration", () =>
    Effect.gen(function* () {
      const { url } = yield* Gateway.Gateway
      assert.match(url, /^http:\/\/127\.0\.0\.1:\d+$/)
    }).pipe(
      Effect.provide(Layer.provide(Gateway.layerConfig({ port: Config.Int("PORT") }), ScriptedMesh.layer())),
      Effect.provideService(ConfigProvider.ConfigProvider, ConfigProvider.fromUnknown({ PORT: 0 }))
    )
  )
})
