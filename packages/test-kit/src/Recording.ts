/**
 * A session on disk: what went over a socket, when, and in which direction, as
 * JSON lines that can be read, kept and played back.
 *
 * `record` decorates any `Socket`; `replay` is a `Socket` that plays what was
 * recorded. A feed that misbehaved in production becomes a test that way, under
 * the program that it misbehaved for.
 *
 * A recording holds the frames, and so whatever the feed said. It holds no
 * header, no URL and no key: those never pass through a `Socket`. Of an error it
 * keeps the reason, without the platform's own cause.
 *
 * @since 0.1.0
 */
import { isReadonlyArrayNonEmpty, type NonEmptyReadonlyArray } from "effect/Array"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Base64 from "effect/encoding/Base64"
import * as FileSystem from "effect/FileSystem"
import * as Layer from "effect/Layer"
import type * as PlatformError from "effect/PlatformError"
import * as Pull from "effect/Pull"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as SchemaIssue from "effect/SchemaIssue"
import type * as Scope from "effect/Scope"
import * as Socket from "effect/socket/Socket"
import * as Stream from "effect/Stream"
import * as MeshError from "@makima-stream/core/MeshError"
import * as RecordedSocket from "./internal/recordedSocket.ts"
import * as ReplayedSocket from "./internal/replayedSocket.ts"

// ---------------------------------------------------------------------------
// the format
// ---------------------------------------------------------------------------

const stamp = {
  /** Milliseconds since the recording began. Never goes back. */
  at: Schema.Finite,
  /** Which connection: they are counted from 1 as they open. 0 before the first. */
  epoch: Schema.Int
}

/** A frame, as text or as base64. */
const frame = Schema.Union([Schema.Struct({ text: Schema.String }), Schema.Struct({ base64: Schema.String })])

/**
 * The first line: what this is, in which `version` of the format, and when it
 * began (`startedAt`, in milliseconds since 1970).
 *
 * @category format
 * @since 0.1.0
 */
export const Header = Schema.TaggedStruct("Recording", {
  version: Schema.Literal(1),
  startedAt: Schema.Finite
})

/**
 * Every other line.
 *
 * **Details**
 *
 * - `Opened`, `DialFailed`, `Ended`: a connection's life. A dial that failed has
 *   the epoch of the connection before it. `Ended` has no `reason` where it was
 *   the program that hung up.
 * - `Received`, `Sent`: a `frame` from the server, and one to it. A frame that was
 *   sent was handed to the socket, which says nothing of its arrival.
 * - `Finished`: the last line of a recording that was not cut off.
 *
 * `at` is in milliseconds since the recording began.
 *
 * @category format
 * @since 0.1.0
 */
export const Entry = Schema.TaggedUnion({
  Opened: stamp,
  DialFailed: { ...stamp, reason: MeshError.ConnectionReason },
  Received: { ...stamp, frame },
  Sent: { ...stamp, frame },
  Ended: { ...stamp, reason: Schema.optionalKey(MeshError.ConnectionReason) },
  Finished: { at: Schema.Finite }
})

/**
 * A line of a recording but for the first.
 *
 * @category models
 * @since 0.1.0
 */
export type Entry = typeof Entry.Type

/**
 * A line of a recording that says what happened: all but the first and the
 * last.
 *
 * @category models
 * @since 0.1.0
 */
export type Played = Exclude<Entry, { readonly _tag: "Finished" }>

/**
 * A recording cannot be read any further.
 *
 * **Details**
 *
 * - `NotARecording`: the first line is no header.
 * - `UnknownVersion`: the header is of a version that this toolkit cannot read.
 * - `Damaged`: a line is not what belongs in a recording.
 * - `CutOff`: the lines end without the one that says so.
 *
 * `line` counts from 1. Everything before that line has been given by then.
 *
 * @category errors
 * @since 0.1.0
 */
export class RecordingError extends Schema.TaggedError<RecordingError>("@makima-stream/test-kit/RecordingError")(
  "RecordingError",
  {
    /** How far it can be read. */
    problem: Schema.Literals(["NotARecording", "UnknownVersion", "Damaged", "CutOff"]),
    line: Schema.Int,
    /** What is wrong with the line, where there is more to say. */
    detail: Schema.optionalKey(Schema.String)
  }
) {
  /** What is wrong, and in which line. */
  override get message(): string {
    const detail = this.detail === undefined ? "" : `: ${this.detail}`
    switch (this.problem) {
      case "NotARecording":
        return `This is no recording: line ${this.line} is not its header${detail}`
      case "UnknownVersion":
        return `This recording is of a version that is not known here${detail}`
      case "Damaged":
        return `Line ${this.line} of the recording is damaged${detail}`
      case "CutOff":
        return `The recording is cut off: it ends before line ${this.line}`
    }
  }
}

const encodeEntry = Schema.encodeSync(Entry)
const encodeLine = (entry: Entry): string => JSON.stringify(encodeEntry(entry))
const encodeHeader = (header: typeof Header.Type): string => JSON.stringify(header)
const decodeEntry = Schema.decodeUnknownResult(Entry)
const isHeader = Schema.is(Header)
const isAnyHeader = Schema.is(Schema.Struct({ _tag: Schema.Literal("Recording"), version: Schema.Unknown }))

const formatIssue = SchemaIssue.makeFormatterStandardSchemaV1()

