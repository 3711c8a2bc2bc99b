/**
 * The events that the laws of logs append, and their reads and checks.
 */
import * as Effect from "effect/Effect"
import * as Equal from "effect/Equal"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Stream from "effect/Stream"
import type { MeshEvent } from "@makima-stream/core/MeshEvent"
import * as TaskId from "@makima-stream/core/TaskId"
import type { LogError } from "@makima-stream/log/LogError"
import * as MeshLog from "@makima-stream/log/MeshLog"
import { Harness, LawBroken, type Log } from "./harness.ts"
import { turns } from "../turns.ts"

/** Lets other fibers run. */
export const settle = turns(50)

export const expect = (holds: boolean, seen: () => string): Effect.Effect<void, LawBroken> =>
  holds ? Effect.void : Effect.fail(new LawBroken({ seen: seen() }))

export const tasks = ["a", "b", "c", "d"].map((id) => TaskId.make(id))
export const taskOf = (n: number): TaskId.TaskId => tasks[n % tasks.length] ?? TaskId.make("a")

/** An output whose content is its number, of one of four tasks. */
export const output = (n: number): MeshLog.NewEvent => ({
  id: `${n}`,
  event: { _tag: "TaskOutput", taskId: taskOf(n), messageType: "assistant", content: `${n}` }
})
export const outputs = (from: number, to: number): Array<MeshLog.NewEvent> =>
  Array.from({ length: to - from }, (_, i) => output(from + i))

export const update = (id: string, version: number, status: string): MeshLog.NewEvent => ({
  id: `u:${id}:${version}`,
  event: { _tag: "TaskUpdated", taskId: TaskId.make(id), version, status }
})

/** A short text for an event: the content of an output, the task and version of an update, or the tag. */
export const label = (event: MeshEvent): string =>
  event._tag === "TaskOutput"
    ? event.content
    : event._tag === "TaskUpdated"
      ? `${event.taskId}${event.version ?? ""}`
      : event._tag === "Resync"
        ? event.reason._tag
        : event._tag
export const labels = (entries: Iterable<MeshLog.Entry>): Array<string> =>
  Array.from(entries, ({ event }) => label(event))
export const range = (from: number, to: number): Array<string> => outputs(from, to).map(({ id }) => id)

export const expectLabels = (entries: Iterable<MeshLog.Entry>, wanted: ReadonlyArray<string>, where: string) =>
  Effect.suspend(() => {
    const seen = labels(entries)
    if (Equal.equals(seen, wanted)) return Effect.void
    const at = seen.findIndex((found, i) => found !== wanted[i])
    const index = at === -1 ? Math.min(seen.length, wanted.length) : at
    return Effect.fail(
      new LawBroken({
        seen: `${where}: ${seen.length} entries instead of ${wanted.length}; number ${index} is ${seen[index]} instead of ${wanted[index]}`
      })
    )
  })

export const readAll = (log: Log, options?: MeshLog.ReadOptions) => Stream.runCollect(log.read(options))

/** Runs an effect, and lets time pass until it ends. */
export const passing = Effect.fnUntraced(function* <A, E, R>(effect: Effect.Effect<A, E, R>) {
  const { advance } = yield* Harness
  const fiber = yield* Effect.forkChild(effect)
  while (fiber.pollUnsafe() === undefined) yield* advance("20 millis")
  return yield* Fiber.join(fiber)
})

export const opened = Effect.flatMap(Harness, ({ open }) => open())

export const expectGrowing = (entries: ReadonlyArray<MeshLog.Entry>) =>
  Effect.gen(function* () {
    for (let i = 1; i < entries.length; i++) {
      const [before, after] = [entries[i - 1], entries[i]]
      if (before === undefined || after === undefined) continue
      yield* expect(
        after.position > before.position,
        () => `position ${after.position} follows position ${before.position}`
      )
      yield* expect(after.at >= before.at, () => `the time ${after.at} follows ${before.at}`)
    }
  })

/** Takes entries of a consumer, acknowledges each batch, and stops after a number of entries. */
export const work = Effect.fnUntraced(function* (consumer: MeshLog.Consumer, count: number) {
  const taken: Array<MeshLog.Entry> = []
  yield* consumer.entries.pipe(
    Stream.take(count),
    Stream.runForEach((entry) =>
      Effect.suspend(() => {
        taken.push(entry)
        return consumer.acknowledge(entry)
      })
    )
  )
  return taken
})

export const isFailure = (exit: Exit.Exit<unknown, LogError>, tag: LogError["reason"]["_tag"]): boolean =>
  Exit.isFailure(exit) &&
  exit.cause.reasons.some((reason) => reason._tag === "Fail" && reason.error.reason._tag === tag)

export const expectFenced = (append: Effect.Effect<number, LogError>, where: string) =>
  Effect.flatMap(Effect.exit(append), (exit) =>
    expect(
      isFailure(exit, "Fenced"),
      () => `an append ${where} ${Exit.isFailure(exit) ? "failed in another way" : "succeeded"}`
    )
  )

/** Expects that the entries after a position were removed, and that a reader first receives a mark, then the rest. */
export const expectTruncated = Effect.fnUntraced(function* (log: Log, position: number) {
  const { first, last } = yield* log.bounds
  yield* expect(first > position + 1, () => `nothing after position ${position} was removed`)
  for (const from of [MeshLog.after(position), ...(position === 0 ? [MeshLog.beginning, MeshLog.time(0)] : [])]) {
    const [head, ...rest] = yield* readAll(log, { from })
    const event = head?.event
    yield* expect(
      event?._tag === "Resync" &&
        event.reason._tag === "LogTruncated" &&
        event.reason.from === position + 1 &&
        event.reason.to === first - 1 &&
        head?.position === first - 1,
      () => `first came ${JSON.stringify(head)} instead of LogTruncated from ${position + 1} to ${first - 1}`
    )
    yield* expect(
      rest[0]?.position === first && rest.at(-1)?.position === last,
      () => `after the mark came ${rest[0]?.position} to ${rest.at(-1)?.position} instead of ${first} to ${last}`
    )
    yield* expect(
      rest.every(({ event }) => event._tag !== "Resync"),
      () => "a second mark came"
    )
  }
  yield* expect(
    (yield* readAll(log, { from: MeshLog.after(first - 1) }))[0]?.position === first,
    () => "a reader after the removed entries received a mark"
  )
  const marked = yield* readAll(log, { filter: { kind: "updates", keep: "resync" } })
  yield* expect(marked.length === 1, () => "a filter that keeps marks dropped LogTruncated")
})
