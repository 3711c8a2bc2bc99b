/**
 * Recordings of a socket: its frames, their times and directions, as JSON lines.
 *
 * `record` decorates any `Socket`, `replay` is a `Socket` that plays a recording.
 * Use them to turn a problem in production into a test of the same program.
 *
 * A recording contains the frames, and so the payload of the feed. It contains no
 * header, no URL and no key: those do not pass through a `Socket`. Of an error it
 * contains the reason, without the platform's cause.
 *
 * @since 0.1.0
 */
import { isReadonlyArrayNonEmpty, type NonEmptyReadonlyArray } from "effect/Array"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Layer from "effect/Layer"
import type * as PlatformError from "effect/PlatformError"
import * as Pull from "effect/Pull"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import * as Socket from "effect/socket/Socket"
import * as Stream from "effect/Stream"
import type * as MeshError from "@makima-stream/core/MeshError"
import {
  encodeHeader,
  encodeLine,
  type Played,
  readEntry,
  readHeader,
  RecordingError,
  type Write
} from "./internal/recording/format.ts"
import * as Bounds from "./internal/bounds.ts"
import * as RecordedSocket from "./internal/recordedSocket.ts"
import * as ReplayedSocket from "./internal/replayedSocket.ts"

export { Entry, Header, type Played, RecordingError, type Write } from "./internal/recording/format.ts"

// ---------------------------------------------------------------------------
// reading
// ---------------------------------------------------------------------------

/**
 * The lines of a recording: a stream, such as that of `fromFile`, or an iterable.
 *
 * @category models
 * @since 0.1.0
 */
export type Lines<E = never, R = never> = Iterable<string> | Stream.Stream<string, E, R>

const toStream = <E, R>(lines: Lines<E, R>): Stream.Stream<string, E, R> =>
  Stream.isStream(lines) ? lines : Stream.fromIterable(lines)

/**
 * Reads the entries of a recording, without the header and the last line.
 *
 * **Details**
 *
 * Fails with a `RecordingError` at the first invalid line, after all entries before
 * it. Lines after `Finished` are ignored.
 *
 * **Example** (The entries of a recording)
 *
 * ```ts
 * import * as Effect from "effect/Effect"
 * import * as Stream from "effect/Stream"
 * import * as Recording from "@makima-stream/test-kit/Recording"
 *
 * const lines = [
 *   `{"_tag":"Recording","version":1,"startedAt":0}`,
 *   `{"_tag":"Opened","at":12,"epoch":1}`,
 *   `{"_tag":"Received","at":15,"epoch":1,"frame":{"te`
 * ]
 * const program = Recording.read(lines).pipe(
 *   Stream.runForEach((entry) => Effect.sync(() => console.log(entry._tag))), // Opened
 *   Effect.catchTag("RecordingError", (error) => Effect.sync(() => console.log(error.message)))
 * ) // Line 3 of the recording is damaged: it is not a JSON value
 * Effect.runPromise(program)
 * ```
 *
 * @category reading
 * @since 0.1.0
 */
export const read = <E = never, R = never>(lines: Lines<E, R>): Stream.Stream<Played, RecordingError | E, R> =>
  Stream.transformPull(toStream(lines), (pull) =>
    Effect.sync(() => {
      let line = 0
      let failure: RecordingError | undefined
      let finished = false
      const parse = (batch: NonEmptyReadonlyArray<string>): ReadonlyArray<Played> => {
        const entries: Array<Played> = []
        for (const text of batch) {
          line++
          if (line === 1) {
            failure = readHeader(text)
          } else {
            const entry = readEntry(text, line)
            if (Result.isFailure(entry)) failure = entry.failure
            else if (entry.success._tag === "Finished") finished = true
            else entries.push(entry.success)
          }
          if (failure !== undefined || finished) break
        }
        return entries
      }
      const more = Pull.catchDone(pull, () => Effect.fail(new RecordingError({ problem: "CutOff", line: line + 1 })))
      const next: Pull.Pull<NonEmptyReadonlyArray<Played>, RecordingError | E, void, R> = Effect.suspend(() => {
        if (failure !== undefined) return Effect.fail(failure)
        if (finished) return Cause.done()
        return Effect.flatMap(more, (batch) => {
          const entries = parse(batch)
          return isReadonlyArrayNonEmpty(entries) ? Effect.succeed(entries) : next
        })
      })
      return next
    })
  )

// ---------------------------------------------------------------------------
// recording
// ---------------------------------------------------------------------------

