/**
 * The steps of the laws. Each fails with `LawBroken`, which describes what was
 * observed.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import type * as Socket from "effect/socket/Socket"
import * as ClientMessage from "@makima-stream/core/ClientMessage"
import * as MeshError from "@makima-stream/core/MeshError"
import * as TaskId from "@makima-stream/core/TaskId"
import type { Encoding } from "../../ServerLog.ts"
import { Harness, LawBroken } from "./harness.ts"

export type Check<A> = Effect.Effect<A, LawBroken, Harness | Scope.Scope>

export const broken = (seen: string) => new LawBroken({ seen })

/** The longest wait for something that should happen. */
export const patience = Duration.seconds(5)

/** Waits for an effect. Fails with `seen` after `duration`. */
export const within = <A, E, R>(
  effect: Effect.Effect<A, E, R>,
  seen: string,
  duration: Duration.Duration = patience
): Effect.Effect<A, E | LawBroken, R | Harness> =>
  Effect.gen(function* () {
    const { advance } = yield* Harness
    // In steps, so that the effect still runs before the verdict when the machine pauses for longer than the duration.
    const steps = 20
    const passes = Effect.repeat(advance(Duration.millis(Duration.toMillis(duration) / steps)), { times: steps - 1 })
    return yield* Effect.raceFirst(effect, Effect.andThen(passes, Effect.fail(broken(seen))))
  })

/** Waits until a condition holds. Fails with `seen` after `patience`. */
export const eventually = <R>(condition: Effect.Effect<boolean, never, R>, seen: string) =>
  Effect.gen(function* () {
    const { advance } = yield* Harness
    const step = 5
    for (let waited = 0; waited < Duration.toMillis(patience); waited += step) {
      if (yield* condition) return
      yield* advance(step)
    }
    return yield* broken(seen)
  })

interface Dialled {
  readonly pull: Effect.Effect<ReadonlyArray<string | Uint8Array>, Socket.SocketError>
  readonly write: (message: ClientMessage.ClientMessage) => Effect.Effect<void, Socket.SocketError>
  readonly writeAll: (
    messages: readonly [ClientMessage.ClientMessage, ...Array<ClientMessage.ClientMessage>]
  ) => Effect.Effect<void, Socket.SocketError>
  readonly hangUp: Effect.Effect<void>
}

export const reasonOf = (error: Socket.SocketError) => MeshError.fromSocketError(error)

export const describe = (reason: MeshError.ConnectionReason): string => `${reason._tag} (${reason.message})`

/** One connection in its own scope, as `MeshSession` makes it. */
export const dial: Check<Dialled> = Effect.gen(function* () {
  const { socket } = yield* Harness
  const scope = yield* Scope.fork(yield* Effect.scope)
  const dialled = Effect.gen(function* () {
    const reader = yield* Scope.provide(socket.reader, scope)
    const writer = yield* Scope.provide(socket.writer, scope)
    return { reader, writer }
  })
  const { reader, writer } = yield* within(
    Effect.mapError(dialled, (error) => broken(`the dial failed: ${describe(reasonOf(error))}`)),
    "the dial did not end"
  )
  return {
    pull: reader.pull,
    write: (message) => writer.write(ClientMessage.encodeFrame(message)),
    writeAll: ([first, ...rest]) =>
      writer.writeAll([ClientMessage.encodeFrame(first), ...rest.map(ClientMessage.encodeFrame)]),
    hangUp: Scope.close(scope, Exit.void)
  }
})

/** The next `n` frames, however they are batched. */
export const take = (connection: Dialled, n: number): Check<Array<string | Uint8Array>> =>
  Effect.suspend(() => {
    const frames: Array<string | Uint8Array> = []
    return connection.pull.pipe(
      Effect.map((batch) => frames.push(...batch)),
      Effect.repeat({ until: (count) => count >= n }),
      Effect.mapError((error) => broken(`${describe(reasonOf(error))} came after ${frames.length} of ${n} frames`)),
      (pulling) => within(pulling, `fewer than ${n} frames arrived`, Duration.times(patience, 4)),
      Effect.as(frames)
    )
  })

/** Waits for the end of the connection. Returns its reason, and the number of frames before it. */
export const ending = (connection: Dialled, patience?: Duration.Duration) =>
  Effect.suspend(() => {
    let frames = 0
    return connection.pull.pipe(
      Effect.map((batch) => {
        frames += batch.length
      }),
      Effect.forever,
      Effect.catch((error: Socket.SocketError) => Effect.succeed({ reason: reasonOf(error), frames })),
      (pulling) => within(pulling, "the connection did not end", patience)
    )
  })

export const dialFailure: Check<MeshError.ConnectionReason> = Effect.gen(function* () {
  const { socket } = yield* Harness
  const failing = Effect.flip(Effect.scoped(socket.reader)).pipe(
    Effect.map(reasonOf),
    Effect.mapError(() => broken("the dial succeeded"))
  )
  return yield* within(failing, "the dial did not end")
})

const same = (a: string | Uint8Array | undefined, b: string | Uint8Array): boolean =>
  typeof a === "string" || typeof b === "string" || a === undefined
    ? a === b
    : a.length === b.length && a.every((byte, index) => byte === b[index])

export const show = (frame: string | Uint8Array | undefined): string =>
  frame === undefined
    ? "nothing"
    : typeof frame === "string"
      ? `text ${JSON.stringify(frame.slice(0, 40))} of length ${frame.length}`
      : `binary of ${frame.length} bytes`

/** Sends frames and checks that exactly these arrive. */
export const roundTrip = (frames: ReadonlyArray<readonly [string | Uint8Array, Encoding]>): Check<void> =>
  Effect.gen(function* () {
    const { server } = yield* Harness
    const connection = yield* dial
    for (const [frame, as] of frames) yield* server.send(frame, as)
    const got = yield* take(connection, frames.length)
    if (got.length !== frames.length) return yield* broken(`${got.length} of ${frames.length} frames arrived`)
    for (const [index, [frame]] of frames.entries()) {
      if (!same(got[index], frame)) {
        return yield* broken(`frame ${index} arrived as ${show(got[index])} instead of ${show(frame)}`)
      }
    }
    // The last frame may arrive twice.
    yield* server.close(1000, "")
    const { frames: more } = yield* ending(connection)
    if (more > 0) return yield* broken(`${more} frames arrived that were not sent`)
  })

/** Counts the fibers that run with it. */
export const countFibers = () => {
  let alive = 0
  return {
    recordFiberStart: () => {
      alive++
    },
    recordFiberEnd: () => {
      alive--
    },
    alive: () => alive
  }
}

const task = (id: string) => TaskId.make(id)

export const say = (id: string): ClientMessage.ClientMessage => ({ _tag: "Subscribe", taskId: task(id) })

/** The received requests, once the server has received at least `n`. */
export const heard = (n: number) =>
  Effect.gen(function* () {
    const { server } = yield* Harness
    yield* eventually(
      Effect.map(server.received, (received) => received.length >= n),
      `fewer than ${n} requests reached the server`
    )
    const received = yield* server.received
    return received.map(
      ({ connection, message }) => `${connection}:${"taskId" in message ? message.taskId : message._tag}`
    )
  })

export const expectHeard = (...expected: ReadonlyArray<string>) =>
  Effect.gen(function* () {
    const got = yield* heard(expected.length)
    if (got.join(" ") !== expected.join(" ")) {
      return yield* broken(`the server received [${got.join(" ")}] instead of [${expected.join(" ")}]`)
    }
  })

export const frameOfBytes = (length: number): string => "x".repeat(length)
