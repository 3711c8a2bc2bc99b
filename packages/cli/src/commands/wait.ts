/**
 * `makima-stream wait`: waits for a task to end. The exit code tells how it ended.
 *
 * The server sends changes, not the present state. An end that falls into a gap,
 * or before the start, is known only from a snapshot. Without one, the verdict is
 * unknown if the time is up while a gap is open. An update of the task that shows
 * it alive closes the gap.
 */
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import * as MeshClient from "@makima-stream/core/MeshClient"
import * as MeshEvent from "@makima-stream/core/MeshEvent"
import * as MeshStream from "@makima-stream/core/MeshStream"
import * as Repair from "@makima-stream/core/Repair"
import type * as TaskId from "@makima-stream/core/TaskId"
import * as TaskStatus from "@makima-stream/core/TaskStatus"
import * as Connection from "../internal/connection.ts"
import * as Feed from "../internal/feed.ts"
import * as Line from "../internal/line.ts"
import * as Output from "../internal/output.ts"
import * as Snapshot from "../internal/snapshot.ts"
import * as Store from "../internal/store.ts"
import * as Text from "../internal/text.ts"
import { Failure, exitCodes } from "../Program.ts"

/** The values of the command line. */
export interface Input extends Connection.Input {
  readonly task: TaskId.TaskId
  /** Milliseconds. */
  readonly timeout: Option.Option<number>
  readonly snapshotUrl: Option.Option<string>
  readonly log: Option.Option<string>
  readonly output: "text" | "json"
  readonly quiet: boolean
}

/** What is known while waiting. */
export interface State {
  /** The newest status. */
  readonly status: string | undefined
  /** The highest version. */
  readonly version: number | undefined
  /** Whether the end of the task may have been missed. */
  readonly gap: boolean
  /** Why: the newest mark of a gap, in words. */
  readonly why: string
  /** Whether no snapshot could be fetched for the gap. */
  readonly unrepaired: boolean
}

/** What is known at the start. Without a snapshot, an end before the start is not seen. That is not a gap. */
export const initial: State = { status: undefined, version: undefined, gap: false, why: "", unrepaired: false }

/** What is known after an event. An older version changes nothing. */
export const step = (self: State, event: MeshEvent.MeshEvent): State => {
  switch (event._tag) {
    case "TaskUpdated":
    case "Restated": {
      if (event.version !== undefined && self.version !== undefined && event.version < self.version) return self
      return {
        status: event.status ?? self.status,
        version: event.version ?? self.version,
        gap: false,
        why: "",
        unrepaired: false
      }
    }
    case "Disconnected":
      return event.opened || self.gap ? { ...self, gap: true, why: Line.lifecycle(event) ?? "" } : self
    case "Resync":
      return event.reason._tag === "BadFrame" || event.reason._tag === "Overflow"
        ? { ...self, gap: true, why: Line.lifecycle(event) ?? "" }
        : self
    case "Repaired":
      // An absent task is not known to the snapshot, so the gap stays open.
      return event.open === 0 && event.absent === 0 ? { ...self, gap: false, unrepaired: false } : self
    case "RepairFailed":
      return { ...self, unrepaired: true, why: Line.lifecycle(event) ?? "" }
    default:
      return self
  }
}

/** The verdict: `undefined` while the task is not known to have ended. */
export const verdict = ({ status }: State): "success" | "failure" | undefined =>
  status === undefined || !TaskStatus.isTerminal(status)
    ? undefined
    : TaskStatus.isFailed(status)
      ? "failure"
      : "success"

const result = (input: Input, state: State, verdict: string): Effect.Effect<void> => {
  if (input.output === "json") {
    const status = state.status === undefined ? {} : { status: state.status }
    return Output.out(`${JSON.stringify({ taskId: input.task, verdict, ...status })}\n`)
  }
  return verdict === "success" ? Output.out(`Task ${input.task} is ${Text.oneLine(state.status ?? "")}\n`) : Effect.void
}

/** A snapshot from a log: the newest update of the task that it holds. */
const fromLog = Effect.fnUntraced(function* (location: string, task: TaskId.TaskId) {
  const { MeshLog } = yield* Effect.promise(() => import("@makima-stream/log/MeshLog"))
  const context = yield* Layer.build(yield* Store.layer(location, "read"))
  return () => Store.snapshotOf(Context.get(context, MeshLog), task)
})

/** Runs the command. */
export const run = Effect.fnUntraced(function* (input: Input) {
  const { log, snapshotUrl, task, timeout } = input
  if (Option.isSome(log) && Option.isSome(snapshotUrl)) {
    return yield* new Failure({
      message: "Only one of --snapshot-url and --log can be used",
      exitCode: exitCodes.usage
    })
  }
  if (Option.isNone(timeout) && Option.isNone(snapshotUrl) && Option.isNone(log)) {
    return yield* new Failure({
      message:
        "wait does not see a task that ended before it started: use --timeout, or --snapshot-url or --log, which know the present state",
      exitCode: exitCodes.usage
    })
  }
  const fetch = Option.isSome(snapshotUrl)
    ? yield* Snapshot.make(snapshotUrl.value, input, task)
    : Option.isSome(log)
      ? yield* fromLog(log.value, task)
      : undefined
  let state = initial
  const end = (message: string, exitCode: number, verdict: string) =>
    Effect.andThen(result(input, state, verdict), Effect.fail(new Failure({ message, exitCode })))
  const unknown = (what: string) =>
    end(`${what}, and its end may have been missed (${state.why})`, exitCodes.unknown, "unknown")

  const following = Effect.gen(function* () {
    const client = yield* MeshClient.MeshClient
    const updates: Stream.Stream<MeshEvent.MeshEvent, Effect.Error<typeof client.awaitOnline>> = client
      .updates(task)
      .pipe(MeshStream.markGaps)
    const events = fetch === undefined ? updates : Repair.repair(updates, { fetch, spread: 0 })
    yield* Feed.untilOver(events).pipe(
      Stream.tap((event) => {
        state = step(state, event)
        const line = input.quiet ? undefined : Line.lifecycle(event)
        return Output.err(line === undefined ? "" : `${line}\n`)
      }),
      Stream.takeUntil(() => verdict(state) !== undefined || (state.gap && state.unrepaired && Option.isNone(timeout))),
      Stream.runDrain
    )
  }).pipe(Effect.provide(Connection.client(input)))

  const late = yield* Option.isSome(timeout)
    ? Effect.timeoutOption(following, Duration.millis(timeout.value))
    : Effect.asSome(following)
  const found = verdict(state)
  if (found === "success") return yield* result(input, state, found)
  if (found === "failure") {
    return yield* end(`Task ${task} is ${Text.oneLine(state.status ?? "")}`, exitCodes.failed, found)
  }
  if (Option.isSome(late)) {
    return yield* state.gap
      ? unknown(`Task ${task} is not known to have ended`)
      : end(`The recording is over, and task ${task} has not ended in it`, exitCodes.unknown, "unknown")
  }
  const time = Duration.format(Duration.millis(Option.getOrElse(timeout, () => 0)))
  return yield* state.gap
    ? unknown(`Task ${task} was not seen to end within ${time}`)
    : end(`Task ${task} did not end within ${time}`, exitCodes.timeout, "timeout")
}, Effect.scoped)
