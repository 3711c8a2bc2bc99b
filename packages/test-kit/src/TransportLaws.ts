/**
 * What every `Socket` must do that this toolkit runs on, as laws that can be
 * run over any of them.
 *
 * Effect's `Socket` type says less than a feed needs: nothing in it says that
 * reads pause, that two readers are two connections, or that a refused
 * handshake keeps its status. A law says it, and a `Harness` is what a law is
 * run in: a socket, and the server at its other end. The laws know no test
 * runner; `suite`, in `@makima-stream/test-kit/vitest`, runs them under one.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Data from "effect/Data"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Metric from "effect/Metric"
import * as Scope from "effect/Scope"
import * as Socket from "effect/socket/Socket"
import * as TestClock from "effect/testing/TestClock"
import * as ClientMessage from "@makima-stream/core/ClientMessage"
import * as MeshError from "@makima-stream/core/MeshError"
import * as TaskId from "@makima-stream/core/TaskId"
import * as MockMeshServer from "./MockMeshServer.ts"
import * as ScriptedMesh from "./ScriptedMesh.ts"
import type { Encoding } from "./ServerLog.ts"

// ---------------------------------------------------------------------------
// the harness
// ---------------------------------------------------------------------------

/**
 * The server at the other end of the socket under test.
 *
 * @category models
 * @since 0.1.0
 */
export interface Server {
  /** Sends a frame to every connection. */
  readonly send: (frame: string | Uint8Array, as: Encoding) => Effect.Effect<void>
  /** Closes every connection with a close frame. */
  readonly close: (code: number, reason: string) => Effect.Effect<void>
  /** Cuts every connection. */
  readonly kill: Effect.Effect<void>
  /** Leaves every connection half-open. */
  readonly freeze: Effect.Effect<void>
  /** Refuses the next dial. */
  readonly refuse: (status: number, headers: Readonly<Record<string, string>>) => Effect.Effect<void>
  /** Never answers the next dial. */
  readonly stallDial: Effect.Effect<void>
  /** How many connections are open. */
  readonly open: Effect.Effect<number>
  /** The requests that came, oldest first. `connection` counts the connections from 1. */
  readonly received: Effect.Effect<
    ReadonlyArray<{ readonly connection: number; readonly message: ClientMessage.ClientMessage }>
  >
  /** How much of what was sent waits because the client does not read; 0 where nothing does. */
  readonly undelivered: Effect.Effect<number>
}

/**
 * What a law is run in: the socket, its server, and time.
 *
 * **Details**
 *
 * The socket under test is to be set up with `timings`: a dial that takes
 * `connectTimeout` fails, and a silent peer is noticed within `silence`. Where
 * it has no such setting, a law will tell.
 *
 * **Example** (Checking one law by hand)
 *
 * ```ts
 * import * as Effect from "effect/Effect"
 * import * as TestClock from "effect/testing/TestClock"
 * import * as TransportLaws from "@makima-stream/test-kit/TransportLaws"
 *
 * const [name] = TransportLaws.names
 * const checked = Effect.scoped(TransportLaws.laws[name ?? "order"].check).pipe(
 *   Effect.provide(TransportLaws.layerScripted),
 *   Effect.provide(TestClock.layer())
 * )
 * await Effect.runPromise(checked)
 * ```
 *
 * @category services
 * @since 0.1.0
 */
export class Harness extends Context.Service<
  Harness,
  {
    /** The socket under test. */
    readonly socket: Socket.Socket
    /** The server that it leads to. */
    readonly server: Server
    /** Lets time pass: real time for a real network, virtual time for a scripted one. */
    readonly advance: (duration: Duration.Input) => Effect.Effect<void>
  }
>()("@makima-stream/test-kit/TransportLaws/Harness") {}

/**
 * The timings of a harness over a real network. Short, as each is waited out.
 *
 * @category models
 * @since 0.1.0
 */
export interface Timings {
  /** How long a dial may take before it fails. */
  readonly connectTimeout: Duration.Duration
  /** A ping each `interval`, and an answer to it within `deadline`. */
  readonly heartbeat: { readonly interval: Duration.Duration; readonly deadline: Duration.Duration }
}

const short: Timings = {
  connectTimeout: Duration.millis(300),
  heartbeat: { interval: Duration.millis(100), deadline: Duration.millis(200) }
}

