/**
 * The requirements of this toolkit on a `Socket`, as laws that can be checked on
 * any implementation.
 *
 * A feed needs more than Effect's `Socket` type requires: that reads pause, that two
 * readers are two connections, that a refused handshake keeps its status. A law
 * runs in a `Harness`: a socket, and the server that it connects to. The laws need
 * no test runner; `suite` of `@makima-stream/test-kit/vitest` runs them in Vitest.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Metric from "effect/Metric"
import * as Socket from "effect/socket/Socket"
import * as TestClock from "effect/testing/TestClock"
import {
  broken,
  countFibers,
  describe,
  dial,
  dialFailure,
  ending,
  eventually,
  expectHeard,
  frameOfBytes,
  heard,
  reasonOf,
  roundTrip,
  say,
  show,
  take
} from "./internal/laws/checks.ts"
import {
  CurrentTimings,
  Harness,
  type Law,
  type LawBroken,
  long,
  short,
  type Timings
} from "./internal/laws/harness.ts"
import * as MockMeshServer from "./MockMeshServer.ts"
import * as ScriptedMesh from "./ScriptedMesh.ts"
import { turns } from "./internal/turns.ts"

export { Harness, type Law, LawBroken, type Server, type Timings } from "./internal/laws/harness.ts"

/**
 * Checks a law in a new harness. The harness has short timings only where the law
 * waits for a timeout.
 *
 * **Example** (One law over a scripted mesh)
 *
 * ```ts
 * import * as Effect from "effect/Effect"
 * import * as TestClock from "effect/testing/TestClock"
 * import * as TransportLaws from "@makima-stream/test-kit/TransportLaws"
 *
 * const checked = TransportLaws.checkIn(TransportLaws.laws.order, TransportLaws.layerScripted)
 * await Effect.runPromise(Effect.provide(checked, TestClock.layer()))
 * ```
 *
 * @category laws
 * @since 0.1.0
 */
export const checkIn = <E>(law: Law, harness: Layer.Layer<Harness, E>): Effect.Effect<void, LawBroken | E> =>
  Effect.scoped(law.check).pipe(
    Effect.provide(harness),
    Effect.provideService(
      CurrentTimings,
      law.waitsOut === undefined ? long : { ...long, [law.waitsOut]: short[law.waitsOut] }
    )
  )

/**
 * A harness on a scripted mesh in virtual time. Needs the `TestClock`.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerScripted: Layer.Layer<Harness> = Layer.effect(
  Harness,
  Effect.map(
    Effect.flatMap(CurrentTimings, (timings) => ScriptedMesh.make({ ...timings })),
    (mesh) => ({
      socket: mesh.socket,
      server: {
        // In memory, frames have no fragments and text is a string.
        send: (frame) => mesh.emitRaw(frame),
        close: mesh.close,
        kill: mesh.kill(),
        freeze: mesh.freeze(),
        refuse: (status, headers) => mesh.refuse(1, status, headers),
        stallDial: mesh.stallDial(1),
        open: Effect.map(mesh.connections, (connections) => connections.filter(({ open }) => open).length),
        received: mesh.received,
        undelivered: Effect.map(mesh.connections, (connections) =>
          connections.reduce((sum, { unread }) => sum + unread, 0)
        )
      },
      advance: (duration) => Effect.andThen(TestClock.adjust(duration), settle)
    })
  )
)

/** Lets woken fibers run. */
const settle = turns(50)

/**
 * A harness for a socket over the network, with its own mock server.
 *
 * **Example** (Effect's own WebSocket over `ws`)
 *
 * ```ts
 * import * as NodeWS from "@effect/platform-node/NodeWS"
 * import * as Layer from "effect/Layer"
 * import * as Socket from "effect/socket/Socket"
 * import * as TransportLaws from "@makima-stream/test-kit/TransportLaws"
 *
 * const harness = TransportLaws.layerMock(({ timings, wsUrl }) =>
 *   Socket.layerWebSocket(wsUrl, { openTimeout: timings.connectTimeout }).pipe(
 *     Layer.provide(NodeWS.layerWebSocketConstructor)
 *   )
 * )
 * console.log(Layer.isLayer(harness)) // true
 * ```
 *
 * @category layers
 * @since 0.1.0
 */
