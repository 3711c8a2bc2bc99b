import * as ScriptedMesh from "@makima-stream/test-kit/ScriptedMesh"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as Socket from "effect/socket/Socket"
import * as TestClock from "effect/testing/TestClock"
import { WebSocket } from "ws"
import * as Gateway from "../src/Gateway.ts"
import { rest, said, until } from "./support/world.ts"

/** A client that can stop to read, as a page in the background does. */
const connect = (gateway: Gateway.Service, marks: boolean) =>
  Effect.gen(function* () {
    const frames: Array<string> = []
    const ended: Array<number> = []
    const ws = new WebSocket(`ws://127.0.0.1:${gateway.port}/api/v1/mesh/tasks/subscribe${marks ? "?marks=1" : ""}`, {
      headers: { authorization: `Bearer ${Redacted.value(gateway.token)}` }
    })
    ws.on("message", (data) => frames.push(String(data)))
    ws.on("close", (code) => ended.push(code))
    yield* Effect.addFinalizer(() => Effect.sync(() => ws.terminate()))
    yield* Effect.callback<void>((resume) => void ws.on("open", () => resume(Effect.void)))
    ws.send(`{"type":"subscribeOutput","taskId":"a"}`)
    yield* until(() => frames.length === 1)
    return { frames, ended, stop: () => ws.pause(), resume: () => ws.resume() }
  })

const setup = (options?: Gateway.Options) =>
  Effect.gen(function* () {
    const mesh = yield* ScriptedMesh.make()
    const gateway = yield* Gateway.make({ port: 0, maxBufferedBytes: 100_000, ...options }).pipe(
      Effect.provideService(Socket.Socket, mesh.socket)
    )
    const fast = yield* connect(gateway, false)
    let sent = 0
    const text = "x".repeat(50_000)
    /** Sends output until a condition holds. */
    const flood = (condition: () => boolean) =>
      Effect.gen(function* () {
        while (!condition()) {
          yield* mesh.emit(said("a", `${sent} ${text}`))
          sent++
          yield* until(() => fast.frames.length === sent + 1)
        }
      })
    const stats = () => Effect.runSync(gateway.stats)
    const content = (frame: string): string => (JSON.parse(frame) as { content: string }).content.split(" ")[0] ?? ""
    return { mesh, gateway, fast, flood, stats, content, sent: () => sent }
  })

describe("a slow client", () => {
  it.effect("with marks loses events, which are counted and marked at their place", () =>
    Effect.gen(function* () {
      const { content, fast, flood, gateway, sent, stats } = yield* setup()
      const slow = yield* connect(gateway, true)
      slow.stop()
      yield* flood(() => stats().dropped >= 5)
      slow.resume()
      yield* until(() => slow.frames.some((frame) => frame.includes("Overflow")))
      const before = sent()
      const { dropped } = stats()
      yield* flood(() => sent() === before + 2)
      yield* until(() => slow.frames.length === fast.frames.length - dropped + 1)
      const place = slow.frames.findIndex((frame) => frame.includes("Overflow"))
      const mark = JSON.parse(String(slow.frames[place])) as { reason: { dropped: number } }
      assert.strictEqual(mark.reason.dropped, dropped)
      const received = slow.frames.filter((_, i) => i !== 0 && i !== place).map(content)
      const all = fast.frames.slice(1).map(content)
      assert.deepStrictEqual(received, [...all.slice(0, place - 1), ...all.slice(place - 1 + dropped)])
      assert.deepStrictEqual(slow.ended, [])
    }).pipe(Effect.scoped)
  )

  it.effect("without marks is closed with 1013", () =>
    Effect.gen(function* () {
      const { fast, flood, gateway, sent, stats } = yield* setup()
      const slow = yield* connect(gateway, false)
      slow.stop()
      yield* flood(() => stats().closedAsSlow === 1)
      slow.resume()
      yield* until(() => slow.ended.length === 1)
      assert.deepStrictEqual(slow.ended, [1013])
      assert.strictEqual(stats().clients, 1)
      const before = sent()
      yield* flood(() => sent() === before + 3)
      assert.deepStrictEqual(fast.ended, [])
    }).pipe(Effect.scoped)
  )

  it.effect("that takes nothing for the timeout is closed with 1013, with marks too", () =>
    Effect.gen(function* () {
      const { flood, gateway, stats } = yield* setup({ stallTimeout: "30 seconds" })
      const slow = yield* connect(gateway, true)
      slow.stop()
      yield* flood(() => stats().dropped > 0)
      yield* TestClock.adjust("25 seconds")
      assert.strictEqual(stats().closedAsSlow, 0)
      yield* TestClock.adjust("6 seconds")
      assert.strictEqual(stats().closedAsSlow, 1)
      slow.resume()
      yield* until(() => slow.ended.length === 1)
      assert.deepStrictEqual(slow.ended, [1013])
    }).pipe(Effect.scoped)
  )

  it.effect("that does not take the close frame either is cut 2 seconds later", () =>
    Effect.gen(function* () {
      const { flood, gateway, stats } = yield* setup()
      const slow = yield* connect(gateway, false)
      slow.stop()
      yield* flood(() => stats().closedAsSlow === 1)
      yield* TestClock.adjust("3 seconds")
      slow.resume()
      yield* until(() => slow.ended.length === 1)
      assert.deepStrictEqual(slow.ended, [1006])
    }).pipe(Effect.scoped)
  )

  it.effect("that takes what waits is not closed, however long it is connected", () =>
    Effect.gen(function* () {
      const { fast, flood, sent, stats } = yield* setup({ stallTimeout: "30 seconds" })
      for (let i = 0; i < 10; i++) {
        const before = sent()
        yield* flood(() => sent() === before + 1)
        yield* TestClock.adjust("10 seconds")
        yield* rest
      }
      assert.strictEqual(stats().closedAsSlow, 0)
      assert.deepStrictEqual(fast.ended, [])
    }).pipe(Effect.scoped)
  )

  it.effect("without marks receives everything that was sent before the gap for which it is closed", () =>
    Effect.gen(function* () {
      const { flood, gateway, mesh, sent, stats } = yield* setup({ maxBufferedBytes: 64_000_000 })
      const slow = yield* connect(gateway, false)
      slow.stop()
      yield* flood(() => sent() === 200)
      yield* mesh.kill()
      yield* until(() => stats().closedForGaps === 2)
      slow.resume()
      yield* until(() => slow.ended.length === 1)
      assert.deepStrictEqual(slow.ended, [1012])
      assert.strictEqual(slow.frames.length, 201)
    }).pipe(Effect.scoped)
  )

  it.effect("delays no other client, however many are slow", () =>
    Effect.gen(function* () {
      const { fast, flood, gateway, sent, stats } = yield* setup()
      const slow = yield* Effect.forEach(Array.from({ length: 20 }), (_, i) => connect(gateway, i % 2 === 0))
      for (const { stop } of slow) stop()
      // `flood` waits for the fast client after each event.
      yield* flood(() => stats().closedAsSlow === 10 && stats().dropped >= 50)
      assert.strictEqual(fast.frames.length, sent() + 1)
      assert.deepStrictEqual(fast.ended, [])
    }).pipe(Effect.scoped)
  )
})