/** Of which nothing is ever waited out: a machine that stands still for a moment is no broken law. */
const long: Timings = {
  connectTimeout: Duration.minutes(1),
  heartbeat: { interval: Duration.minutes(1), deadline: Duration.minutes(1) }
}

/** What a harness is made with: short, all of it, where nobody says which law it is for. */
const CurrentTimings = Context.Reference<Timings>("@makima-stream/test-kit/TransportLaws/CurrentTimings", {
  defaultValue: () => short
})

/**
 * Makes a harness with short timings only where the law waits them out, and
 * checks the law in it.
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
 * A harness of a scripted mesh, in virtual time: it needs the `TestClock`.
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
        // In memory a frame has no fragments, and text is a string.
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

/** Lets fibers run that were woken. */
const settle = Effect.yieldNow.pipe(Effect.repeat({ times: 50 }))

/**
 * A harness of a socket over the network, with a mock server of its own.
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
    /** Such as `ws://127.0.0.1:1234/api/v1/mesh/tasks/subscribe`. */
    readonly wsUrl: string
    /** Such as `http://127.0.0.1:1234`. */
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

// ---------------------------------------------------------------------------
// the laws
// ---------------------------------------------------------------------------

/**
 * A law that a socket broke.
 *
 * @category errors
 * @since 0.1.0
 */
export class LawBroken extends Data.TaggedError("LawBroken")<{
  /** What was seen instead of what the law wants. */
  readonly seen: string
}> {
  /** What was seen instead of what the law wants. */
  override get message(): string {
    return this.seen
  }
}

/**
 * A law: what is promised, in words for a table, and the check of it.
 *
 * @category models
 * @since 0.1.0
 */
export interface Law {
  /** What is promised. */
  readonly promise: string
  /** Which of the timings the check waits out; the others may be as long as they like. */
  readonly waitsOut?: keyof Timings
  /** Fails where the promise is broken. */
  readonly check: Effect.Effect<void, LawBroken, Harness | Scope.Scope>
}

type Check<A> = Effect.Effect<A, LawBroken, Harness | Scope.Scope>

const broken = (seen: string) => new LawBroken({ seen })

/** The longest that anything is waited for that should come. */
const patience = Duration.seconds(5)

/** Waits for something, or says that it did not come. */
const within = <A, E, R>(
  effect: Effect.Effect<A, E, R>,
  seen: string,
  duration: Duration.Duration = patience
): Effect.Effect<A, E | LawBroken, R | Harness> =>
  Effect.gen(function* () {
    const { advance } = yield* Harness
    // In steps: where the machine stands still for longer than that, what is waited for has its turn before the verdict.
    const steps = 20
    const passes = Effect.repeat(advance(Duration.millis(Duration.toMillis(duration) / steps)), { times: steps - 1 })
    return yield* Effect.raceFirst(effect, Effect.andThen(passes, Effect.fail(broken(seen))))
  })

/** Waits until something is so, or says that it never was. */
const eventually = <R>(condition: Effect.Effect<boolean, never, R>, seen: string) =>
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

const reasonOf = (error: Socket.SocketError) => MeshError.fromSocketError(error)

const describe = (reason: MeshError.ConnectionReason): string => `${reason._tag} (${reason.message})`

