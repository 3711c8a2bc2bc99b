/**
 * One connection of `MeshSocket`: a WebSocket of the platform, as a buffer that one
 * fiber pulls from.
 *
 * Invariants: frames are pulled in the order in which they arrived, each once; the end
 * is reported after the last frame; after the end only an empty error listener is left.
 */
import { isReadonlyArrayNonEmpty, type NonEmptyReadonlyArray } from "effect/Array"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { constVoid } from "effect/Function"
import * as Scope from "effect/Scope"
import * as Socket from "effect/socket/Socket"
import * as MeshError from "../../MeshError.ts"

export interface Options {
  readonly url: string
  readonly protocols: Array<string>
  /** The time limit of the handshake, in milliseconds. */
  readonly connectTimeout: number
  /** How many bytes of frames may wait to be pulled. */
  readonly maxBufferedBytes: number
  /** Makes the WebSocket. */
  readonly webSocket: (url: string, protocols: Array<string>) => Socket.WebSocketLike
}

type Frame = string | Uint8Array

export interface Connection {
  /** The next frames. For one fiber at a time. */
  readonly pull: Effect.Effect<NonEmptyReadonlyArray<Frame>, Socket.SocketError>
  readonly write: (chunk: Frame | Socket.CloseEvent) => void
  /** Why the connection ended, once it has. */
  readonly end: () => Socket.SocketError | undefined
}

const lost = new Socket.SocketError({ reason: new Socket.SocketCloseError({ code: 1006 }) })

export const openFailed = (cause: MeshError.ConnectionReason): Socket.SocketError =>
  new Socket.SocketError({
    reason: new Socket.SocketOpenError({ kind: cause._tag === "DialTimeout" ? "Timeout" : "Unknown", cause })
  })

const tooSlow = (maxBufferedBytes: number): Socket.SocketError =>
  new Socket.SocketError({
    reason: new Socket.SocketReadError({
      cause: new MeshError.ConnectionLost({
        cause: new Error(`more than ${maxBufferedBytes} bytes of frames waited for a slow consumer`)
      })
    })
  })

/** Dials, and waits for the handshake. The scope owns the connection. */
export const open = Effect.fnUntraced(function* (
  options: Options
): Effect.fn.Return<Connection, Socket.SocketError, Scope.Scope> {
  const { connectTimeout, maxBufferedBytes, protocols, url, webSocket } = options
  const scope = yield* Effect.scope
  // A separate scope that is closed when the attempt fails, because the caller's scope may make many more attempts.
  const attempt = yield* Scope.fork(scope)
  const dial = Effect.try({
    try: () => new Listener(webSocket(url, protocols), maxBufferedBytes),
    catch: (cause) => openFailed(new MeshError.DialFailed({ cause }))
  })
  return yield* Effect.acquireRelease(dial, (connection) => Effect.sync(() => connection.release())).pipe(
    Effect.tap(({ opened }) =>
      Effect.timeoutOrElse(opened, {
        duration: connectTimeout,
        orElse: () => Effect.fail(openFailed(new MeshError.DialTimeout({ timeoutMillis: connectTimeout })))
      })
    ),
    Scope.provide(attempt),
    Effect.onError((cause) => Scope.close(attempt, Exit.failCause(cause)))
  )
})

type Listeners = ReadonlyArray<
  readonly [type: "open" | "message" | "error" | "close", listener: (event: Socket.WebSocketEvent) => void]
>

