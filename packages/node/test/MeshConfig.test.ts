import * as Endpoint from "@makima-stream/core/Endpoint"
import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Socket from "effect/socket/Socket"
import * as MeshConfig from "../src/MeshConfig.ts"
import * as NodeMeshSocket from "../src/NodeMeshSocket.ts"
import * as Servers from "./support/servers.ts"

type Variables = { readonly [name: string]: string }

const withVariables = (env: Variables) =>
  Effect.provideService(ConfigProvider.ConfigProvider, ConfigProvider.fromEnvRecord(env))

const refused: ReadonlyArray<readonly [string, Variables, string]> = [
  ["no key", {}, "MAKIMA_API_KEY is not set: it must contain the key for the Makima server"],
  ["an empty key", { MAKIMA_API_KEY: "" }, "MAKIMA_API_KEY is not set: it must contain the key for the Makima server"],
  [
    "a blank key",
    { MAKIMA_API_KEY: " \n" },
    "MAKIMA_API_KEY is not set: it must contain the key for the Makima server"
  ],
  [
    "a key that cannot be sent",
    { MAKIMA_API_KEY: "hunter2\nx" },
    "MAKIMA_API_KEY: The key has characters that are not allowed in an HTTP header"
  ],
  [
    "a URL of another protocol",
    { MAKIMA_API_KEY: "hunter2", MAKIMA_API_URL: "api.makima.jp" },
    "MAKIMA_API_URL: The server's URL must begin with https://, http://, wss:// or ws://"
  ],
  [
    "a URL with a password",
    { MAKIMA_API_KEY: "hunter2", MAKIMA_API_URL: "https://me:hunter2@host" },
    "MAKIMA_API_URL: The server's URL must not contain a user or a password"
  ]
]

describe("MeshConfig", () => {
  for (const [what, env, line] of refused) {
    it.effect(`${what} is one line that names the variable, before anything is dialled`, () =>
      Effect.gen(function* () {
        const error = yield* MeshConfig.load.pipe(withVariables(env), Effect.flip)
        assert.strictEqual(error._tag, "MeshConfigError")
        assert.strictEqual(error.message, line)
        assert.notInclude(JSON.stringify(error), "hunter2")
        // What `runMain` prints.
        assert.strictEqual(Cause.pretty(Cause.fail(error)), `${error.name}: ${line}`)
        const layerError = yield* Layer.build(NodeMeshSocket.layerConfig()).pipe(withVariables(env), Effect.flip)
        assert.deepStrictEqual(layerError, error)
      })
    )
  }

  it.effect("the public server is the default", () =>
    Effect.gen(function* () {
      for (const env of [{ MAKIMA_API_KEY: "hunter2" }, { MAKIMA_API_KEY: "hunter2", MAKIMA_API_URL: "" }]) {
        const { url } = yield* withVariables(env)(MeshConfig.load)
        assert.strictEqual(url, "wss://api.makima.jp/api/v1/mesh/tasks/subscribe")
        assert.include(url, Endpoint.publicServer.slice("https://".length))
      }
    })
  )

  it.effect("the key is redacted, without the white space around it", () =>
    Effect.gen(function* () {
      const { apiKey } = yield* withVariables({ MAKIMA_API_KEY: " hunter2\n" })(MeshConfig.load)
      assert.strictEqual(String(apiKey), "<redacted>")
      assert.strictEqual(Redacted.value(apiKey), "hunter2")
    })
  )

  it.effect("a variable that cannot be read is reported without the cause, which may hold its value", () =>
    Effect.gen(function* () {
      const provider = ConfigProvider.make(() =>
        Effect.fail(new ConfigProvider.SourceError({ message: "hunter2: no such file" }))
      )
      const error = yield* MeshConfig.load.pipe(
        Effect.provideService(ConfigProvider.ConfigProvider, provider),
        Effect.flip
      )
      assert.strictEqual(error.message, "MAKIMA_API_URL could not be read")
      assert.notInclude(JSON.stringify(error), "hunter2")
    })
  )

  it.effect("the socket dials the configured server with the configured key, read anew for each dial", () =>
    Effect.gen(function* () {
      const server = yield* Servers.webSocketServer()
      const env = { MAKIMA_API_URL: server.url, MAKIMA_API_KEY: "first" }
      const provider = ConfigProvider.fromEnvRecord(env)
      const socket = yield* Socket.Socket.pipe(
        Effect.provide(NodeMeshSocket.layerConfig({ userAgent: "cost-meter/2" })),
        Effect.provideService(ConfigProvider.ConfigProvider, provider)
      )
      for (const key of ["first", "rotated"]) {
        env.MAKIMA_API_KEY = key
        yield* Effect.scoped(socket.reader)
        const { request } = yield* server.accept
        assert.strictEqual(request.headers["x-makima-api-key"], key)
        assert.strictEqual(request.headers["user-agent"], "cost-meter/2")
      }
    })
  )
})