/**
 * Returns a socket that records its frames.
 *
 * **When to use**
 *
 * Use it to record a session with a real server, for a test or a bug report.
 * `layerRecord` does the same for a layer.
 *
 * **Details**
 *
 * A frame is recorded before the program receives it, and before it is sent. A slow
 * `write` slows the feed, so no lines accumulate in memory. When the scope closes,
 * the last line is written and the recording ends. Times are measured on the
 * monotonic clock.
 *
 * **Example** (Keeping the lines of a session)
 *
 * ```ts
 * import * as Effect from "effect/Effect"
 * import * as Recording from "@makima-stream/test-kit/Recording"
 * import * as ScriptedMesh from "@makima-stream/test-kit/ScriptedMesh"
 *
 * const lines: Array<string> = []
 * const program = Effect.scoped(
 *   Effect.gen(function* () {
 *     const mesh = yield* ScriptedMesh.make()
 *     const socket = yield* Recording.record(mesh.socket, (batch) => Effect.sync(() => lines.push(...batch)))
 *     yield* Effect.scoped(socket.reader)
 *   })
 * )
 * Effect.runPromise(program).then(() => console.log(lines.length)) // 4
 * ```
 *
 * @category recording
 * @since 0.1.0
 */
export const record = (socket: Socket.Socket, write: Write): Effect.Effect<Socket.Socket, never, Scope.Scope> =>
  RecordedSocket.make(socket, {
    write,
    header: (startedAt) => encodeHeader({ _tag: "Recording", version: 1, startedAt }),
    encode: encodeLine
  })

/**
 * The socket of a layer, recorded: see `record`.
 *
 * **Example** (A socket that is recorded to a file)
 *
 * ```ts
 * import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
 * import * as Effect from "effect/Effect"
 * import * as Layer from "effect/Layer"
 * import * as Recording from "@makima-stream/test-kit/Recording"
 * import * as ScriptedMesh from "@makima-stream/test-kit/ScriptedMesh"
 *
 * const recorded = Layer.unwrap(Effect.map(Recording.toFile("session.jsonl"), Recording.layerRecord)).pipe(
 *   Layer.provide([ScriptedMesh.layer(), NodeFileSystem.layer])
 * )
 * console.log(Layer.isLayer(recorded)) // true
 * ```
 *
 * @category recording
 * @since 0.1.0
 */
export const layerRecord = (write: Write): Layer.Layer<Socket.Socket, never, Socket.Socket> =>
  Layer.effect(
    Socket.Socket,
    Effect.flatMap(Socket.Socket, (socket) => record(socket, write))
  )

/**
 * Opens a file for a recording. An existing file is overwritten.
 *
 * **Details**
 *
 * If a write fails, one error is logged and the recording stops; the lines written
 * before are a recording that is cut off. The feed continues.
 *
 * @category recording
 * @since 0.1.0
 */
export const toFile = (
  path: string
): Effect.Effect<Write, PlatformError.PlatformError, FileSystem.FileSystem | Scope.Scope> =>
  Effect.gen(function* () {
    const fs = yield* FileSystem.FileSystem
    const file = yield* fs.open(path, { flag: "w" })
    const utf8 = new TextEncoder()
    let broken = false
    return (lines) =>
      Effect.suspend(() => (broken ? Effect.void : file.writeAll(utf8.encode(`${lines.join("\n")}\n`)))).pipe(
        Effect.catchCause((cause) => {
          broken = true
          return Effect.logError("The recording stopped, because its file cannot be written", cause)
        })
      )
  })

/**
 * The lines of a recording in a file.
 *
 * **Example** (A socket that plays a file)
 *
 * ```ts
 * import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
 * import * as Layer from "effect/Layer"
 * import * as Recording from "@makima-stream/test-kit/Recording"
 *
 * const replayed = Layer.provide(
 *   Recording.layerReplay(Recording.fromFile("session.jsonl"), { timing: "asPulled" }),
 *   NodeFileSystem.layer
 * )
 * console.log(Layer.isLayer(replayed)) // true
 * ```
 *
 * @category reading
 * @since 0.1.0
 */
export const fromFile = (path: string): Stream.Stream<string, PlatformError.PlatformError, FileSystem.FileSystem> =>
  Stream.unwrap(Effect.map(FileSystem.FileSystem, (fs) => fs.stream(path))).pipe(Stream.decodeText, Stream.splitLines)

