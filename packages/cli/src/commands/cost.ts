/** `makima-stream cost`: what the tasks cost, by task and in total. */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type * as FileSystem from "effect/FileSystem"
import * as HashMap from "effect/HashMap"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import * as CostLedger from "@makima-stream/core/CostLedger"
import * as Interest from "@makima-stream/core/Interest"
import * as MeshClient from "@makima-stream/core/MeshClient"
import * as MeshEvent from "@makima-stream/core/MeshEvent"
import * as MeshStream from "@makima-stream/core/MeshStream"
import type * as TaskId from "@makima-stream/core/TaskId"
import type { LogError } from "@makima-stream/log/LogError"
import * as Connection from "../internal/connection.ts"
import * as Feed from "../internal/feed.ts"
import * as Line from "../internal/line.ts"
import * as Output from "../internal/output.ts"
import * as Store from "../internal/store.ts"
import * as Text from "../internal/text.ts"
import { Failure, exitCodes } from "../Program.ts"

/** The values of the command line. */
export interface Input extends Connection.Input {
  readonly tasks: ReadonlyArray<TaskId.TaskId>
  readonly budget: Option.Option<number>
  /** Milliseconds. */
  readonly duration: Option.Option<number>
  readonly log: Option.Option<string>
  /** Milliseconds. */
  readonly since: Option.Option<number>
  readonly follow: boolean
  readonly output: "text" | "json"
  readonly quiet: boolean
}

/** An amount as JSON: without the noise of binary fractions. */
const rounded = (usd: number): number => Number(usd.toFixed(6))

const isLowerBound = (ledger: CostLedger.CostLedger): boolean => ledger.updateGaps + ledger.outputGaps > 0

/** The costs by task, the highest first. */
export const rows = (ledger: CostLedger.CostLedger): ReadonlyArray<CostLedger.TaskCost> =>
  [...HashMap.values(ledger.tasks)]
    .filter(({ costUsd, durationMs }) => costUsd !== 0 || durationMs !== 0)
    .toSorted((a, b) => b.costUsd - a.costUsd || (a.taskId < b.taskId ? -1 : 1))

/** The table at the end. */
export const table = (ledger: CostLedger.CostLedger): string => {
  const costs = rows(ledger)
  const lines = costs.map(({ costUsd, durationMs, runs, status, taskId }) =>
    `${Text.oneLine(taskId)}  ${Text.usd(costUsd).padStart(12)}  ${(durationMs / 1000).toFixed(1).padStart(8)} s  ${
      runs === 1 ? "1 run" : `${runs} runs`
    }  ${Text.oneLine(status ?? "")}`.trimEnd()
  )
  const rolled = ledger.rolledTasks === 0 ? [] : [`${ledger.rolledTasks} earlier tasks  ${Text.usd(ledger.rolledUsd)}`]
  const bound = isLowerBound(ledger) ? "at least " : ""
  const count = costs.length + ledger.rolledTasks
  return [
    ...lines,
    ...rolled,
    `total ${bound}${Text.usd(ledger.totalUsd)} of ${count === 1 ? "1 task" : `${count} tasks`}`
  ]
    .map((line) => `${line}\n`)
    .join("")
}

/** The costs and the total as a line of JSON. */
const summary = (ledger: CostLedger.CostLedger): string =>
  `${JSON.stringify({
    kind: "total",
    totalUsd: rounded(ledger.totalUsd),
    isLowerBound: isLowerBound(ledger),
    tasks: rows(ledger).map(({ costUsd, durationMs, runs, status, taskId }) => ({
      taskId,
      costUsd: rounded(costUsd),
      durationMs,
      runs,
      ...(status === undefined ? {} : { status })
    }))
  })}\n`

const resultLine = (event: MeshEvent.MeshEvent, ledger: CostLedger.CostLedger, output: Input["output"]): string => {
  if (event._tag !== "TaskOutput" || event.costUsd === undefined) return ""
  return output === "json"
    ? `${JSON.stringify({
        kind: "result",
        taskId: event.taskId,
        costUsd: event.costUsd,
        totalUsd: rounded(ledger.totalUsd),
        isLowerBound: isLowerBound(ledger)
      })}\n`
    : `${Text.shortId(event.taskId)}  ${Text.usd(event.costUsd)}  total ${isLowerBound(ledger) ? "at least " : ""}${Text.usd(ledger.totalUsd)}\n`
}

/** Runs the command. */
export const run = Effect.fnUntraced(function* (input: Input) {
  const budget = Option.getOrElse(input.budget, () => Infinity)
  let ledger = CostLedger.make()
  if (Option.isNone(input.log) && (Option.isSome(input.since) || !input.follow)) {
    return yield* new Failure({
      message: "The feed has no history: --since and --no-follow need --log",
      exitCode: exitCodes.usage
    })
  }
  const consume = <E, R>(events: Stream.Stream<MeshEvent.MeshEvent, E, R>) =>
    events.pipe(
      Stream.chunks,
      Stream.mapEffect((batch) =>
        Effect.flatMap(Clock.currentTimeMillis, (at) => {
          let out = ""
          let err = ""
          for (const event of batch) {
            ledger = CostLedger.update(ledger, event, at)
            out += resultLine(event, ledger, input.output)
            const line = input.quiet ? undefined : Line.lifecycle(event)
            if (line !== undefined) err += `${line}\n`
          }
          return Effect.andThen(Output.err(err), Output.out(out))
        })
      ),
      Stream.takeUntil(() => ledger.totalUsd > budget),
      Stream.runDrain
    )
  const live = Effect.gen(function* () {
    const client = yield* MeshClient.MeshClient
    const events =
      input.tasks.length === 0
        ? client.everything()
        : MeshStream.untilTerminal(client.events(Interest.task(input.tasks)), input.tasks)
    yield* consume(Feed.untilOver(events))
  }).pipe(MeshClient.drainOnInterrupt(), Effect.provide(Connection.client(input)))
  const kept = Effect.fnUntraced(function* (location: string) {
    const { MeshLog } = yield* Effect.promise(() => import("@makima-stream/log/MeshLog"))
    const layer = yield* Store.layer(location, "read")
    yield* Effect.gen(function* () {
      const events = yield* Store.eventsSince(yield* MeshLog, input.since, input.follow)
      yield* consume(
        input.tasks.length === 0 ? events : MeshStream.filterTask(events, input.tasks, { keep: "lifecycle" })
      )
    }).pipe(Effect.provide(layer))
  })
  const following: Effect.Effect<void, Effect.Error<typeof live> | LogError, FileSystem.FileSystem> = Option.isSome(
    input.log
  )
    ? kept(input.log.value)
    : live
  const limited = Option.isSome(input.duration) ? Effect.timeoutOption(following, input.duration.value) : following
  const print = Effect.suspend(() => Output.out(input.output === "json" ? summary(ledger) : table(ledger)))
  yield* limited.pipe(Effect.onInterrupt(() => print))
  yield* print
  if (ledger.totalUsd > budget) {
    return yield* new Failure({
      message: `The budget of ${Text.usd(budget)} is spent: ${Text.usd(ledger.totalUsd)}`,
      exitCode: exitCodes.failed
    })
  }
})
