/**
 * Generators for property tests, with shrinking: messages, frames valid and
 * damaged, histories of events, fault schedules.
 *
 * Every value is an `Arbitrary` of Effect, so it goes into `it.prop`,
 * `Arbitrary.checkEffect` and `Arbitrary.sampleEffect` as it stands, and
 * composes with any other. All are pure descriptions: the seed is the runner's.
 *
 * @since 0.1.0
 */
import * as Arbitrary from "effect/Arbitrary"
import type { NonEmptyReadonlyArray } from "effect/Array"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as ClientMessage from "@makima-stream/core/ClientMessage"
import { DecodeError } from "@makima-stream/core/DecodeError"
import * as MeshError from "@makima-stream/core/MeshError"
import type { Data, MeshEvent } from "@makima-stream/core/MeshEvent"
import * as ServerMessage from "@makima-stream/core/ServerMessage"
import * as TaskId from "@makima-stream/core/TaskId"
import * as FaultSchedule from "./FaultSchedule.ts"

const int = (minimum: number, maximum: number): Arbitrary.Arbitrary<number> =>
  Arbitrary.schema(Schema.Int.check(Schema.isBetween({ minimum, maximum })))

const literal = <const L extends NonEmptyReadonlyArray<string | number | boolean>>(
  ...values: L
): Arbitrary.Arbitrary<L[number]> => Arbitrary.schema(Schema.Literals(values))

/** One of several, the first of which is the simplest: shrinking moves towards it. */
const oneOf = <A>(first: Arbitrary.Arbitrary<A>, ...rest: ReadonlyArray<Arbitrary.Arbitrary<A>>) =>
  Arbitrary.flatMap(int(0, rest.length), (index) => rest[index - 1] ?? first)

// ---------------------------------------------------------------------------
// messages
// ---------------------------------------------------------------------------

/**
 * A task id out of a handful, so that messages of one run meet on the same
 * tasks.
 *
 * @category messages
 * @since 0.1.0
 */
export const taskId: Arbitrary.Arbitrary<TaskId.TaskId> = Arbitrary.map(literal("a", "b", "c", "d"), TaskId.make)

/**
 * What the server tells a program, with every optional member present or not,
 * and a message of an unknown type now and then. For well-formed messages
 * of few tasks, see `messages`.
 *
 * @category messages
 * @since 0.1.0
 */
export const data: Arbitrary.Arbitrary<Data> = oneOf<Data>(
  Arbitrary.schema(ServerMessage.TaskUpdated),
  Arbitrary.schema(ServerMessage.TaskOutput),
  Arbitrary.schema(ServerMessage.ServerError),
  Arbitrary.schema(ServerMessage.UnknownMessage)
)

/**
 * An acknowledgement, with and without its task.
 *
 * @category messages
 * @since 0.1.0
 */
export const acknowledgement: Arbitrary.Arbitrary<ServerMessage.Acknowledgement> = oneOf<ServerMessage.Acknowledgement>(
  Arbitrary.schema(ServerMessage.SubscribedAll),
  Arbitrary.schema(ServerMessage.UnsubscribedAll),
  Arbitrary.schema(ServerMessage.Subscribed),
  Arbitrary.schema(ServerMessage.Unsubscribed),
  Arbitrary.schema(ServerMessage.OutputSubscribed),
  Arbitrary.schema(ServerMessage.OutputUnsubscribed)
)

/**
 * Any message that a server may send.
 *
 * **Example** (A property of the codec)
 *
 * ```ts
 * import * as Arbitrary from "effect/Arbitrary"
 * import * as Effect from "effect/Effect"
 * import * as Result from "effect/Result"
 * import * as ServerMessage from "@makima-stream/core/ServerMessage"
 * import * as MeshArbitrary from "@makima-stream/test-kit/MeshArbitrary"
 *
 * const program = Arbitrary.checkEffect(MeshArbitrary.serverMessage, (message) =>
 *   Result.isSuccess(Result.flatMap(ServerMessage.encodeFrame(message), ServerMessage.decodeFrame))
 * )
 * Effect.runPromise(program).then((result) => console.log(result._tag)) // Passed
 * ```
 *
 * @category messages
 * @since 0.1.0
 */
export const serverMessage: Arbitrary.Arbitrary<ServerMessage.ServerMessage> = oneOf<ServerMessage.ServerMessage>(
  data,
  acknowledgement
)

/**
 * Any message that a client may send.
 *
 * @category messages
 * @since 0.1.0
 */