class Listener implements Connection {
  readonly #ws: Socket.WebSocketLike
  readonly #maxBufferedBytes: number
  readonly #handshake = Deferred.makeUnsafe<void, Socket.SocketError>()
  readonly #listeners: Listeners = [
    ["open", () => this.#onOpen()],
    ["message", (event) => this.#onMessage(event)],
    ["error", (event) => void (this.#platformError = event)],
    ["close", (event) => this.#onClose(event)]
  ]
  #frames: Array<Frame> = []
  #bufferedBytes = 0
  #isOpen = false
  #end: Socket.SocketError | undefined
  #waiter: ((effect: Connection["pull"]) => void) | undefined
  /** Whether the reader will be woken in a microtask. */
  #isScheduled = false
  #platformError: unknown

  constructor(ws: Socket.WebSocketLike, maxBufferedBytes: number) {
    this.#ws = ws
    this.#maxBufferedBytes = maxBufferedBytes
    if ("binaryType" in ws) ws.binaryType = "arraybuffer"
    for (const [type, listener] of this.#listeners) ws.addEventListener(type, listener)
  }

  /** Waits for the handshake. */
  readonly opened: Effect.Effect<void, Socket.SocketError> = Deferred.await(this.#handshake)

  readonly end = (): Socket.SocketError | undefined => this.#end

  readonly write = (chunk: Frame | Socket.CloseEvent): void => {
    if (Socket.isCloseEvent(chunk)) this.#ws.close(chunk.code, chunk.reason)
    // The API accepts no view of a shared buffer, but the type of a `Uint8Array` includes them.
    else this.#ws.send(typeof chunk === "string" ? chunk : new Uint8Array(chunk))
  }

  /** Closes the connection, and fails a waiting pull. */
  release(): void {
    this.#finish(lost)
    this.#ws.close(1000)
  }

  readonly pull: Connection["pull"] = Effect.suspend(() => {
    if (this.#frames.length > 0) {
      return Effect.flatMap(this.#take, (taken) => (isReadonlyArrayNonEmpty(taken) ? Effect.succeed(taken) : this.pull))
    }
    return this.#end === undefined ? this.#wait : Effect.fail(this.#end)
  })

  readonly #take = Effect.sync(() => {
    const taken = this.#frames
    this.#frames = []
    this.#bufferedBytes = 0
    return taken
  })

  readonly #wait = Effect.callback<NonEmptyReadonlyArray<Frame>, Socket.SocketError>((resume) => {
    this.#waiter = resume
    return Effect.sync(() => {
      if (this.#waiter === resume) this.#waiter = undefined
    })
  })

  readonly #wake = (): void => {
    this.#isScheduled = false
    const resume = this.#waiter
    this.#waiter = undefined
    resume?.(this.pull)
  }

  #finish(error: Socket.SocketError): void {
    if (this.#end !== undefined) return
    this.#end = error
    for (const [type, listener] of this.#listeners) this.#ws.removeEventListener(type, listener)
    // An error after the end is irrelevant, but without a listener some platforms throw it.
    this.#ws.addEventListener("error", constVoid)
    Deferred.doneUnsafe(this.#handshake, Effect.fail(error))
    this.#wake()
  }

  #onOpen(): void {
    this.#isOpen = true
    Deferred.doneUnsafe(this.#handshake, Effect.void)
  }

  #onMessage({ data }: Socket.WebSocketEvent): void {
    // `binaryType` is "arraybuffer".
    const frame = typeof data === "string" ? data : new Uint8Array(data as ArrayBuffer)
    this.#frames.push(frame)
    this.#bufferedBytes += frame.length
    if (this.#bufferedBytes > this.#maxBufferedBytes && this.#waiter === undefined) {
      this.#finish(tooSlow(this.#maxBufferedBytes))
      this.#ws.close()
    } else if (!this.#isScheduled) {
      // Frames that arrive in one tick are pulled as one batch.
      this.#isScheduled = true
      queueMicrotask(this.#wake)
    }
  }

  #onClose({ code = 1006, reason }: Socket.WebSocketEvent): void {
    this.#finish(
      this.#isOpen
        ? new Socket.SocketError({ reason: new Socket.SocketCloseError({ code, closeReason: reason || undefined }) })
        : openFailed(new MeshError.DialFailed({ cause: this.#platformError }))
    )
  }
}
