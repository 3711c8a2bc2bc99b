import * as MeshError from "@makima-stream/core/MeshError"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as TestClock from "effect/testing/TestClock"
import { IncomingMessage } from "node:http"
import { Socket } from "node:net"
import * as Failure from "../../src/internal/failure.ts"
import * as Refusal from "../../src/internal/refusal.ts"

const now = Date.UTC(2026, 0, 1, 12, 0, 0)

const retryAfter: ReadonlyArray<readonly [string | undefined, number | undefined]> = [
  [undefined, undefined],
  ["", undefined],
  ["0", 0],
  ["120", 120_000],
  [" 3 ", 3000],
  ["-1", undefined],
  ["1.5", undefined],
  ["1e3", undefined],
  ["9".repeat(400), undefined],
  ["Thu, 01 Jan 2026 12:00:10 GMT", 10_000],
  ["Thursday, 01-Jan-26 12:00:10 GMT", 10_000],
  ["Thu Jan  1 12:00:10 2026", 10_000],
  ["Thu, 01 Jan 2026 11:00:00 GMT", 0],
  ["Thu, 99 Jan 2026 11:00:00 GMT", undefined],
  ["2026", 2_026_000],
  ["2026-01-01", undefined],
  ["tomorrow", undefined]
]

/** An HTTP response whose body the test writes. */
const answer = (status: number, headers: IncomingMessage["headers"] = {}, statusText = "") => {
  const response = new IncomingMessage(new Socket())
  response.statusCode = status
  response.statusMessage = statusText
  response.headers = headers
  return response
}

const key = "s3cret"

const read = (response: IncomingMessage, options?: Partial<Refusal.Options>) =>
  Refusal.read(response, {
    url: "wss://host/api/v1/mesh/tasks/subscribe",
    scrub: Failure.scrubber([key]),
    secretLength: key.length,
    wallMillis: () => now,
    credentialsMayChange: false,
    ...options
  })

const readBody = (contentType: string, ...chunks: ReadonlyArray<string | Buffer>) => {
  const response = answer(400, { "content-type": contentType })
  for (const chunk of chunks) response.push(chunk)
  response.push(null)
  return Effect.map(read(response), ({ body }) => body)
}

describe("refusal", () => {
  for (const [header, millis] of retryAfter) {
    it(`Retry-After ${header?.slice(0, 40)} is ${millis}`, () => {
      assert.strictEqual(Refusal.retryAfterMillis(header, now), millis)
    })
  }

  const targets: ReadonlyArray<readonly [location: string, target: string | undefined]> = [
    ["https://other.example/feed", "https://other.example/feed"],
    ["/elsewhere", "https://host/elsewhere"],
    ["https://me:secret@other.example/feed?token=1#top", "https://other.example/feed"],
    ["http://[", undefined]
  ]
  for (const [location, target] of targets) {
    it(`a redirect to ${location} shows ${target}`, () => {
      assert.strictEqual(Refusal.targetOf(location, "wss://host/api/v1/mesh/tasks/subscribe"), target)
    })
  }

  it.effect("keeps the status text, the request id and the redirect, without the key", () =>
    Effect.gen(function* () {
      const response = answer(308, { location: `/${key}/feed`, "cf-ray": `ray-${key}` }, `Moved ${key}`)
      assert.deepStrictEqual(
        yield* read(response),
        new MeshError.HandshakeRejected({
          status: 308,
          statusText: "Moved <redacted>",
          location: "https://host/%3Credacted%3E/feed".replace("%3Credacted%3E", "<redacted>"),
          requestId: "ray-<redacted>"
        })
      )
    })
  )

  it.effect("reports whether the next attempt may have another key", () =>
    Effect.gen(function* () {
      assert.isTrue((yield* read(answer(401), { credentialsMayChange: true })).credentialsMayChange)
      assert.isFalse("credentialsMayChange" in (yield* read(answer(401))))
    })
  )

  it.effect("keeps the body of a text or JSON answer", () =>
    Effect.gen(function* () {
      for (const contentType of [
        "text/plain",
        "text/html; charset=utf-8",
        "application/json",
        "application/problem+json"
      ]) {
        assert.strictEqual(yield* readBody(contentType, `{"error":`, `"no"}`), `{"error":"no"}`)
      }
    })
  )

  it.effect("keeps no body that is not text", () =>
    Effect.gen(function* () {
      for (const contentType of ["application/octet-stream", "image/png", ""]) {
        assert.isUndefined(yield* readBody(contentType, "data"))
      }
      assert.isUndefined(yield* readBody("text/plain", " "))
    })
  )

  it.effect("keeps at most 1 KiB of the body, and cuts no character in two", () =>
    Effect.gen(function* () {
      const body = yield* readBody("text/plain", `x${"é".repeat(4000)}`)
      assert.strictEqual(body, `x${"é".repeat(511)}`)
    })
  )

  it.effect("removes the key from the body, even where the body is cut", () =>
    Effect.gen(function* () {
      for (let before = 1010; before <= 1030; before++) {
        const body = yield* readBody("text/plain", "x".repeat(before) + key + "y".repeat(4000))
        assert.notInclude(body, key.slice(0, 3))
        assert.isAtMost(body?.length ?? 0, 1024)
      }
    })
  )

  it.effect("waits one second for a body that does not end, and keeps what has arrived", () =>
    Effect.gen(function* () {
      const response = answer(503, { "content-type": "text/plain" })
      response.push("busy")
      const fiber = yield* Effect.forkChild(read(response), { startImmediately: true })
      yield* TestClock.adjust("999 millis")
      assert.isUndefined(fiber.pollUnsafe())
      yield* TestClock.adjust("1 millis")
      assert.strictEqual((yield* Fiber.join(fiber)).body, "busy")
    })
  )
})