const explain = (error: Schema.SchemaError): string => {
  const [first] = formatIssue(error.issue).issues
  const path = (first?.path ?? []).map((part) => String(typeof part === "object" ? part.key : part)).join(".")
  return `${first?.message ?? "no line of a recording"}${path === "" ? "" : ` at ${path}`}`
}

const parseJson = (line: string): Result.Result<unknown, string> => {
  try {
    return Result.succeed(JSON.parse(line))
  } catch {
    return Result.fail("it is not one JSON value")
  }
}

const readHeader = (line: string): RecordingError | undefined => {
  const parsed = parseJson(line)
  if (Result.isSuccess(parsed) && isHeader(parsed.success)) return undefined
  if (Result.isSuccess(parsed) && isAnyHeader(parsed.success)) {
    return new RecordingError({ problem: "UnknownVersion", line: 1, detail: JSON.stringify(parsed.success.version) })
  }
  return new RecordingError({ problem: "NotARecording", line: 1 })
}

const readEntry = (text: string, line: number): Result.Result<Entry, RecordingError> => {
  const damaged = (detail: string) => new RecordingError({ problem: "Damaged", line, detail })
  const parsed = parseJson(text)
  if (Result.isFailure(parsed)) return Result.fail(damaged(parsed.failure))
  const entry = decodeEntry(parsed.success)
  if (Result.isFailure(entry)) return Result.fail(damaged(explain(entry.failure)))
  const value = entry.success
  if ((value._tag === "Received" || value._tag === "Sent") && "base64" in value.frame) {
    if (Result.isFailure(Base64.decode(value.frame.base64))) return Result.fail(damaged("it is not base64 at frame"))
  }
  return Result.succeed(value)
}

/**
 * The lines of a recording: a stream, such as `fromFile` gives, or anything to
 * iterate over.
 *
 * @category models
 * @since 0.1.0
 */
export type Lines<E = never, R = never> = Iterable<string> | Stream.Stream<string, E, R>

const toStream = <E, R>(lines: Lines<E, R>): Stream.Stream<string, E, R> =>
  Stream.isStream(lines) ? lines : Stream.fromIterable(lines)

/**
 * Reads the entries of a recording, the header and the last line left out.
 *
 * **Details**
 *
 * Fails with a `RecordingError` at the first line that is wrong, after every
 * entry before it. What follows `Finished` is not looked at.
 *
 * **Example** (What a recording holds)
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
 * ) // Line 3 of the recording is damaged: it is not one JSON value
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
 * Where lines go. It gets one or more at a time, without line ends, never two
 * batches at once.
 *
 * @category models
 * @since 0.1.0
 */
export type Write = (lines: NonEmptyReadonlyArray<string>) => Effect.Effect<void>

/**
 * Decorates a socket: what goes over it is written down as well.
 *
 * **When to use**
 *
 * Use it to keep a session of a real server, for a test or for a bug report.
 * `layerRecord` does the same to a layer.
 *
 * **Details**
 *
 * A frame is written down before the program sees it, and before it is sent; a
 * `write` that is slow slows the feed, and nothing piles up. The scope that it
 * runs in is the recording's life: when it closes, the last line is written, and
 * what happens later is not recorded.
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
 * Opens a file for a recording; one that exists is written anew.
 *
 * **Details**
 *
 * Should the file become impossible to write, that is logged as an error, once,
 * and the recording stops: what was written before is a recording that is cut
 * off. The feed goes on.
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
          return Effect.logError("The recording cannot be written any further", cause)
        })
      )
  })

/**
 * The lines of a recording in a file.
 *
 * **Example** (A program on what was recorded)
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
 * How a recording is played back.
 *
 * @category options
 * @since 0.1.0
 */
export interface ReplayOptions {
  /**
   * `recorded` plays everything at its time, counted from the first dial, under
   * the `Clock`; `asPulled` as fast as the program pulls. Default: `recorded`.
   */
  readonly timing?: "recorded" | "asPulled"
}

/**
 * A recording that is being played back.
 *
 * @category models
 * @since 0.1.0
 */
export interface Replay<E = never> {
  /** The socket that plays it. */
  readonly socket: Socket.Socket
  /**
   * Waits until nothing of the recording is left: succeeds at its end, and fails
   * with what was wrong where it could not be played to its end.
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
 * The n-th dial gives what the n-th dial of the recording gave: a connection
 * with its frames and its end, or a failure. What the program writes goes
 * nowhere. A connection that the program leaves early is skipped over; one that
 * the recorded program left is closed with code 1000.
 *
 * At the end of the recording the connection, or the next dial, ends with close
 * code 4499; where the recording cannot be read any further, with 4498 and the
 * `RecordingError`'s message as its reason, after everything that came before.
 * Both are closes for policy, which the default `ReconnectPolicy` does not
 * retry, so a `MeshStream` fails with them. `isOver` tells the first.
 *
 * **Gotchas**
 *
 * With recorded timing a dial takes until the time at which the recorded one
 * was answered. A program that dials later than the recorded one gets what it
 * missed at once.
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
    const entries = Effect.provideContext(yield* Stream.toPull(read(lines)), context)
    return yield* ReplayedSocket.make(entries, { paced: options?.timing !== "asPulled", over, unreadable })
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
 * Whether a feed failed because the recording that it played is over, with
 * nothing wrong.
 *
 * @category replaying
 * @since 0.1.0
 */
export const isOver = (error: MeshError.MeshError): boolean =>
  error.reason._tag === "ConnectionClosed" && error.reason.code === over
