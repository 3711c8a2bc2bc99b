import * as MeshError from "@makima-stream/core/MeshError"
import { assert, describe, it } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type * as Socket from "effect/socket/Socket"
import * as TestClock from "effect/testing/TestClock"
import * as Heartbeat from "../../src/internal/heartbeat.ts"
import { settled } from "../support/servers.ts"

/** The part of a connection that the heartbeat uses, with a scripted peer. */
const make = Effect.gen(function* () {
  const clock = yield* Clock.Clock
  const now = () => Number(clock.monotonicTimeNanosUnsafe()) / 1e6
  const state = {
    answers: true,
    paused: false,
    bytes: 0,
    resumedAt: Number.NEGATIVE_INFINITY,
    lastPongAt: Number.NEGATIVE_INFINITY,
    pings: new Array<number>(),
    abandonedAt: undefined as number | undefined,
    error: undefined as Socket.SocketError | undefined
  }
  const connection: Heartbeat.HeartbeatTarget = {
    ping: () => {
      state.pings.push(now())
      if (!state.answers || state.paused) return
      state.bytes += 2
      state.lastPongAt = now()
    },
    bytesRead: () => state.bytes,
    isPaused: () => state.paused,
    resumedAt: () => state.resumedAt,
    lastPongAt: () => state.lastPongAt,
    abandon: (error) => {
      state.abandonedAt = now()
      state.error = error
    }
  }
  const resume = () => {
    state.paused = false
    state.resumedAt = now()
  }
  return { state, connection, now, resume }
})

type Made = Effect.Success<typeof make>

const start = ({ connection, now }: Made, options?: Partial<Heartbeat.Options>) =>
  Effect.forkChild(
    Heartbeat.run(connection, {
      intervalMillis: 15_000,
      deadlineMillis: 10_000,
      onRoundTrip: undefined,
      now,
      ...options
    }),
    { startImmediately: true }
  )

/** Advances the test clock second by second, and reads the sockets after each. */
const seconds = (count: number) =>
  Effect.gen(function* () {
    for (let i = 0; i < count; i++) {
      yield* TestClock.adjust("1 second")
      yield* settled(() => 0)
    }
  })

