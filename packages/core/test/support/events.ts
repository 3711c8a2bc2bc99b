/**
 * Events for the tests of operators: functions for single events, and generated
 * sequences. These have few tasks, statuses and versions, so that the cases an
 * operator handles are frequent.
 */
import * as Arbitrary from "effect/Arbitrary"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as MeshError from "@makima-stream/core/MeshError"
import * as TaskId from "@makima-stream/core/TaskId"
import type * as MeshEvent from "@makima-stream/core/MeshEvent"
import type * as ServerMessage from "@makima-stream/core/ServerMessage"

export const a = TaskId.make("a")
export const b = TaskId.make("b")
export const c = TaskId.make("c")

export const updated = (
  taskId: TaskId.TaskId,
  members: Omit<ServerMessage.TaskUpdated, "_tag" | "taskId"> = {}
): ServerMessage.TaskUpdated => ({ _tag: "TaskUpdated", taskId, ...members })

export const output = (
  taskId: TaskId.TaskId,
  content: string,
  members: Omit<Partial<ServerMessage.TaskOutput>, "_tag" | "taskId" | "content"> = {}
): ServerMessage.TaskOutput => ({ _tag: "TaskOutput", taskId, messageType: "assistant", content, ...members })

export const piece = (
  taskId: TaskId.TaskId,
  content: string,
  members: Omit<Partial<ServerMessage.TaskOutput>, "_tag" | "taskId" | "content"> = {}
): ServerMessage.TaskOutput => output(taskId, content, { isPartial: true, ...members })

export const connected = (epoch = 1): MeshEvent.Connected => ({ _tag: "Connected", epoch, at: 0 })

export const disconnected = (epoch = 1): MeshEvent.Disconnected => ({
  _tag: "Disconnected",
  epoch,
  opened: true,
  attempt: 1,
  reason: new MeshError.ConnectionLost({}),
  retryInMillis: 2_000,
  at: 0
})

/** A `Resync` that concerns one task, or every task. */
export const resync = (taskId?: TaskId.TaskId, epoch = 1): MeshEvent.Resync => ({
  _tag: "Resync",
  epoch,
  ...(taskId === undefined ? {} : { taskId }),
  reason: { _tag: "Reconnected", downMillis: 10 }
})

export const versionGap = (
  taskId: TaskId.TaskId,
  lastVersion: number,
  version: number,
  epoch = 0
): MeshEvent.Resync => ({ _tag: "Resync", epoch, taskId, reason: { _tag: "VersionGap", lastVersion, version } })

export const serverError: ServerMessage.ServerError = { _tag: "ServerError", code: "ERROR", message: "no" }

export const unknownMessage: ServerMessage.UnknownMessage = { _tag: "UnknownMessage", raw: { type: "novel" } }

const Ids = Schema.Literals(["a", "b", "c"])

const Drawn = Schema.Union([
  Schema.TaggedStruct("Updated", {
    taskId: Ids,
    version: Schema.optionalKey(Schema.Literals([1, 2, 3, 4, 5, 6])),
    status: Schema.optionalKey(Schema.Literals(["pending", "running", "done", "failed"])),
    updatedFields: Schema.optionalKey(Schema.Array(Schema.Literals(["name", "plan", "status"])))
  }),
  Schema.TaggedStruct("Output", {
    taskId: Ids,
    messageType: Schema.Literals(["assistant", "tool_use", "result"]),
    content: Schema.Literals(["", "x", "yy", "\n", "one\ntw", "o\r\n", "\r", "é\u{1F600}"]),
    isPartial: Schema.optionalKey(Schema.Boolean),
    isError: Schema.optionalKey(Schema.Boolean)
  }),
  Schema.TaggedStruct("Other", {
    which: Schema.Literals(["Connected", "Disconnected", "ServerError", "UnknownMessage"])
  }),
  Schema.TaggedStruct("Gap", { taskId: Schema.optionalKey(Ids) })
])

const toEvent = (drawn: typeof Drawn.Type, index: number): MeshEvent.MeshEvent => {
  switch (drawn._tag) {
    case "Updated": {
      const { _tag, taskId, ...members } = drawn
      return updated(TaskId.make(taskId), members)
    }
    case "Output": {
      const { _tag, content, taskId, ...members } = drawn
      return output(TaskId.make(taskId), content, members)
    }
    case "Other":
      if (drawn.which === "Connected") return connected(index + 1)
      if (drawn.which === "Disconnected") return disconnected(index)
      return drawn.which === "ServerError" ? serverError : unknownMessage
    case "Gap":
      return resync(drawn.taskId === undefined ? undefined : TaskId.make(drawn.taskId), index)
  }
}

/** Any sequence of events. It consists of several arrays, because a generated array has at most 10 elements by default. */
export const events: Arbitrary.Arbitrary<Array<MeshEvent.MeshEvent>> = Arbitrary.map(
  Arbitrary.array(Arbitrary.array(Arbitrary.schema(Drawn)), { minLength: 3, maxLength: 6 }),
  (drawn) => drawn.flat().map(toEvent)
)

/** The updates of three tasks as a server numbers them: 1, 2, 3 … each, mixed with events of other kinds. */
export const gapless: Arbitrary.Arbitrary<Array<MeshEvent.MeshEvent>> = Arbitrary.map(events, (drawn) => {
  const last = new Map<TaskId.TaskId, number>()
  return drawn
    .filter((event) => event._tag !== "Resync")
    .map((event) => {
      if (event._tag !== "TaskUpdated" || event.version === undefined) return event
      const version = (last.get(event.taskId) ?? 0) + 1
      last.set(event.taskId, version)
      return { ...event, version }
    })
})

/** How to split a sequence into arrays: their sizes, repeated until the end. */
export const sizes: Arbitrary.Arbitrary<Array<number>> = Arbitrary.array(
  Arbitrary.schema(Schema.Literals([1, 2, 3, 5, 8])),
  { minLength: 1, maxLength: 6 }
)

/** A place in a sequence. `at` scales it to the length of the sequence. */
export const place: Arbitrary.Arbitrary<number> = Arbitrary.schema(
  Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 1_000 }))
)

/** A place as an index from 0 to the sequence's length, both included. */
export const at = (place: number, sequence: ReadonlyArray<unknown>): number =>
  Math.round((place / 1_000) * sequence.length)

/** A stream that emits a sequence in arrays of the given sizes. */
export const inArrays = <A>(sequence: ReadonlyArray<A>, sizes: ReadonlyArray<number>): Stream.Stream<A> => {
  const arrays: Array<ReadonlyArray<A>> = []
  for (let start = 0, i = 0; start < sequence.length; i++) {
    const size = sizes[i % sizes.length] ?? 1
    arrays.push(sequence.slice(start, start + size))
    start += size
  }
  return Stream.fromArrays(...arrays)
}

/** Returns the elements that an operator emits for a sequence. */
export const through = <A, B>(
  sequence: ReadonlyArray<A>,
  operator: (self: Stream.Stream<A>) => Stream.Stream<B>
): Effect.Effect<Array<B>> => Stream.runCollect(operator(Stream.fromArray(sequence)))
