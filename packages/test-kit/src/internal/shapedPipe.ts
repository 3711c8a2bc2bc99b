/**
 * One direction of a proxied connection: bytes arrive, stay in flight for the
 * latency, and leave. It knows no sockets: `proxy` connects it to two of them.
 *
 * Invariants:
 *
 * 1. Bytes leave in the order in which they arrived, and the end follows the
 *    last byte.
 * 2. Latency does not limit the rate: chunks are in flight at the same time, and
 *    each one is delayed from its own arrival.
 * 3. The bytes in flight are bounded. The pipe stops reading while a chunk cannot
 *    leave although its delay has passed (the far side does not read, the gate is
 *    closed, the rate limit is reached), and while `maxInFlightBytes` or more are in
 *    flight.
 */
import type { Clock } from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import * as Monotonic from "./monotonic.ts"

/** How bytes travel, with every option set. Times are in milliseconds. */
export interface Conditions {
  readonly latencyMillis: number
  readonly jitterMillis: number
  readonly bytesPerSecond: number
  readonly pieceBytes: number
}

/** What a pipe connects. */
export interface Ends {
  /** The next chunk, or `undefined` at the end. */
  readonly read: Effect.Effect<Uint8Array | undefined>
  /** Waits until the far side has taken the bytes. */
  readonly write: (piece: Uint8Array) => Effect.Effect<void>
  /** Called once, after the last byte was written. */
  readonly end: () => void
}

export interface Options {
  readonly clock: Clock
  /** A number from 0 to below 1, for the jitter. */
  readonly random: () => number
  readonly conditions: Conditions
  readonly maxInFlightBytes: number
  /** Nothing leaves while it is closed. */
  readonly gate: Latch.Latch
}

export interface ShapedPipe {
  /** Passes bytes on until the end. */
  readonly run: Effect.Effect<void>
  /** Changes how bytes travel. Applies to bytes in flight too. */
  readonly setConditions: (conditions: Conditions) => void
  /** How many bytes are in flight. */
  readonly inFlight: () => number
}

interface Chunk {
  /** The bytes; `undefined` for the end. */
  readonly data: Uint8Array | undefined
  readonly arrivedAt: number
  /** Its share of the jitter, from 0 to 1. */
  readonly jitterShare: number
}

/** The longest pause, in milliseconds, after which a higher rate makes up for the lost time. */
const catchUp = 20

/** One turn of the event loop, so that a written piece becomes its own TCP segment. */
const turn = Effect.callback<void>((resume) => {
  const immediate = setImmediate(() => resume(Effect.void))
  return Effect.sync(() => clearImmediate(immediate))
})

/** Makes one direction between two ends. */
export const make = (ends: Ends, options: Options): ShapedPipe => {
  const { clock, gate, maxInFlightBytes, random } = options
  const chunks: Array<Chunk> = []
  let conditions = options.conditions
  let bytes = 0
  /** The time from which the rate allows the next piece. */
  let rateFreeAt = Number.NEGATIVE_INFINITY
  // Signals: a waiter checks its condition again each time one opens.
  const arrived = Latch.makeUnsafe(false)
  const left = Latch.makeUnsafe(false)
  const reshaped = Latch.makeUnsafe(false)

  const now = (): number => Monotonic.millis(clock)
  const dueAt = (chunk: Chunk): number =>
    chunk.arrivedAt + conditions.latencyMillis + chunk.jitterShare * conditions.jitterMillis

  /** Waits until a time that depends on the conditions. */
  const until = (time: () => number): Effect.Effect<void> =>
    Effect.suspend(() => {
      const wait = time() - now()
      if (wait <= 0) return Effect.void
      reshaped.closeUnsafe()
      return Effect.andThen(Effect.raceFirst(Effect.sleep(wait), reshaped.await), until(time))
    })

  const isFull = (): boolean => {
    const head = chunks[0]
    return bytes >= maxInFlightBytes || (head !== undefined && dueAt(head) <= now())
  }

  const room: Effect.Effect<void> = Effect.suspend(() => {
    if (!isFull()) return Effect.void
    left.closeUnsafe()
    return Effect.andThen(left.await, room)
  })

  const intake = Effect.gen(function* () {
    while (true) {
      yield* room
      const data = yield* ends.read
      chunks.push({ data, arrivedAt: now(), jitterShare: random() })
      bytes += data?.length ?? 0
      arrived.openUnsafe()
      if (data === undefined) return
    }
  })

  const head: Effect.Effect<Chunk> = Effect.suspend(() => {
    const chunk = chunks[0]
    if (chunk !== undefined) return Effect.succeed(chunk)
    arrived.closeUnsafe()
    return Effect.andThen(arrived.await, head)
  })

  const writePieces = Effect.fnUntraced(function* (data: Uint8Array) {
    for (let start = 0; start < data.length;) {
      const { bytesPerSecond, pieceBytes } = conditions
      // At a limited rate, pieces small enough to pass every 50 ms.
      const size = Math.min(pieceBytes, Math.max(1, Math.ceil(bytesPerSecond / 20)))
      const piece = data.subarray(start, start + size)
      if (bytesPerSecond < Number.POSITIVE_INFINITY) {
        rateFreeAt = Math.max(rateFreeAt, now() - catchUp)
        const before = rateFreeAt
        yield* until(() => before + (1000 * piece.length) / conditions.bytesPerSecond)
        rateFreeAt = before + (1000 * piece.length) / conditions.bytesPerSecond
      }
      yield* gate.await
      yield* ends.write(piece)
      start += piece.length
      if (start < data.length) yield* turn
    }
  })

  const outlet = Effect.gen(function* () {
    while (true) {
      const chunk = yield* head
      yield* until(() => dueAt(chunk))
      yield* gate.await
      if (chunk.data === undefined) return ends.end()
      yield* writePieces(chunk.data)
      chunks.shift()
      bytes -= chunk.data.length
      left.openUnsafe()
    }
  })

  return {
    run: Effect.andThen(Effect.all([intake, outlet], { concurrency: "unbounded" }), Effect.void),
    setConditions(next) {
      conditions = next
      reshaped.openUnsafe()
      left.openUnsafe()
    },
    inFlight: () => bytes
  }
}