describe("heartbeat", () => {
  it.effect("pings once an interval", () =>
    Effect.gen(function* () {
      const made = yield* make
      yield* start(made)
      yield* seconds(60)
      assert.deepStrictEqual(made.state.pings, [15_000, 30_000, 45_000, 60_000])
      assert.isUndefined(made.state.abandonedAt)
    })
  )

  it.effect("abandons a silent peer at interval plus deadline, once", () =>
    Effect.gen(function* () {
      const made = yield* make
      made.state.answers = false
      const fiber = yield* start(made)
      yield* seconds(60)
      yield* Fiber.join(fiber)
      assert.strictEqual(made.state.abandonedAt, 25_000)
      assert.deepStrictEqual(made.state.pings, [15_000])
      assert.deepStrictEqual(
        made.state.error && MeshError.fromSocketError(made.state.error),
        new MeshError.HeartbeatTimeout({ deadlineMillis: 10_000 })
      )
    })
  )

  it.effect("keeps its times when the wall clock is set back or forward", () =>
    Effect.gen(function* () {
      const made = yield* make
      const clock = yield* Clock.Clock
      let step = 0
      const stepped: Clock.Clock = {
        ...clock,
        currentTimeMillisUnsafe: () => clock.currentTimeMillisUnsafe() + step,
        currentTimeMillis: Effect.map(clock.currentTimeMillis, (now) => now + step)
      }
      yield* start(made).pipe(Effect.provideService(Clock.Clock, stepped))
      for (const next of [-3_600_000, 7_200_000, 0]) {
        yield* seconds(20)
        step = next
      }
      assert.deepStrictEqual(made.state.pings, [15_000, 30_000, 45_000, 60_000])
      assert.isUndefined(made.state.abandonedAt)
    })
  )

  it.effect("accepts any byte as a sign of life, not only a pong", () =>
    Effect.gen(function* () {
      const made = yield* make
      made.state.answers = false
      yield* start(made)
      // A giant frame, of which something comes every nine seconds.
      for (let i = 0; i < 20; i++) {
        yield* seconds(9)
        made.state.bytes++
      }
      assert.isUndefined(made.state.abandonedAt)
    })
  )

  for (const [interval, deadline] of [
    [15_000, 10_000],
    [10_000, 10_000],
    [4000, 10_000],
    [3000, 25_000]
  ] as const) {
    for (const lastLife of [0, 1, 2000, 3000, 8000, 15_000, 16_000, 24_000, 29_000]) {
      it.effect(`of ${interval} and ${deadline} ms notices within their sum a peer that died at ${lastLife} ms`, () =>
        Effect.gen(function* () {
          const made = yield* make
          yield* start(made, { intervalMillis: interval, deadlineMillis: deadline })
          yield* TestClock.adjust(lastLife)
          yield* settled(() => 0)
          made.state.bytes++
          made.state.answers = false
          // Ends within the first second after the latest time.
          yield* seconds(Math.ceil((interval + deadline) / 1000) + 1)
          const { abandonedAt } = made.state
          if (abandonedAt === undefined) return assert.fail("not noticed")
          assert.isAtMost(abandonedAt, lastLife + interval + deadline)
          // Nor in haste: a whole deadline goes by after a ping.
          assert.isAtLeast(abandonedAt, lastLife + deadline)
        })
      )
    }
  }

  it.effect("does not count the time in which reads are paused, sends no ping then, and pings right after", () =>
    Effect.gen(function* () {
      const made = yield* make
      yield* start(made)
      made.state.paused = true
      yield* seconds(100)
      assert.isUndefined(made.state.abandonedAt)
      assert.deepStrictEqual(made.state.pings, [])
      made.resume()
      yield* seconds(1)
      assert.deepStrictEqual(made.state.pings, [101_000])
    })
  )

  it.effect("reports no round trip that includes a pause", () =>
    Effect.gen(function* () {
      const made = yield* make
      const reported: Array<number> = []
      yield* start(made, { onRoundTrip: (roundTrip) => Effect.sync(() => reported.push(Duration.toMillis(roundTrip))) })
      made.state.answers = false
      yield* seconds(15)
      made.state.paused = true
      yield* seconds(20)
      made.resume()
      made.state.bytes += 2
      made.state.lastPongAt = made.now()
      made.state.answers = true
      yield* seconds(40)
      assert.deepStrictEqual(reported, [0, 0])
    })
  )

  it.effect("continues while a listener to round trips never ends", () =>
    Effect.gen(function* () {
      const made = yield* make
      yield* start(made, { onRoundTrip: () => Effect.never })
      yield* seconds(40)
      made.state.answers = false
      yield* seconds(60)
      assert.strictEqual(made.state.abandonedAt, 55_000)
    })
  )

  it.effect("waits for a whole deadline after reads resume", () =>
    Effect.gen(function* () {
      const made = yield* make
      made.state.answers = false
      yield* start(made)
      yield* seconds(14)
      made.state.paused = true
      yield* seconds(100)
      made.resume()
      yield* seconds(60)
      // The ping leaves within a second of that moment.
      assert.strictEqual(made.state.abandonedAt, 125_000)
    })
  )

  it.effect("waits for a whole deadline after a pause within the deadline as well", () =>
    Effect.gen(function* () {
      const made = yield* make
      made.state.answers = false
      yield* start(made)
      // The ping of second 15 is not answered.
      yield* seconds(16)
      made.state.paused = true
      yield* seconds(4)
      made.resume()
      yield* seconds(60)
      assert.strictEqual(made.state.abandonedAt, 30_000)
    })
  )

  it.effect("continues after a listener to round trips has died", () =>
    Effect.gen(function* () {
      const made = yield* make
      let reported = 0
      yield* start(made, {
        onRoundTrip: () => {
          reported++
          return Effect.die("the listener's own fault")
        }
      })
      yield* seconds(40)
      assert.strictEqual(reported, 2)
      made.state.answers = false
      yield* seconds(60)
      assert.strictEqual(made.state.abandonedAt, 55_000)
    })
  )
})