export const clientMessage: Arbitrary.Arbitrary<ClientMessage.ClientMessage> = Arbitrary.schema(
  ClientMessage.ClientMessage
)

// ---------------------------------------------------------------------------
// frames
// ---------------------------------------------------------------------------

const utf8 = new TextEncoder()

const asTextOrBytes = (text: string, binary: boolean): string | Uint8Array => (binary ? utf8.encode(text) : text)

/**
 * A frame of a server, as text or as bytes. It decodes.
 *
 * @category frames
 * @since 0.1.0
 */
export const serverFrame: Arbitrary.Arbitrary<string | Uint8Array> = Arbitrary.map(
  Arbitrary.all([serverMessage, literal(false, true)]),
  ([message, binary]) => asTextOrBytes(Result.getOrThrow(ServerMessage.encodeFrame(message)), binary)
)

/**
 * A frame of a client, as text or as bytes. It decodes.
 *
 * @category frames
 * @since 0.1.0
 */
export const clientFrame: Arbitrary.Arbitrary<string | Uint8Array> = Arbitrary.map(
  Arbitrary.all([clientMessage, literal(false, true)]),
  ([message, binary]) => asTextOrBytes(ClientMessage.encodeFrame(message), binary)
)

/**
 * A frame of a server that something happened to.
 *
 * **Details**
 *
 * - `Prefix`: cut off somewhere, as bytes. Never decodes.
 * - `BitFlip`: one bit is wrong. May decode, to the same message or another.
 * - `TypeSwap`: one member holds a JSON value of another type. May decode.
 * - `HostileKey`: one member more, with a name such as `__proto__`, in front or
 *   at the end. Decodes to the original message.
 *
 * @category frames
 * @since 0.1.0
 */
export interface DamagedFrame {
  /** What happened to it. */
  readonly damage: "Prefix" | "BitFlip" | "TypeSwap" | "HostileKey"
  /** The message that the frame held before. */
  readonly message: ServerMessage.ServerMessage
  /** The frame as it is now. */
  readonly frame: string | Uint8Array
}

const encoded = (message: ServerMessage.ServerMessage): string => Result.getOrThrow(ServerMessage.encodeFrame(message))

/** A place in something whose length is not known yet. */
const place = int(0, 0xff_ff)

const prefix: Arbitrary.Arbitrary<DamagedFrame> = Arbitrary.map(
  Arbitrary.all([serverMessage, place]),
  ([message, at]) => {
    const bytes = utf8.encode(encoded(message))
    return { damage: "Prefix", message, frame: bytes.subarray(0, at % bytes.length) }
  }
)

const bitFlip: Arbitrary.Arbitrary<DamagedFrame> = Arbitrary.map(
  Arbitrary.all([serverMessage, place]),
  ([message, at]) => {
    const frame = utf8.encode(encoded(message))
    const bit = at % (frame.length * 8)
    frame[bit >> 3] = (frame[bit >> 3] ?? 0) ^ (1 << (bit & 7))
    return { damage: "BitFlip", message, frame }
  }
)

/** JSON values of every type, as their text. */
const swaps = ["null", "0", "1.5", "-1", "true", '""', '"x"', "[]", "[null]", "{}", '{"a":{}}', "1e999"] as const

const typeName = (json: string): string => {
  const value: unknown = JSON.parse(json)
  return value === null ? "null" : Array.isArray(value) ? "array" : typeof value
}

const typeSwap: Arbitrary.Arbitrary<DamagedFrame> = Arbitrary.map(
  Arbitrary.all([serverMessage, place, place]),
  ([message, member, swap]) => {
    // The text is put together by hand, so that a member called `__proto__` stays a member.
    const members = Object.entries(JSON.parse(encoded(message))).map(
      ([key, value]) => [key, JSON.stringify(value)] as const
    )
    const chosen = member % members.length
    const texts = members.map(([key, text], index) => {
      const others = swaps.filter((other) => typeName(other) !== typeName(text))
      const swapped = index === chosen ? (others[swap % others.length] ?? "null") : text
      return `${JSON.stringify(key)}:${swapped}`
    })
    return { damage: "TypeSwap", message, frame: `{${texts.join(",")}}` }
  }
)

/** Names that mean something to JavaScript, none of which the protocol knows. */
const hostileKeys = ["__proto__", "constructor", "prototype", "toString", "hasOwnProperty", "then", "toJSON"] as const

