/**
 * Generators for property tests, with shrinking: messages, valid and damaged frames, histories of events, fault schedules.
 *
 * Every value is an `Arbitrary` of Effect. Use it in `it.prop`, `Arbitrary.checkEffect` and `Arbitrary.sampleEffect`, and
 * compose it with others. It is a pure description: the runner chooses the seed.
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

/** One of several. The first is the simplest: shrinking moves towards it. */
const oneOf = <A>(first: Arbitrary.Arbitrary<A>, ...rest: ReadonlyArray<Arbitrary.Arbitrary<A>>) =>
  Arbitrary.flatMap(int(0, rest.length), (index) => rest[index - 1] ?? first)

// ---------------------------------------------------------------------------
// messages
// ---------------------------------------------------------------------------

/**
 * One of four task ids, so that several messages of a run belong to the same task.
 *
 * @category messages
 * @since 0.1.0
 */
export const taskId: Arbitrary.Arbitrary<TaskId.TaskId> = Arbitrary.map(literal("a", "b", "c", "d"), TaskId.make)

/**
 * A data message, with each optional member present or absent. Includes messages of unknown types. For a plausible sequence
 * of messages about few tasks, use `messages`.
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
 * An acknowledgement, with or without its task.
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
 * Any message that a server can send.
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
 * Any message that a client can send.
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
 * A valid frame from a server, as text or as bytes.
 *
 * @category frames
 * @since 0.1.0
 */
export const serverFrame: Arbitrary.Arbitrary<string | Uint8Array> = Arbitrary.map(
  Arbitrary.all([serverMessage, literal(false, true)]),
  ([message, binary]) => asTextOrBytes(Result.getOrThrow(ServerMessage.encodeFrame(message)), binary)
)

/**
 * A valid frame from a client, as text or as bytes.
 *
 * @category frames
 * @since 0.1.0
 */
export const clientFrame: Arbitrary.Arbitrary<string | Uint8Array> = Arbitrary.map(
  Arbitrary.all([clientMessage, literal(false, true)]),
  ([message, binary]) => asTextOrBytes(ClientMessage.encodeFrame(message), binary)
)

/**
 * A damaged frame from a server.
 *
 * **Details**
 *
 * - `Prefix`: the start of the frame, as bytes. Never decodes.
 * - `BitFlip`: one bit is flipped. Can decode, to the same message or to another.
 * - `TypeSwap`: one member has a JSON value of another type. Can decode.
 * - `HostileKey`: an additional member with a name such as `__proto__`, at the start or at the end. Decodes to the original
 *   message.
 *
 * @category frames
 * @since 0.1.0
 */
export interface DamagedFrame {
  /** The kind of damage. */
  readonly damage: "Prefix" | "BitFlip" | "TypeSwap" | "HostileKey"
  /** The message in the original frame. */
  readonly message: ServerMessage.ServerMessage
  /** The damaged frame. */
  readonly frame: string | Uint8Array
}

const encoded = (message: ServerMessage.ServerMessage): string => Result.getOrThrow(ServerMessage.encodeFrame(message))

/** A position in a text whose length is not known yet. */
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
    // Builds the text by hand, so that a member named `__proto__` stays a member.
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

/** Names with a meaning in JavaScript. The protocol defines none of them. */
const hostileKeys = ["__proto__", "constructor", "prototype", "toString", "hasOwnProperty", "then", "toJSON"] as const

const hostileKey: Arbitrary.Arbitrary<DamagedFrame> = Arbitrary.map(
  Arbitrary.all([
    // A message of an unknown type keeps all members, so it would not decode to the original message.
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
 * A damaged frame, with any kind of damage.
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

/** Numbers the updates of each task, and writes the position of each output into its content. */
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
 * The messages of a server about four tasks. The versions of each task's updates are 1, 2, 3, …, and the content of each
 * output is its position (`a1`, `a2`, …), so that a test can detect a loss, a repetition or a swap.
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
 * The events that a consumer of the feed can receive, including the lifecycle.
 *
 * **Details**
 *
 * A history keeps the promises of `MeshStream.connect`: it begins with epoch 1, epochs grow by one, a `Resync` follows each
 * `Connected` (`Started` after the first, `Reconnected` after the others), failed attempts are counted, and `at` never goes
 * back. Messages that the server sent while the client was not connected are missing, so versions can jump there, and only
 * there. A shrunk history keeps the same promises.
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
    // Lost messages are numbered at the next reconnect, so that its marks always follow a loss.
    let missed: Array<Drawn> = []
    const events: Array<MeshEvent> = [
      { _tag: "Connected", epoch, at },
      { _tag: "Resync", epoch, reason: { _tag: "Started" } }
    ]
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
 * One fault, or a period of time.
 *
 * @category faults
 * @since 0.1.0
 */
export const fault: Arbitrary.Arbitrary<FaultSchedule.Fault> = Arbitrary.schema(FaultSchedule.Fault)

/**
 * A fault schedule. Shrinking removes faults without changing their order, and makes them milder.
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