/** One connection, in a scope of its own, as `MeshSession` makes it. */
const dial: Check<Dialled> = Effect.gen(function* () {
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
const take = (connection: Dialled, n: number): Check<Array<string | Uint8Array>> =>
  Effect.suspend(() => {
    const frames: Array<string | Uint8Array> = []
    return connection.pull.pipe(
      Effect.map((batch) => frames.push(...batch)),
      Effect.repeat({ until: (count) => count >= n }),
      Effect.mapError((error) => broken(`after ${frames.length} of ${n} frames came ${describe(reasonOf(error))}`)),
      (pulling) => within(pulling, `of ${n} frames not all came`, Duration.times(patience, 4)),
      Effect.as(frames)
    )
  })

/** Why the connection ends, and how many frames came before. */
const ending = (connection: Dialled, patience?: Duration.Duration) =>
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

const dialFailure: Check<MeshError.ConnectionReason> = Effect.gen(function* () {
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

const show = (frame: string | Uint8Array | undefined): string =>
  frame === undefined
    ? "nothing"
    : typeof frame === "string"
      ? `text ${JSON.stringify(frame.slice(0, 40))} of length ${frame.length}`
      : `binary of ${frame.length} bytes`

/** Sends frames and checks that exactly these arrive. */
const roundTrip = (frames: ReadonlyArray<readonly [string | Uint8Array, Encoding]>): Check<void> =>
  Effect.gen(function* () {
    const { server } = yield* Harness
    const connection = yield* dial
    for (const [frame, as] of frames) yield* server.send(frame, as)
    const got = yield* take(connection, frames.length)
    if (got.length !== frames.length) return yield* broken(`${got.length} frames came of ${frames.length}`)
    for (const [index, [frame]] of frames.entries()) {
      if (!same(got[index], frame)) {
        return yield* broken(`frame ${index} came as ${show(got[index])}, not as ${show(frame)}`)
      }
    }
    // The last one might come twice.
    yield* server.close(1000, "")
    const { frames: more } = yield* ending(connection)
    if (more > 0) return yield* broken(`${more} frames came that were not sent`)
  })

/** Counts the fibers that run with it. */
const countFibers = () => {
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

const say = (id: string): ClientMessage.ClientMessage => ({ _tag: "Subscribe", taskId: task(id) })

/** What a connection said to the server, once `n` requests have come in all. */
const heard = (n: number) =>
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

const expectHeard = (...expected: ReadonlyArray<string>) =>
  Effect.gen(function* () {
    const got = yield* heard(expected.length)
    if (got.join(" ") !== expected.join(" ")) {
      return yield* broken(`the server heard [${got.join(" ")}] and not [${expected.join(" ")}]`)
    }
  })

const frameOfBytes = (length: number): string => "x".repeat(length)

/**
 * The laws, by name.
 *
 * @category laws
 * @since 0.1.0
 */
export const laws = {
  order: {
    promise: "Frames are pulled in the order in which they were sent, each once",
    check: roundTrip(Array.from({ length: 5000 }, (_, n) => [`${n}`, "text"] as const))
  },
  boundaries: {
    promise: "A batch keeps message boundaries, those of empty frames too",
    check: roundTrip(["{}", "", '{"a":1}\n{"b":2}', "", "ü€𝄞", "{}"].map((frame) => [frame, "text"] as const))
  },
  binary: {
    promise: "A text frame comes as a string and a binary frame as its bytes",
    check: roundTrip([
      ["text", "text"],
      [new Uint8Array([0, 255, 128, 10]), "binary"],
      [new Uint8Array([]), "binary"],
      ["text again", "text"]
    ])
  },
  fragments: {
    promise: "A frame that comes in fragments is one frame",
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
    promise: "A text frame that is not UTF-8 is a frame to judge, and does not end the connection",
    check: Effect.gen(function* () {
      const { server } = yield* Harness
      const connection = yield* dial
      yield* server.send(new Uint8Array([0x7b, 0xff, 0x7d]), "text")
      yield* server.send("after", "text")
      const [, after] = yield* take(connection, 2)
      if (after !== "after") return yield* broken(`after it came ${show(after)}`)
    })
  },
  backpressure: {
    promise: "While nobody pulls, the socket does not read, and does not take that for silence",
    waitsOut: "heartbeat",
    check: Effect.gen(function* () {
      const { advance, server } = yield* Harness
      const connection = yield* dial
      const frames = 1024
      const payload = frameOfBytes(64 * 1024)
      for (let n = 0; n < frames; n++) yield* server.send(payload, "text")
      // A socket that reads on drains the server in a while; one that pauses leaves it as it is, but for the answers to
      // its pings. The pause is longer than the heartbeat allows for silence: a pause is none.
      let last = Number.POSITIVE_INFINITY
      let still = 0
      while (still < 20) {
        const now = yield* server.undelivered
        if (now === 0) return yield* broken(`${frames} frames of 64 KiB were read without a pull`)
        still = now >= last ? still + 1 : 0
        last = now
        yield* advance("20 millis")
      }
      yield* take(connection, frames)
    })
  },
  interruptedPull: {
    promise: "A pull that is interrupted loses nothing",
    check: Effect.gen(function* () {
      const { server } = yield* Harness
      const connection = yield* dial
      const waiting = yield* Effect.forkChild(connection.pull)
      yield* Effect.yieldNow
      yield* Fiber.interrupt(waiting)
      yield* server.send("1", "text")
      yield* server.send("2", "text")
      const frames = yield* take(connection, 2)
      if (frames.join() !== "1,2") return yield* broken(`came ${frames.map(show).join()}`)
    })
  },
  racedPull: {
    promise: "A pull that loses a race with a timer loses nothing that had arrived",
    check: Effect.gen(function* () {
      const { advance, server } = yield* Harness
      const connection = yield* dial
      const pulled: Array<string | Uint8Array> = []
      const count = 120
      // From a rival that has finished already to one that takes longer than the frame.
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
      if (pulled.length !== count + 1) return yield* broken(`${pulled.length - 1} frames came of ${count}`)
    })
  },
  writes: {
    promise: "What is written arrives in order",
    check: Effect.gen(function* () {
      const connection = yield* dial
      const failed = (error: Socket.SocketError) => broken(`a write failed: ${describe(reasonOf(error))}`)
      yield* Effect.mapError(connection.writeAll([say("a"), say("b"), say("c")]), failed)
      yield* Effect.mapError(connection.write(say("d")), failed)
      yield* expectHeard("1:a", "1:b", "1:c", "1:d")
    })
  },
  close: {
    promise: "A close by the server comes after what it sent, as ConnectionClosed with code and reason",
    check: Effect.gen(function* () {
      const { server } = yield* Harness
      const connection = yield* dial
      yield* server.send("last words", "text")
      yield* server.close(4242, "enough")
      const { frames, reason } = yield* ending(connection)
      if (frames !== 1) return yield* broken(`${frames} frames came before the end`)
      if (reason._tag !== "ConnectionClosed" || reason.code !== 4242 || reason.closeReason !== "enough") {
        return yield* broken(`it ended with ${describe(reason)}`)
      }
    })
  },
  kill: {
    promise: "A connection that is cut ends with ConnectionLost",
    check: Effect.gen(function* () {
      const { server } = yield* Harness
      const connection = yield* dial
      yield* server.kill
      const { reason } = yield* ending(connection)
      if (reason._tag !== "ConnectionLost") return yield* broken(`it ended with ${describe(reason)}`)
    })
  },
  freeze: {
    promise: "A peer that falls silent is noticed, as HeartbeatTimeout",
    waitsOut: "heartbeat",
    check: Effect.gen(function* () {
      const { server } = yield* Harness
      const connection = yield* dial
      yield* server.freeze
      // Three times what the socket was given, for a machine that is busy.
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
    promise: "A dial that is not answered fails in time, as DialTimeout",
    waitsOut: "connectTimeout",
    check: Effect.gen(function* () {
      const { server } = yield* Harness
      yield* server.stallDial
      const reason = yield* dialFailure
      if (reason._tag !== "DialTimeout") return yield* broken(`the dial failed with ${describe(reason)}`)
    })
  },
  scope: {
    promise: "Closing the scope closes the connection, fails a pull that waits, and leaves no fiber",
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
      if (first !== "new") return yield* broken(`first came ${show(first)}`)
    })
  },
  ownWriter: {
    promise: "Two readers of one socket are two connections, and a writer writes to that of its own scope",
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
    promise: "What is written to a connection that has ended never reaches a later one",
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
 * `cannot` names the laws that it is known to break, and why. They are run as
 * well, and are expected to be broken: a socket that learns to keep one is
 * noticed.
 *
 * @category models
 * @since 0.1.0
 */
export interface Transport<E = never> {
  /** What it is called in tests and tables. */
  readonly name: string
  /** Makes a fresh harness around the socket. */
  readonly harness: Layer.Layer<Harness, E>
  readonly cannot?: { readonly [Name in LawName]?: string }
  /** `test` for a harness in virtual time. Default: `live`. */
  readonly clock?: "test" | "live"
}

/**
 * Every law, for iterating.
 *
 * @category laws
 * @since 0.1.0
 */
export const names: ReadonlyArray<LawName> = Object.keys(laws).filter((name): name is LawName => name in laws)

/**
 * Which transport keeps which law, as a table in Markdown, with the reasons
 * below it.
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