const hostileKey: Arbitrary.Arbitrary<DamagedFrame> = Arbitrary.map(
  Arbitrary.all([
    // A message of an unknown type keeps whatever it came with, so it would not be the original one.
    Arbitrary.filter(serverMessage, (message) => message._tag !== "UnknownMessage"),
    literal(...hostileKeys),
    literal('{"polluted":true}', "null", '"x"', '{"prototype":{"polluted":true}}'),
    literal(false, true)
  ]),
  ([message, key, value, atEnd]) => {
    const inner = encoded(message).slice(1, -1)
    const member = `${JSON.stringify(key)}:${value}`
    return {
      damage: "HostileKey",
      message,
      frame: `{${atEnd ? `${inner},${member}` : `${member},${inner}`}}`
    }
  }
)

/**
 * A frame that something happened to.
 *
 * @category frames
 * @since 0.1.0
 */
export const damagedFrame: Arbitrary.Arbitrary<DamagedFrame> = oneOf(prefix, bitFlip, typeSwap, hostileKey)

// ---------------------------------------------------------------------------
// histories
// ---------------------------------------------------------------------------

const status = literal("pending", "starting", "running", "paused", "blocked", "done", "failed", "merged", "cancelled")

const messageType = literal("assistant", "tool_use", "tool_result", "result", "system", "error", "raw")

type Drawn =
  | { readonly _tag: "Update"; readonly taskId: TaskId.TaskId; readonly status: string }
  | {
      readonly _tag: "Output"
      readonly taskId: TaskId.TaskId
      readonly messageType: string
      readonly isPartial: boolean
      readonly cents: number
    }
  | { readonly _tag: "Error" }

const drawn: Arbitrary.Arbitrary<Drawn> = oneOf<Drawn>(
  Arbitrary.map(Arbitrary.all([taskId, status]), ([taskId, status]) => ({ _tag: "Update", taskId, status })),
  Arbitrary.map(
    Arbitrary.all([taskId, messageType, literal(false, true), int(0, 500)]),
    ([taskId, messageType, isPartial, cents]) => ({ _tag: "Output", taskId, messageType, isPartial, cents })
  ),
  Arbitrary.Constant({ _tag: "Error" })
)

/** Numbers the updates of each task, and writes each output's place into its content. */
const numbering = () => {
  const versions = new Map<TaskId.TaskId, number>()
  const outputs = new Map<TaskId.TaskId, number>()
  const next = (counts: Map<TaskId.TaskId, number>, taskId: TaskId.TaskId): number => {
    const count = (counts.get(taskId) ?? 0) + 1
    counts.set(taskId, count)
    return count
  }
  return (choice: Drawn): Data => {
    switch (choice._tag) {
      case "Update":
        return {
          _tag: "TaskUpdated",
          taskId: choice.taskId,
          version: next(versions, choice.taskId),
          status: choice.status
        }
      case "Output":
        return {
          _tag: "TaskOutput",
          taskId: choice.taskId,
          messageType: choice.messageType,
          content: `${choice.taskId}${next(outputs, choice.taskId)}`,
          ...(choice.isPartial ? { isPartial: true } : {}),
          ...(choice.messageType === "result" ? { costUsd: choice.cents / 100, durationMs: choice.cents * 10 } : {})
        }
      case "Error":
        return { _tag: "ServerError", code: "ERROR", message: "generated" }
    }
  }
}

/**
 * What a server says about a few tasks over time: the versions of each task's
 * updates are 1, 2, 3, …, and each output's content says its place (`a1`, `a2`,
 * …), so that a loss, a repetition or a swap can be seen.
 *
 * @category histories
 * @since 0.1.0
 */
export const messages: Arbitrary.Arbitrary<ReadonlyArray<Data>> = Arbitrary.map(Arbitrary.array(drawn), (choices) => {
  const number = numbering()
  return choices.map(number)
})

type Happening =
  | { readonly _tag: "Said"; readonly what: Drawn; readonly heard: boolean }
  | { readonly _tag: "BadFrame" }
  | {
      readonly _tag: "Lost"
      readonly reason: MeshError.ConnectionReason
      readonly failedDials: number
      readonly delayMillis: number
    }

const connectionEnd: Arbitrary.Arbitrary<MeshError.ConnectionReason> = oneOf<MeshError.ConnectionReason>(
  Arbitrary.Constant(new MeshError.ConnectionLost({})),
  Arbitrary.Constant(new MeshError.ConnectionClosed({ code: 1001, closeReason: "going away" })),
  Arbitrary.Constant(new MeshError.HeartbeatTimeout({ deadlineMillis: 10_000 }))
)

