import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Queue from "effect/Queue"
import * as Scope from "effect/Scope"
import type * as Array from "effect/Array"
import * as Socket from "effect/socket/Socket"
import type * as TransportLaws from "../../src/TransportLaws.ts"

type Frame = string | Uint8Array
type Batch = Array.NonEmptyReadonlyArray<Frame>
type Saboteur = (socket: Socket.Socket) => Socket.Socket

const withReader = (socket: Socket.Socket, reader: Socket.Socket["reader"]): Socket.Socket =>
  Socket.make({ reader, writer: socket.writer })

const pulls =
  (f: (pull: Socket.Reader["pull"]) => Socket.Reader["pull"]): Saboteur =>
  (socket) =>
    withReader(
      socket,
      Effect.map(socket.reader, (reader) => ({ ...reader, pull: f(reader.pull) }))
    )

const batches = (f: (batch: Batch) => ReadonlyArray<Frame>): Saboteur =>
  // A saboteur may return an empty batch, which the type does not allow.
  pulls((pull) => Effect.map(pull, (batch) => f(batch) as Batch))

const closed = (code: number) => new Socket.SocketError({ reason: new Socket.SocketCloseError({ code }) })

const ends = (code: number): Saboteur => pulls(Effect.mapError(() => closed(code)))

const dials =
  (f: (reader: Socket.Socket["reader"]) => Socket.Socket["reader"]): Saboteur =>
  (socket) =>
    withReader(socket, f(socket.reader))

const unknownFailure = dials(
  Effect.mapError(
    () => new Socket.SocketError({ reason: new Socket.SocketOpenError({ kind: "Unknown", cause: new Error("no") }) })
  )
)

// A saboteur may return an empty batch, which the type does not allow.
const dropped = (batch: Batch, count: number): Batch => batch.slice(count) as ReadonlyArray<Frame> as Batch

/** A socket whose writers all write to the connection opened last, or wait for a connection. */
const oneWriter: Saboteur = (socket) => {
  let current: Socket.Writer | undefined
  const write = (f: (writer: Socket.Writer) => Effect.Effect<void, Socket.SocketError>) =>
    Effect.suspend((): Effect.Effect<void, Socket.SocketError> =>
      current === undefined ? Effect.andThen(Effect.yieldNow, write(f)) : f(current)
    )
  return Socket.make({
    reader: Effect.gen(function* () {
      const reader = yield* socket.reader
      const writer = yield* socket.writer
      current = writer
      yield* Effect.addFinalizer(() =>
        Effect.sync(() => {
          current = undefined
        })
      )
      return reader
    }),
    writer: Effect.succeed({
      write: (chunk) => write((writer) => writer.write(chunk)),
      writeAll: (chunks) => write((writer) => writer.writeAll(chunks))
    })
  })
}

/** For each law, a mistake that a socket could make. */
export const saboteurs: Readonly<Record<TransportLaws.LawName, Saboteur>> = {
  order: batches((batch) => batch.toReversed()),
  boundaries: batches((batch) => batch.filter((frame) => frame.length > 0)),
  binary: batches((batch) =>
    batch.map((frame) => (typeof frame === "string" ? frame : new TextDecoder().decode(frame)))
  ),
  fragments: batches((batch) => batch.flatMap((frame) => [frame.slice(0, 10), frame.slice(10)])),
  large: batches((batch) => batch.map((frame) => frame.slice(0, 1 << 20))),
  badText: pulls(
    Effect.filterOrFail(
      (batch): batch is Batch => batch.every((frame) => typeof frame === "string"),
      () => closed(1007)
    )
  ),
  backpressure: dials((acquire) =>
    Effect.gen(function* () {
      const reader = yield* acquire
      const queue = yield* Queue.unbounded<Frame, Socket.SocketError>()
      yield* reader.pull.pipe(
        Effect.flatMap((batch) => Queue.offerAll(queue, batch)),
        Effect.forever,
        Effect.catch((error: Socket.SocketError) => Queue.fail(queue, error)),
        Effect.forkScoped
      )
      return { ...reader, pull: Queue.takeAll(queue) }
    })
  ),
  interruptedPull: pulls((pull) => {
    let lost = 0
    const count = Effect.sync(() => {
      lost++
    })
    return Effect.map(
      Effect.onInterrupt(pull, () => count),
      (batch) => dropped(batch, lost)
    )
  }),
  racedPull: pulls(Effect.tap(() => Effect.yieldNow)),
  writes: (socket) =>
    Socket.make({
      reader: socket.reader,
      writer: Effect.map(socket.writer, (writer) => ({
        ...writer,
        writeAll: ([first, ...rest]) =>
          Effect.andThen(
            Effect.forEach(rest, (chunk) => writer.write(chunk), { discard: true }),
            writer.write(first)
          )
      }))
    }),
  close: ends(1006),
  kill: ends(1000),
  freeze: pulls(Effect.catch(() => Effect.never)),
  refused: unknownFailure,
  stalled: unknownFailure,
  scope: dials((acquire) =>
    Effect.flatMap(Scope.make(), (elsewhere) =>
      Effect.tap(Scope.provide(acquire, elsewhere), () =>
        // Closes the connection, but leaks a fiber.
        Effect.andThen(
          Effect.forkDetach(Effect.never),
          Effect.addFinalizer(() => Scope.close(elsewhere, Exit.void))
        )
      )
    )
  ),
  lateFrames: (socket) => {
    let late: Batch | undefined
    return withReader(
      socket,
      Effect.gen(function* () {
        const reader = yield* socket.reader
        yield* Effect.addFinalizer(() =>
          Effect.map(Effect.exit(reader.pull), (exit) => {
            if (Exit.isSuccess(exit)) late = exit.value
          })
        )
        return {
          ...reader,
          pull: Effect.suspend(() => {
            const batch = late
            late = undefined
            return batch === undefined ? reader.pull : Effect.succeed(batch)
          })
        }
      })
    )
  },
  ownWriter: oneWriter,
  lateWrites: oneWriter
}