// ---------------------------------------------------------------------------
// replaying
// ---------------------------------------------------------------------------

/**
 * Options of `replay`.
 *
 * @category options
 * @since 0.1.0
 */
export interface ReplayOptions {
  /**
   * `recorded` plays each frame at its time from the first dial, by the `Clock`;
   * `asPulled` plays as fast as the program pulls. Defaults to `recorded`.
   */
  readonly timing?: "recorded" | "asPulled"
}

/**
 * A running replay.
 *
 * @category models
 * @since 0.1.0
 */
export interface Replay<E = never> {
  /** The socket that plays it. */
  readonly socket: Socket.Socket
  /**
   * Waits until the recording has been played. Fails if the recording cannot be
   * read to its end.
   */
  readonly finished: Effect.Effect<void, RecordingError | E>
}

const over = 4499
const unreadable = 4498

/**
 * Plays a recording as a socket.
 *
 * **Details**
 *
 * - The n-th dial has the result of the n-th recorded dial: a connection with its
 *   frames and its end, or a failure. What the program writes is ignored.
 * - The remaining frames of a connection that the program closes early are skipped. A
 *   connection that the recorded program closed ends with code 1000.
 * - At the end of the recording the connection, or the next dial, ends with close
 *   code 4499. If the recording cannot be read any further, it ends with code 4498
 *   after all valid entries, with the message of the `RecordingError` as reason. The
 *   default `ReconnectPolicy` retries neither, so a `MeshStream` fails. `isOver`
 *   recognises code 4499.
 *
 * **Gotchas**
 *
 * With recorded timing, a dial is answered at the time at which the recorded dial was
 * answered. A program that dials later receives all frames that are already due at
 * once.
 *
 * **Example** (A recorded session as the server of a program)
 *
 * ```ts
 * import * as Effect from "effect/Effect"
 * import * as Stream from "effect/Stream"
 * import * as Socket from "effect/socket/Socket"
 * import * as Interest from "@makima-stream/core/Interest"
 * import * as MeshStream from "@makima-stream/core/MeshStream"
 * import * as Recording from "@makima-stream/test-kit/Recording"
 *
 * const lines = [
 *   `{"_tag":"Recording","version":1,"startedAt":0}`,
 *   `{"_tag":"Opened","at":12,"epoch":1}`,
 *   `{"_tag":"Received","at":15,"epoch":1,"frame":{"text":"{\\"type\\":\\"error\\",\\"code\\":\\"X\\"}"}}`,
 *   `{"_tag":"Finished","at":20}`
 * ]
 * const program = Effect.scoped(
 *   Effect.gen(function* () {
 *     const { socket } = yield* Recording.replay(lines, { timing: "asPulled" })
 *     return yield* MeshStream.connect({ interest: Interest.all }).pipe(
 *       Stream.catchIf(Recording.isOver, () => Stream.empty),
 *       Stream.runCollect,
 *       Effect.provideService(Socket.Socket, socket)
 *     )
 *   })
 * )
 * Effect.runPromise(program).then((events) => console.log(events.map((event) => event._tag)))
 * // ["Connected", "ServerError", "Disconnected"]
 * ```
 *
 * @category replaying
 * @since 0.1.0
 */
export const replay = <E = never, R = never>(
  lines: Lines<E, R>,
  options?: ReplayOptions
): Effect.Effect<Replay<E>, never, R | Scope.Scope> =>
  Effect.gen(function* () {
    const context = yield* Effect.context<R>()
    const paced = Bounds.oneOf("timing", options?.timing, ["recorded", "asPulled"]) === "recorded"
    const entries = Effect.provideContext(yield* Stream.toPull(read(lines)), context)
    return yield* ReplayedSocket.make(entries, { paced, over, unreadable })
  })

/**
 * A recording as the `Socket` of a program: see `replay`.
 *
 * @category replaying
 * @since 0.1.0
 */
export const layerReplay = <E = never, R = never>(
  lines: Lines<E, R>,
  options?: ReplayOptions
): Layer.Layer<Socket.Socket, never, Exclude<R, Scope.Scope>> =>
  Layer.effect(
    Socket.Socket,
    Effect.map(replay(lines, options), ({ socket }) => socket)
  )

/**
 * Returns whether a feed failed because its recording has been played to the end.
 *
 * @category replaying
 * @since 0.1.0
 */
export const isOver = (error: MeshError.MeshError): boolean =>
  error.reason._tag === "ConnectionClosed" && error.reason.code === over
