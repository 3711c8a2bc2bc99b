/** Measures when many clients dial that lose one server at the same time. In memory and virtual time. */
import * as Interest from "@makima-stream/core/Interest"
import * as MeshStream from "@makima-stream/core/MeshStream"
import * as ScriptedMesh from "@makima-stream/test-kit/ScriptedMesh"
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import * as References from "effect/References"
import * as Stream from "effect/Stream"
import * as Socket from "effect/socket/Socket"
import * as TestClock from "effect/testing/TestClock"

/** For each dial after the loss, in order: the milliseconds since the previous dial, for each client. */
export const delays = Effect.fnUntraced(
  function* (options: { readonly clients: number; readonly dials: number }) {
    const meshes: Array<ScriptedMesh.ScriptedMesh["Service"]> = []
    for (let i = 0; i < options.clients; i++) {
      const mesh = yield* ScriptedMesh.make()
      yield* MeshStream.connect({ interest: Interest.all }).pipe(
        Stream.runDrain,
        Effect.provideService(Socket.Socket, mesh.socket),
        Effect.forkScoped
      )
      yield* mesh.awaitConnection()
      yield* mesh.refuse(options.dials, 503)
      meshes.push(mesh)
    }
    for (const mesh of meshes) yield* mesh.kill()
    const rounds: ReadonlyArray<Array<number>> = Array.from({ length: options.dials }, () => [])
    // No client waits longer than the cap.
    for (let second = 0; second <= 30 * options.dials; second++) {
      for (let turn = 0; turn < 20; turn++) yield* Effect.yieldNow
      yield* TestClock.adjust("1 second")
    }
    for (const mesh of meshes) {
      const dials = yield* mesh.dials
      for (const [n, round] of rounds.entries()) round.push((dials[n + 1] ?? Number.NaN) - (dials[n] ?? Number.NaN))
    }
    return rounds
  },
  Effect.scoped,
  Effect.provide(TestClock.layer()),
  // Each client warns after its third attempt.
  Effect.provideService(References.MinimumLogLevel, "None"),
  (effect, options: { readonly clients: number; readonly dials: number; readonly seed: number }) =>
    Random.withSeed(effect, options.seed)
)

/** The number of values in each of `buckets` equal parts of a range; `undefined` if a value is outside the range. */
export const histogram = (
  values: ReadonlyArray<number>,
  from: number,
  to: number,
  buckets: number
): ReadonlyArray<number> | undefined => {
  const counts = Array.from({ length: buckets }, () => 0)
  for (const value of values) {
    // The upper end of the range belongs to the last part.
    const bucket = Math.min(buckets - 1, Math.floor(((value - from) / (to - from)) * buckets))
    const count = counts[bucket]
    if (value < from || value > to || count === undefined) return undefined
    counts[bucket] = count + 1
  }
  return counts
}

/** The histogram as lines of text. */
export const draw = (counts: ReadonlyArray<number>, from: number, to: number): ReadonlyArray<string> =>
  counts.map((count, i) => {
    const start = from + ((to - from) * i) / counts.length
    return `${(start / 1000).toFixed(1).padStart(6)} s  ${"#".repeat(Math.round(count / 2)).padEnd(40)} ${count}`
  })