export const layerMock = <E>(
  socket: (options: {
    /** The feed's URL, such as `ws://127.0.0.1:1234/api/v1/mesh/tasks/subscribe`. */
    readonly wsUrl: string
    /** The server's URL, such as `http://127.0.0.1:1234`. */
    readonly url: string
    readonly timings: Timings
  }) => Layer.Layer<Socket.Socket, E>
): Layer.Layer<Harness, E | MockMeshServer.ListenError> =>
  Layer.effect(
    Harness,
    Effect.gen(function* () {
      const server = yield* MockMeshServer.make()
      const timings = yield* CurrentTimings
      const context = yield* Layer.build(socket({ wsUrl: server.wsUrl, url: server.url, timings }))
      return {
        socket: Context.get(context, Socket.Socket),
        server: {
          send: (frame, as) => server.emitRaw(frame, { as }),
          close: server.close,
          kill: server.kill(),
          freeze: server.freeze(),
          refuse: (status, headers) => server.refuse(1, status, headers),
          stallDial: server.stallDial(1),
          open: Effect.map(server.connections, (connections) => connections.length),
          received: server.received,
          undelivered: Effect.map(server.connections, (connections) =>
            connections.reduce((sum, { bufferedBytes }) => sum + bufferedBytes, 0)
          )
        },
        advance: Effect.sleep
      }
    })
  )

/**
 * The laws, by name.
 *
 * @category laws
 * @since 0.1.0
 */
