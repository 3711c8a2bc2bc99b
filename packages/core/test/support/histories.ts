import * as Arbitrary from "effect/Arbitrary"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as MeshError from "../../src/MeshError.ts"
import type { MeshEvent } from "../../src/MeshEvent.ts"
import type { TaskOutput, TaskUpdated } from "../../src/ServerMessage.ts"
import { TaskId } from "../../src/TaskId.ts"
import { assertSame } from "./assertSame.ts"

/** The tasks that generated histories are about. */
export const tasks = ["a", "b", "c"].map((id) => TaskId.make(id))

const below = (n: number) => Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: n - 1 }))

const statuses = ["pending", "starting", "running", "paused", "done", "failed", "merged"]

const fields = ["status", "progress", "title", "branch"]

const Step = Schema.Struct({
  kind: Schema.Literals([
    "update",
    "update",
    "update",
    "bareUpdate",
    "output",
    "output",
    "partial",
    "partial",
    "partial",
    "result",
    "taskGap",
    "gap",
    "reconnect",
    "serverError",
    "unknown"
  ]),
  task: below(tasks.length),
  status: below(statuses.length),
  field: below(fields.length),
  cost: below(8)
})

type Step = typeof Step.Type

const step = Arbitrary.schema(Step)

const toHistory = (steps: ReadonlyArray<Step>): ReadonlyArray<MeshEvent> => {
  const events: Array<MeshEvent> = [{ _tag: "Connected", epoch: 1, at: 0 }]
  const versions = new Map<TaskId, number>()
  let epoch = 1
  let count = 0
  const task = (step: Step): TaskId => tasks[step.task] ?? TaskId.make("a")
  for (const step of steps) {
    const taskId = task(step)
    // Every output differs from every other, so that a test can tell a lost one from a moved one.
    const content = `o${count++}`
    const output = { _tag: "TaskOutput" as const, taskId, content }
    switch (step.kind) {
      case "update": {
        const version = (versions.get(taskId) ?? 0) + 1
        versions.set(taskId, version)
        const status = statuses[step.status] ?? "running"
        events.push({ _tag: "TaskUpdated", taskId, version, status, updatedFields: ["status"] })
        break
      }
      case "bareUpdate":
        events.push({ _tag: "TaskUpdated", taskId, updatedFields: [fields[step.field] ?? "status"] })
        break
      case "output":
        events.push({ ...output, messageType: step.cost % 2 === 0 ? "assistant" : "tool_use" })
        break
      case "partial":
        events.push({ ...output, messageType: "assistant", isPartial: true })
        break
      case "result":
        // Quarters add up exactly.
        events.push({ ...output, messageType: "result", costUsd: step.cost / 4, durationMs: count })
        break
      case "taskGap":
        events.push({
          _tag: "Resync",
          epoch,
          taskId,
          reason: { _tag: "VersionGap", lastVersion: 0, version: versions.get(taskId) ?? 1 }
        })
        break
      case "gap":
        events.push({ _tag: "Resync", epoch, reason: { _tag: "JoinedLate" } })
        break
      case "reconnect":
        events.push(
          {
            _tag: "Disconnected",
            epoch,
            opened: true,
            attempt: 1,
            reason: new MeshError.ConnectionClosed({ code: 1001 }),
            retryInMillis: 1000,
            at: count
          },
          { _tag: "Connected", epoch: epoch + 1, at: count },
          { _tag: "Resync", epoch: epoch + 1, reason: { _tag: "Reconnected", downMillis: 1000 } }
        )
        epoch++
        break
      case "serverError":
        events.push({ _tag: "ServerError", code: "ERROR", message: content })
        break
      case "unknown":
        events.push({ _tag: "UnknownMessage", raw: { type: "somethingNew", content } })
        break
    }
  }
  return events
}

/**
 * Generated feeds: interleaved tasks, growing versions, runs that end and start again, partial and whole outputs (each with
 * different content), reconnects with their marks, gaps of one task and of all.
 */
export const history: Arbitrary.Arbitrary<ReadonlyArray<MeshEvent>> = Arbitrary.schema(below(80)).pipe(
  // The length is generated first, because generated arrays are short by default.
  Arbitrary.flatMap((length) => Arbitrary.array(step, { minLength: length, maxLength: length })),
  Arbitrary.map(toHistory)
)

/** Sizes of chunks, to cut a history with. */
export const sizes: Arbitrary.Arbitrary<ReadonlyArray<number>> = Arbitrary.array(
  Arbitrary.schema(Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 9 }))),
  { minLength: 1, maxLength: 10 }
)

/** Cuts a sequence into chunks of the given sizes, repeated until the end. */
export const chunked = <A>(
  items: ReadonlyArray<A>,
  sizes: ReadonlyArray<number>
): ReadonlyArray<readonly [A, ...Array<A>]> => {
  const chunks: Array<readonly [A, ...Array<A>]> = []
  for (let from = 0, i = 0; from < items.length; i++) {
    const size = sizes[i % sizes.length] ?? 1
    const [first, ...rest] = items.slice(from, from + size)
    if (first !== undefined) chunks.push([first, ...rest])
    from += size
  }
  return chunks
}

/** A stream whose pulls return exactly these chunks. */
export const fromChunks = <A>(chunks: ReadonlyArray<readonly [A, ...Array<A>]>): Stream.Stream<A> =>
  Stream.fromIterable(chunks).pipe(
    Stream.rechunk(1),
    Stream.flatMap((chunk) => Stream.fromArray(chunk))
  )

/** The task that an event names. */
export const taskOf = (event: MeshEvent): TaskId | undefined => ("taskId" in event ? event.taskId : undefined)

/** Makes an update. */
export const updated = (taskId: TaskId, status: string, version?: number): TaskUpdated => ({
  _tag: "TaskUpdated",
  taskId,
  status,
  ...(version === undefined ? {} : { version })
})

/** Makes a whole output. */
export const said = (taskId: TaskId, content: string, messageType = "assistant"): TaskOutput => ({
  _tag: "TaskOutput",
  taskId,
  messageType,
  content
})

/** Makes a partial output. */
export const piece = (taskId: TaskId, content: string): TaskOutput => ({ ...said(taskId, content), isPartial: true })

/** Makes the result of a run. */
export const result = (taskId: TaskId, costUsd: number, durationMs: number): TaskOutput => ({
  ...said(taskId, "the end", "result"),
  costUsd,
  durationMs
})

/** A mark after which any event may be missing. */
export const gap: MeshEvent = { _tag: "Resync", epoch: 1, reason: { _tag: "JoinedLate" } }

/** A history with a gap of everything at each possible place in turn. */
export const withGapAt = (events: ReadonlyArray<MeshEvent>, index: number): ReadonlyArray<MeshEvent> => [
  ...events.slice(0, index),
  gap,
  ...events.slice(index)
]

/** Asserts that a reducer returns the same for the whole history, its chunks and its single events. */
export const assertFoldsAlike = <S>(
  reducer: {
    readonly fold: (state: S, events: ReadonlyArray<MeshEvent>, at: number) => S
    readonly update: (state: S, event: MeshEvent, at: number) => S
  },
  empty: S,
  events: ReadonlyArray<MeshEvent>,
  sizes: ReadonlyArray<number>
): void => {
  const whole = reducer.fold(empty, events, 1000)
  const split = chunked(events, sizes).reduce((state, chunk) => reducer.fold(state, chunk, 1000), empty)
  const single = events.reduce((state, event) => reducer.update(state, event, 1000), empty)
  assertSame(split, whole)
  assertSame(single, whole)
}
