import { assert, describe, it } from "@effect/vitest"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Effect from "effect/Effect"
import * as Proxy from "../../src/internal/proxy.ts"

const resolve = (variables: { readonly [name: string]: string }, url = "wss://api.example") =>
  Proxy.resolve("environment", new URL(url)).pipe(
    Effect.provideService(ConfigProvider.ConfigProvider, ConfigProvider.fromUnknown(variables))
  )

describe("proxy", () => {
  const urls: ReadonlyArray<readonly [text: string, where: string | undefined]> = [
    ["http://proxy.example:3128", "proxy.example:3128"],
    ["http://proxy.example", "proxy.example:80"],
    ["https://proxy.example/", "proxy.example:443"],
    ["proxy.example:3128", "proxy.example:3128"],
    [" http://[::1]:8080 ", "::1:8080"],
    ["socks5://proxy.example:1080", undefined],
    ["http://", undefined],
    ["", undefined]
  ]
  for (const [text, where] of urls) {
    it(`${JSON.stringify(text)} is a proxy at ${where}`, () => {
      const proxy = Proxy.parse(text)
      assert.strictEqual(proxy && `${proxy.host}:${proxy.port}`, where)
    })
  }

  it("sends the user and the password of the URL, decoded", () => {
    const proxy = Proxy.parse("http://me:p%40ss@proxy.example")
    assert.strictEqual(proxy?.authorization, `Basic ${Buffer.from("me:p@ss").toString("base64")}`)
    assert.includeMembers([...(proxy?.secrets ?? [])], ["p@ss", "p%40ss"])
    assert.isUndefined(Proxy.parse("http://proxy.example")?.authorization)
  })

  const exclusions: ReadonlyArray<readonly [noProxy: string, url: string, excluded: boolean]> = [
    ["", "wss://api.example", false],
    ["*", "wss://api.example", true],
    ["api.example", "wss://api.example", true],
    ["API.Example", "wss://api.example", true],
    ["example", "wss://api.example", true],
    [".example", "wss://api.example", true],
    ["*.example", "wss://api.example", true],
    ["ample", "wss://api.example", false],
    ["other, api.example", "wss://api.example", true],
    ["other api.example", "wss://api.example", true],
    ["api.example:443", "wss://api.example", true],
    ["api.example:8443", "wss://api.example", false],
    ["api.example:80", "ws://api.example", true],
    ["127.0.0.1", "ws://127.0.0.1:8080", true],
    ["127.0.0.1:8080", "ws://127.0.0.1:8080", true],
    ["[::1]", "ws://[::1]:8080", true],
    ["::1", "ws://[::1]:8080", true],
    ["[::1]:80", "ws://[::1]:8080", false]
  ]
  for (const [noProxy, url, excluded] of exclusions) {
    it(`NO_PROXY "${noProxy}" ${excluded ? "excludes" : "does not exclude"} ${url}`, () => {
      assert.strictEqual(Proxy.isExcluded(noProxy, new URL(url)), excluded)
    })
  }

  it.effect("takes HTTPS_PROXY for wss, HTTP_PROXY for ws, in lower case first", () =>
    Effect.gen(function* () {
      const variables = { HTTPS_PROXY: "http://s:1", HTTP_PROXY: "http://p:2" }
      assert.deepInclude(yield* resolve(variables), { host: "s", port: 1 })
      assert.deepInclude(yield* resolve(variables, "ws://api.example"), { host: "p", port: 2 })
      assert.deepInclude(yield* resolve({ ...variables, https_proxy: "http://l:3" }), { host: "l", port: 3 })
    })
  )

  it.effect("takes no proxy where the environment has none, or an empty one, or NO_PROXY excludes the server", () =>
    Effect.gen(function* () {
      assert.isUndefined(yield* resolve({}))
      assert.isUndefined(yield* resolve({ HTTPS_PROXY: " " }))
      assert.isUndefined(yield* resolve({ HTTPS_PROXY: "http://s:1", NO_PROXY: "api.example" }))
      assert.isUndefined(yield* resolve({ HTTPS_PROXY: "http://s:1", no_proxy: "api.example" }))
      assert.isUndefined(yield* Proxy.resolve(false, new URL("wss://api.example")))
    })
  )

  it.effect("a variable that is not a proxy's URL fails, and its value is not repeated", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(resolve({ HTTPS_PROXY: "socks5://me:s3cret@host" }))
      assert.strictEqual(error.message, "HTTPS_PROXY is not the URL of an HTTP proxy")
    })
  )
})
