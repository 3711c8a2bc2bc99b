/** `makima-stream log`: reads a log. */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import type * as TaskId from "@makima-stream/core/TaskId"
import * as MeshLog from "@makima-stream/log/MeshLog"
import * as Output from "../internal/output.ts"
import * as Store from "../internal/store.ts"
import { Failure, exitCodes } from "../Program.ts"
import * as Tail from "./tail.ts"

/** The values of the command line. */
export interface Input extends Tail.Filter, Omit<Tail.Format, "output"> {
  readonly output: "text" | "json"
  readonly log: string
  readonly task: ReadonlyArray<TaskId.TaskId>
  readonly from: Option.Option<string>
  /** Milliseconds. */
  readonly since: Option.Option<number>
  readonly lastPerTask: boolean
  readonly follow: boolean
  readonly count: Option.Option<number>
}

const usage = (message: string) => new Failure({ message, exitCode: exitCodes.usage })

/** The start that the flags name. Only one of them may be given. */
export const startOf = (
  input: Pick<Input, "from" | "since" | "lastPerTask">,
  now: number
): MeshLog.From | undefined => {
  const given = [Option.isSome(input.from), Option.isSome(input.since), input.lastPerTask].filter(Boolean).length
  if (given > 1) return undefined
  if (input.lastPerTask) return MeshLog.lastPerTask
  if (Option.isSome(input.since)) return MeshLog.time(now - input.since.value)
  const from = Option.getOrElse(input.from, () => "beginning")
  if (from === "beginning") return MeshLog.beginning
  if (from === "new") return MeshLog.newest
  if (/^\d{1,15}$/.test(from)) return MeshLog.after(Math.max(0, Number(from) - 1))
  const time = Date.parse(from)
  return Number.isNaN(time) ? undefined : MeshLog.time(time)
}

/** Runs the command. */
export const run = Effect.fnUntraced(function* (input: Input) {
  const from = startOf(input, yield* Clock.currentTimeMillis)
  if (from === undefined) {
    return yield* usage(
      "Use only one of --from, --since and --last-per-task. --from takes beginning, new, a position, or a time such as 2026-01-31T12:00:00Z"
    )
  }
  const limit = Option.getOrElse(input.count, () => Infinity)
  const layer = yield* Store.layer(input.log, "read")
  const render = yield* Tail.renderer(input, input, limit)
  let printed = 0
  yield* Effect.gen(function* () {
    const log = yield* MeshLog.MeshLog
    const filter = input.task.length === 0 ? {} : { filter: { tasks: input.task, keep: "lifecycle" as const } }
    yield* log.read({ from, follow: input.follow, ...filter }).pipe(
      Stream.chunks,
      Stream.mapEffect((entries) => {
        let out = ""
        let err = ""
        for (const { at, event, position } of entries) {
          const text = render([event], at, { position, storedAt: at })
          out += text.out
          err += text.err
          printed += text.data
          if (printed >= limit) break
        }
        return Effect.andThen(Output.err(err), Output.out(out))
      }),
      Stream.takeUntil(() => printed >= limit),
      Stream.runDrain
    )
  }).pipe(Effect.provide(layer))
})