export const laws = {
  order: {
    promise: "Frames are pulled in the order in which they were sent, each once",
    check: roundTrip(Array.from({ length: 2000 }, (_, n) => [`${n}`, "text"] as const))
  },
  boundaries: {
    promise: "A batch keeps message boundaries, also those of empty frames",
    check: roundTrip(["{}", "", '{"a":1}\n{"b":2}', "", "ü€𝄞", "{}"].map((frame) => [frame, "text"] as const))
  },
  binary: {
    promise: "A text frame is pulled as a string and a binary frame as its bytes",
    check: roundTrip([
      ["text", "text"],
      [new Uint8Array([0, 255, 128, 10]), "binary"],
      [new Uint8Array([]), "binary"],
      ["text again", "text"]
    ])
  },
  fragments: {
    promise: "A fragmented frame is pulled as one frame",
    check: roundTrip([
      ['{"type":"taskOutput","content":"in several pieces, ü among them"}', "fragmented"],
      ["whole", "text"]
    ])
  },
  large: {
    promise: "A frame of 4 MiB arrives whole",
    check: roundTrip([
      ["before", "text"],
      [frameOfBytes(4 << 20), "text"],
      ["after", "text"]
    ])
  },
  badText: {
    promise: "A text frame that is not UTF-8 is pulled, and does not end the connection",
    check: Effect.gen(function* () {
      const { server } = yield* Harness
      const connection = yield* dial
      yield* server.send(new Uint8Array([0x7b, 0xff, 0x7d]), "text")
      yield* server.send("after", "text")
      const [, after] = yield* take(connection, 2)
      if (after !== "after") return yield* broken(`the next frame was ${show(after)}`)
    })
  },
  backpressure: {
    promise: "Without a pull the socket does not read, and does not count that as silence",
    waitsOut: "heartbeat",
    check: Effect.gen(function* () {
      const { advance, server } = yield* Harness
      const connection = yield* dial
      // 32 MiB in all, several times what the kernel buffers.
      const batches = 32
      const batch = 16
      const payload = frameOfBytes(64 * 1024)
      // A socket that keeps reading drains the server. A socket that pauses does not, except for its pongs. The pause is
      // longer than the heartbeat allows for silence, and must not end the connection. The server sends the next batch when
      // it has delivered the last one: it counts a write as undelivered until all of the write is delivered, so one write
      // of 32 MiB to a busy process that reads would look like a pause.
      let sent = 0
      let still = 0
      while (still < 80) {
        if (sent === batches * batch) return yield* broken(`${sent} frames of 64 KiB were read without a pull`)
        for (let n = 0; n < batch; n++) yield* server.send(payload, "text")
        sent += batch
        let last = Number.POSITIVE_INFINITY
        let now = yield* server.undelivered
        for (still = 0; now > 0 && still < 80; now = yield* server.undelivered) {
          still = now >= last ? still + 1 : 0
          last = now
          yield* advance("5 millis")
        }
      }
      yield* take(connection, sent)
    })
  },
  interruptedPull: {
    promise: "An interrupted pull loses no frame",
    check: Effect.gen(function* () {
      const { server } = yield* Harness
      const connection = yield* dial
      const waiting = yield* Effect.forkChild(connection.pull)
      yield* Effect.yieldNow
      yield* Fiber.interrupt(waiting)
      yield* server.send("1", "text")
      yield* server.send("2", "text")
      const frames = yield* take(connection, 2)
      if (frames.join() !== "1,2") return yield* broken(`the frames were ${frames.map(show).join()}`)
    })
  },
  racedPull: {
    promise: "A pull that loses a race with a timer loses no frame",
    check: Effect.gen(function* () {
      const { advance, server } = yield* Harness
      const connection = yield* dial
      const pulled: Array<string | Uint8Array> = []
      const count = 120
      // The timers range from one that has already fired to one that fires after the frame.
      const rivals = [Effect.void, Effect.yieldNow, Effect.repeat(Effect.yieldNow, { times: 3 }), advance("1 millis")]
      for (let n = 0; n < count; n++) {
        yield* server.send(`${n}`, "text")
        const rival = rivals[n % rivals.length] ?? Effect.void
        const frames = yield* Effect.raceFirst(connection.pull, Effect.as(rival, [] as ReadonlyArray<string>)).pipe(
          Effect.mapError((error) => broken(`the connection ended: ${describe(reasonOf(error))}`))
        )
        pulled.push(...frames)
      }
      yield* server.send("last", "text")
      while (pulled.at(-1) !== "last") pulled.push(...(yield* take(connection, 1)))
      const missing = Array.from({ length: count }, (_, n) => `${n}`).filter((frame) => !pulled.includes(frame))
      if (missing.length > 0)
        return yield* broken(`${missing.length} of ${count} frames were lost: ${missing[0]} first`)
      if (pulled.length !== count + 1) return yield* broken(`${pulled.length - 1} of ${count} frames arrived`)
    })
  },
  writes: {
    promise: "Written frames arrive in order",
    check: Effect.gen(function* () {
      const connection = yield* dial
      const failed = (error: Socket.SocketError) => broken(`a write failed: ${describe(reasonOf(error))}`)
      yield* Effect.mapError(connection.writeAll([say("a"), say("b"), say("c")]), failed)
      yield* Effect.mapError(connection.write(say("d")), failed)
      yield* expectHeard("1:a", "1:b", "1:c", "1:d")
    })
  },
  close: {
    promise: "A close by the server follows the frames before it, as ConnectionClosed with code and reason",
    check: Effect.gen(function* () {
      const { server } = yield* Harness
      const connection = yield* dial
      yield* server.send("last words", "text")
      yield* server.close(4242, "enough")
      const { frames, reason } = yield* ending(connection)
      if (frames !== 1) return yield* broken(`${frames} frames arrived before the end`)
      if (reason._tag !== "ConnectionClosed" || reason.code !== 4242 || reason.closeReason !== "enough") {
        return yield* broken(`it ended with ${describe(reason)}`)
      }
    })
  },
  kill: {
    promise: "A killed connection ends with ConnectionLost",
    check: Effect.gen(function* () {
      const { server } = yield* Harness
      const connection = yield* dial
      yield* server.kill
      const { reason } = yield* ending(connection)
      if (reason._tag !== "ConnectionLost") return yield* broken(`it ended with ${describe(reason)}`)
    })
  },
  freeze: {
    promise: "A silent peer is detected, as HeartbeatTimeout",
    waitsOut: "heartbeat",
    check: Effect.gen(function* () {
      const { server } = yield* Harness
      const connection = yield* dial
      yield* server.freeze
      // Three times the socket's own timeout, for a busy machine.
      const { interval, deadline } = short.heartbeat
      const { reason } = yield* ending(connection, Duration.times(Duration.sum(interval, deadline), 3))
      if (reason._tag !== "HeartbeatTimeout") return yield* broken(`it ended with ${describe(reason)}`)
    })
  },
  refused: {
    promise: "A refused handshake keeps its status and Retry-After, as HandshakeRejected",
    check: Effect.gen(function* () {
      const { server } = yield* Harness
      yield* server.refuse(503, { "retry-after": "7" })
      const reason = yield* dialFailure
      if (reason._tag !== "HandshakeRejected" || reason.status !== 503 || reason.retryAfterMillis !== 7000) {
        return yield* broken(`the dial failed with ${describe(reason)}`)
      }
    })
  },
  stalled: {
    promise: "An unanswered dial fails in time, as DialTimeout",
    waitsOut: "connectTimeout",
    check: Effect.gen(function* () {
      const { server } = yield* Harness
      yield* server.stallDial
      const reason = yield* dialFailure
      if (reason._tag !== "DialTimeout") return yield* broken(`the dial failed with ${describe(reason)}`)
    })
  },
  scope: {
    promise: "Closing the scope closes the connection, fails a waiting pull, and ends every fiber",
    check: Effect.gen(function* () {
      const { server } = yield* Harness
      const fibers = countFibers()
      yield* Effect.gen(function* () {
        const connection = yield* dial
        yield* eventually(
          Effect.map(server.open, (open) => open === 1),
          "the server saw no connection"
        )
        const waiting = yield* Effect.forkChild(ending(connection))
        yield* Effect.yieldNow
        yield* connection.hangUp
        yield* Fiber.join(waiting)
        yield* eventually(
          Effect.map(server.open, (open) => open === 0),
          "the connection stayed open"
        )
      }).pipe(Effect.provideService(Metric.FiberRuntimeMetrics, fibers))
      if (fibers.alive() !== 0) return yield* broken(`${fibers.alive()} fibers were left`)
    })
  },
  lateFrames: {
    promise: "Frames of an old connection never appear on a new one",
    check: Effect.gen(function* () {
      const { server } = yield* Harness
      const old = yield* dial
      for (let n = 0; n < 100; n++) yield* server.send("old", "text")
      yield* old.hangUp
      const connection = yield* dial
      yield* eventually(
        Effect.map(server.open, (open) => open === 1),
        "the old connection stayed open"
      )
      yield* server.send("new", "text")
      const [first] = yield* take(connection, 1)
      if (first !== "new") return yield* broken(`the first frame was ${show(first)}`)
    })
  },
  ownWriter: {
    promise: "Two readers of one socket are two connections, and a writer writes to the connection of its own scope",
    check: Effect.gen(function* () {
      const first = yield* dial
      const second = yield* dial
      yield* Effect.ignore(first.write(say("a")))
      yield* heard(1)
      yield* Effect.ignore(second.write(say("b")))
      yield* expectHeard("1:a", "2:b")
    })
  },
  lateWrites: {
    promise: "A write to an ended connection never reaches a later one",
    check: Effect.gen(function* () {
      const old = yield* dial
      yield* old.hangUp
      yield* Effect.forkScoped(Effect.ignore(old.write(say("old"))))
      yield* Effect.yieldNow
      const connection = yield* dial
      yield* Effect.yieldNow
      yield* Effect.ignore(connection.write(say("new")))
      yield* expectHeard("2:new")
    })
  }
} as const satisfies Readonly<Record<string, Law>>

