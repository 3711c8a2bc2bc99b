import { assert, describe, it } from "@effect/vitest"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Endpoint from "../src/Endpoint.ts"

const accepted: ReadonlyArray<readonly [input: string, endpoint: string]> = [
  ["https://host", "wss://host/api/v1/mesh/tasks/subscribe"],
  ["https://host/", "wss://host/api/v1/mesh/tasks/subscribe"],
  ["http://host", "ws://host/api/v1/mesh/tasks/subscribe"],
  ["wss://host", "wss://host/api/v1/mesh/tasks/subscribe"],
  ["ws://host", "ws://host/api/v1/mesh/tasks/subscribe"],
  ["https://host/api/v1", "wss://host/api/v1/mesh/tasks/subscribe"],
  ["https://host/api/v1///", "wss://host/api/v1/mesh/tasks/subscribe"],
  ["https://host/prefix", "wss://host/prefix/api/v1/mesh/tasks/subscribe"],
  ["https://host/prefix/", "wss://host/prefix/api/v1/mesh/tasks/subscribe"],
  ["https://host/prefix/api/v1", "wss://host/prefix/api/v1/mesh/tasks/subscribe"],
  ["https://host/@team", "wss://host/@team/api/v1/mesh/tasks/subscribe"],
  ["wss://host/api/v1/mesh/tasks/subscribe", "wss://host/api/v1/mesh/tasks/subscribe"],
  ["https://host/api/v1/mesh/tasks/subscribe/", "wss://host/api/v1/mesh/tasks/subscribe"],
  ["http://localhost:8080", "ws://localhost:8080/api/v1/mesh/tasks/subscribe"],
  ["http://[::1]:8080", "ws://[::1]:8080/api/v1/mesh/tasks/subscribe"],
  ["https://host:443", "wss://host/api/v1/mesh/tasks/subscribe"],
  ["http://host:80/", "ws://host/api/v1/mesh/tasks/subscribe"],
  ["https://host:80", "wss://host:80/api/v1/mesh/tasks/subscribe"],
  ["HTTPS://Host", "wss://host/api/v1/mesh/tasks/subscribe"],
  ["  https://host\n", "wss://host/api/v1/mesh/tasks/subscribe"]
]

const refused: ReadonlyArray<readonly [input: string, problem: Endpoint.InvalidUrl["problem"]]> = [
  ["", "Empty"],
  [" \n", "Empty"],
  ["host", "Protocol"],
  ["api.makima.jp", "Protocol"],
  ["localhost:8080", "Protocol"],
  ["ftp://host", "Protocol"],
  ["file:///etc/passwd", "Protocol"],
  ["javascript:alert(1)", "Protocol"],
  ["https:host", "Protocol"],
  ["user:hunter2@host", "Protocol"],
  ["https://user:hunter2@host", "Credentials"],
  ["wss://hunter2@host/api/v1", "Credentials"],
  ["https://@host", "Credentials"],
  ["https://host\\@hunter2", "Credentials"],
  ["https://host/?token=hunter2", "Query"],
  ["https://host?", "Query"],
  ["https://host#hunter2", "Fragment"],
  ["https://host/#", "Fragment"],
  ["https://", "Malformed"],
  ["https:///host", "Malformed"],
  ["https://ho\nst", "Malformed"],
  ["https://ho st", "Malformed"],
  ["https://host\\path", "Malformed"],
  ["https://host:99999", "Malformed"],
  ["https://host:port", "Malformed"],
  ["https://[::1", "Malformed"]
]

const isEndpoint = Schema.is(Endpoint.Endpoint)

describe("Endpoint", () => {
  for (const [input, endpoint] of accepted) {
    it(`${JSON.stringify(input)} is the feed at ${endpoint}`, () => {
      assert.strictEqual(Result.getOrThrow(Endpoint.fromString(input)), endpoint)
      assert.strictEqual(Schema.decodeUnknownSync(Endpoint.FromString)(input), endpoint)
    })
  }

  for (const [input, problem] of refused) {
    it(`${JSON.stringify(input)} is refused as ${problem}`, () => {
      const result = Endpoint.fromString(input)
      if (Result.isSuccess(result)) return assert.fail(result.success)
      assert.strictEqual(result.failure._tag, "InvalidUrl")
      assert.strictEqual(result.failure.problem, problem)
    })
  }

  it("an error is one line that repeats nothing of the URL", () => {
    for (const [input, problem] of refused) {
      const result = Endpoint.fromString(input)
      if (Result.isSuccess(result)) return assert.fail(result.success)
      const schemaResult = Schema.decodeUnknownResult(Endpoint.FromString)(input)
      if (Result.isSuccess(schemaResult)) return assert.fail(schemaResult.success)
      for (const text of [
        result.failure.message,
        JSON.stringify(result.failure),
        String(result.failure),
        String(schemaResult.failure)
      ]) {
        assert.notInclude(text, "hunter2", problem)
      }
      assert.notInclude(result.failure.message, "\n")
      assert.include(String(schemaResult.failure), result.failure.message)
    }
  })

  // Random characters are hardly ever a URL. Combinations of these pieces often are, or nearly.
  const Pieces = Schema.Array(
    Schema.Union([
      Schema.Literals(["/", "//", "a", "@", ":", "..", "%2f", "?", "#", "\\", " ", "[", "]", "é", "https://", "0"]),
      Schema.Literals(["/api/v1", "/mesh/tasks/subscribe", "host"]),
      Schema.String
    ])
  )

  it.prop("every accepted URL becomes an endpoint, which is accepted unchanged", [Pieces], ([pieces]) => {
    const text = pieces.join("")
    for (const input of [text, `https://host/${text}`, `ws://${text}`]) {
      const result = Endpoint.fromString(input)
      if (Result.isFailure(result)) continue
      assert.isTrue(isEndpoint(result.success))
      assert.deepStrictEqual(Endpoint.fromString(result.success), result)
    }
  })

  it("checks that a string is an endpoint", () => {
    assert.isTrue(isEndpoint("wss://host/api/v1/mesh/tasks/subscribe"))
    assert.isFalse(isEndpoint("https://host/api/v1/mesh/tasks/subscribe"))
    assert.isFalse(isEndpoint("wss://host"))
    assert.isFalse(isEndpoint("wss://me:hunter2@host/api/v1/mesh/tasks/subscribe"))
    assert.isFalse(isEndpoint("wss://host/api/v1/mesh/tasks/subscribe?a"))
    assert.isFalse(isEndpoint("wss://"))
  })

  it("an endpoint encodes as itself", () => {
    const endpoint = Result.getOrThrow(Endpoint.fromString(Endpoint.publicServer))
    assert.strictEqual(endpoint, "wss://api.makima.jp/api/v1/mesh/tasks/subscribe")
    assert.strictEqual(Schema.encodeSync(Endpoint.FromString)(endpoint), endpoint)
  })
})