const happening: Arbitrary.Arbitrary<Happening> = Arbitrary.flatMap(
  int(0, 9),
  (kind): Arbitrary.Arbitrary<Happening> => {
    if (kind < 8) {
      return Arbitrary.map(Arbitrary.all([drawn, int(0, 3)]), ([what, luck]) => ({
        _tag: "Said",
        what,
        heard: luck < 3
      }))
    }
    if (kind === 8) return Arbitrary.Constant({ _tag: "BadFrame" })
    return Arbitrary.map(
      Arbitrary.all([connectionEnd, int(0, 3), int(100, 30_000)]),
      ([reason, failedDials, delayMillis]) => ({ _tag: "Lost", reason, failedDials, delayMillis })
    )
  }
)

const badFrame = new DecodeError({ problem: "InvalidJson", path: [], expected: "one JSON object", size: 1 })

/**
 * What a consumer of the feed may see over time, lifecycle included.
 *
 * **Details**
 *
 * A history obeys what `MeshStream.connect` promises: it begins with epoch 1,
 * epochs grow by one, a `Resync` follows each `Connected` but the first, failed
 * attempts are counted, and `at` never goes back. What the server said while
 * nobody was connected is missing from it, so versions may jump there, and only
 * there. Shrunk histories obey the same.
 *
 * **Example** (Checking a reducer of your own)
 *
 * ```ts
 * import * as Arbitrary from "effect/Arbitrary"
 * import * as Effect from "effect/Effect"
 * import * as MeshArbitrary from "@makima-stream/test-kit/MeshArbitrary"
 *
 * const program = Arbitrary.checkEffect(MeshArbitrary.history, (events) => {
 *   const epochs = events.flatMap((event) => (event._tag === "Connected" ? [event.epoch] : []))
 *   return epochs.every((epoch, index) => epoch === index + 1)
 * })
 * Effect.runPromise(program).then((result) => console.log(result._tag)) // Passed
 * ```
 *
 * @category histories
 * @since 0.1.0
 */
export const history: Arbitrary.Arbitrary<ReadonlyArray<MeshEvent>> = Arbitrary.map(
  Arbitrary.array(happening),
  (happenings) => {
    const number = numbering()
    let epoch = 1
    let at = 0
    // A gap swallows the messages at its end, so that a loss is always followed by the marks of a reconnect.
    let missed: Array<Drawn> = []
    const events: Array<MeshEvent> = [{ _tag: "Connected", epoch, at }]
    for (const what of happenings) {
      switch (what._tag) {
        case "Said":
          if (what.heard) events.push(number(what.what))
          else missed.push(what.what)
          break
        case "BadFrame":
          events.push({ _tag: "Resync", epoch, reason: { _tag: "BadFrame", error: badFrame } })
          break
        case "Lost": {
          const lostAt = at
          for (let attempt = 1; attempt <= what.failedDials + 1; attempt++) {
            events.push({
              _tag: "Disconnected",
              epoch,
              opened: attempt === 1,
              attempt,
              reason: attempt === 1 ? what.reason : new MeshError.HandshakeRejected({ status: 503 }),
              retryInMillis: what.delayMillis,
              at
            })
            at += what.delayMillis
          }
          missed.forEach(number)
          missed = []
          epoch++
          events.push(
            { _tag: "Connected", epoch, at },
            { _tag: "Resync", epoch, reason: { _tag: "Reconnected", downMillis: at - lostAt } }
          )
        }
      }
    }
    return events
  }
)

// ---------------------------------------------------------------------------
// faults
// ---------------------------------------------------------------------------

/**
 * One thing that goes wrong, or a while that passes.
 *
 * @category faults
 * @since 0.1.0
 */
export const fault: Arbitrary.Arbitrary<FaultSchedule.Fault> = Arbitrary.schema(FaultSchedule.Fault)

/**
 * A fault schedule. Smaller ones have fewer faults, in the same order, and
 * milder ones.
 *
 * **Example** (A generated schedule)
 *
 * ```ts
 * import * as Arbitrary from "effect/Arbitrary"
 * import * as Effect from "effect/Effect"
 * import * as MeshArbitrary from "@makima-stream/test-kit/MeshArbitrary"
 *
 * const program = Arbitrary.sampleEffect(MeshArbitrary.faults, { count: 1, seed: 7 })
 * Effect.runPromise(program).then(([schedule]) => console.log(Array.isArray(schedule))) // true
 * ```
 *
 * @category faults
 * @since 0.1.0
 */
export const faults: Arbitrary.Arbitrary<FaultSchedule.FaultSchedule> = Arbitrary.array(fault)