/**
 * The name of a law.
 *
 * @category laws
 * @since 0.1.0
 */
export type LawName = keyof typeof laws

/**
 * A socket that the laws are run over.
 *
 * **Details**
 *
 * `cannot` names the laws that the socket is known to break, and why. They are run
 * as well, and are expected to fail: if one passes, the suite fails.
 *
 * @category models
 * @since 0.1.0
 */
export interface Transport<E = never> {
  /** Its name in tests and tables. */
  readonly name: string
  /** Makes a fresh harness around the socket. */
  readonly harness: Layer.Layer<Harness, E>
  readonly cannot?: { readonly [Name in LawName]?: string }
  /** `test` for a harness in virtual time. Defaults to `live`. */
  readonly clock?: "test" | "live"
}

/**
 * The names of all laws.
 *
 * @category laws
 * @since 0.1.0
 */
export const names: ReadonlyArray<LawName> = Object.keys(laws).filter((name): name is LawName => name in laws)

/**
 * Returns a Markdown table of the laws that each transport keeps, followed by the
 * reasons for the others.
 *
 * **Example** (A table of one transport)
 *
 * ```ts
 * import * as TransportLaws from "@makima-stream/test-kit/TransportLaws"
 *
 * const table = TransportLaws.table([{ name: "ScriptedMesh", harness: TransportLaws.layerScripted, clock: "test" }])
 * console.log(table.split("\n").length - 2 === TransportLaws.names.length) // true
 * ```
 *
 * @category documentation
 * @since 0.1.0
 */
export const table = (transports: ReadonlyArray<Transport<unknown>>): string => {
  const notes: Array<string> = []
  const cell = (transport: Transport<unknown>, name: LawName): string => {
    const reason = transport.cannot?.[name]
    if (reason === undefined) return "yes"
    if (!notes.includes(reason)) notes.push(reason)
    return `no (${notes.indexOf(reason) + 1})`
  }
  const row = (cells: ReadonlyArray<string>): string => `| ${cells.join(" | ")} |`
  const rows = [
    row(["", ...transports.map(({ name }) => name)]),
    row(["---", ...transports.map(() => "---")]),
    ...names.map((name) => row([laws[name].promise, ...transports.map((transport) => cell(transport, name))]))
  ]
  return [...rows, ...(notes.length === 0 ? [] : [""]), ...notes.map((note, index) => `${index + 1}. ${note}`)].join(
    "\n"
  )
}
