/** `makima-stream tail`: follows updates and output. */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import * as Interest from "@makima-stream/core/Interest"
import * as MeshClient from "@makima-stream/core/MeshClient"
import * as MeshEvent from "@makima-stream/core/MeshEvent"
import type * as MeshError from "@makima-stream/core/MeshError"
import * as MeshStream from "@makima-stream/core/MeshStream"
import type * as TaskId from "@makima-stream/core/TaskId"
import * as Connection from "../internal/connection.ts"
import { Environment } from "../internal/environment.ts"
import * as Feed from "../internal/feed.ts"
import * as Line from "../internal/line.ts"
import * as Output from "../internal/output.ts"
import * as Raw from "../internal/raw.ts"
import { Failure, exitCodes } from "../Program.ts"

/** Which events are printed. */
export interface Filter {
  readonly include: ReadonlyArray<RegExp>
  readonly exclude: ReadonlyArray<RegExp>
  readonly status: ReadonlyArray<string>
  readonly type: ReadonlyArray<string>
}

/** How events are printed. */
export interface Format {
  readonly output: "text" | "json" | "raw"
  readonly timestamps: boolean
  readonly timezone: Option.Option<string>
  readonly template: Option.Option<string>
  readonly quiet: boolean
  readonly color: Output.ColorMode
}

/** The values of the command line. */
export interface Input extends Connection.Input, Filter, Format {
  readonly tasks: ReadonlyArray<TaskId.TaskId>
  readonly count: Option.Option<number>
  readonly follow: boolean
}

const usage = (message: string) => new Failure({ message, exitCode: exitCodes.usage })

/** Returns whether an event is data that the filter keeps. */
export const wants = (filter: Filter): ((event: MeshEvent.MeshEvent) => boolean) => {
  const { exclude, include } = filter
  const statuses = new Set(filter.status)
  const types = new Set(filter.type)
  const byKind = (event: MeshEvent.MeshEvent): boolean => {
    if (statuses.size === 0 && types.size === 0) return true
    switch (event._tag) {
      case "TaskUpdated":
      case "Restated":
        return event.status !== undefined && statuses.has(event.status)
      case "TaskOutput":
        return types.has(event.messageType)
      default:
        return false
    }
  }
  if (include.length === 0 && exclude.length === 0) return (event) => !MeshEvent.isLifecycle(event) && byKind(event)
  return (event) => {
    if (MeshEvent.isLifecycle(event) || !byKind(event)) return false
    const text = Line.searchable(event)
    return (
      (include.length === 0 || include.some((pattern) => pattern.test(text))) &&
      !exclude.some((pattern) => pattern.test(text))
    )
  }
}

/** What a batch of events looks like: data for standard output, lifecycle for standard error. */
export type Render = (
  batch: ReadonlyArray<MeshEvent.MeshEvent>,
  at: number,
  /** Members that are added to each object of JSON. */
  more?: object
) => { readonly out: string; readonly err: string; readonly data: number }

const clockOf = (timezone: Option.Option<string>): Effect.Effect<(at: number) => string, Failure> =>
  Effect.try({
    try: () => Line.clock(Option.getOrUndefined(timezone)),
    catch: () => usage(`--timezone: "${Option.getOrElse(timezone, () => "")}" is not a time zone such as Asia/Tokyo`)
  })

/** Makes the function that prints events. `limit` is how many data elements it prints at most. */
export const renderer = Effect.fnUntraced(function* (
  format: Format,
  filter: Filter,
  limit = Infinity
): Effect.fn.Return<Render, Failure> {
  const time = yield* clockOf(format.timezone)
  const wanted = wants(filter)
  const color = Output.useColor(format.color, yield* Environment, process.stdout.isTTY)
  const style: Line.Style = { color, time: format.timestamps ? time : undefined }
  let left = limit
  const line = yield* Effect.gen(function* () {
    if (Option.isSome(format.template)) {
      const text = format.template.value
      const render = yield* Effect.try({
        try: () => Line.template(text),
        catch: (error) => usage(`--template: ${error instanceof Error ? error.message : String(error)}`)
      })
      return (event: MeshEvent.MeshEvent, at: number) => `${render(event, time(at))}\n`
    }
    if (format.output === "json") {
      return format.timestamps
        ? (event: MeshEvent.MeshEvent, at: number, more?: object) => Line.json(event, { ...more, arrivedAt: time(at) })
        : (event: MeshEvent.MeshEvent, _: number, more?: object) => Line.json(event, more)
    }
    return (event: MeshEvent.MeshEvent, at: number) => Line.text(event, at, style)
  })
  const isJson = format.output === "json" && Option.isNone(format.template)
  return (batch, at, more) => {
    let out = ""
    let err = ""
    let data = 0
    for (const event of batch) {
      if (left === 0) break
      if (MeshEvent.isLifecycle(event)) {
        if (isJson) out += line(event, at, more)
        else if (!format.quiet) {
          const text = Line.lifecycle(event)
          if (text !== undefined) err += `${format.timestamps ? `${time(at)} ` : ""}${text}\n`
        }
      } else if (wanted(event)) {
        out += line(event, at, more)
        data++
        left--
      }
    }
    return { out, err, data }
  }
})

/** Joins the pieces of messages for text. JSON has every piece. */
const pieces =
  (output: Format["output"]) =>
  <E, R>(events: Stream.Stream<MeshEvent.MeshEvent, E, R>): Stream.Stream<MeshEvent.MeshEvent, E, R> =>
    output === "json" ? events : MeshStream.joinPartials(events)

/** Prints a stream of events until it ends, or until `limit` data elements were printed. */
export const print = <E, R>(
  events: Stream.Stream<MeshEvent.MeshEvent, E, R>,
  render: Render,
  limit: number
): Effect.Effect<void, E, R> => {
  let printed = 0
  return events.pipe(
    Stream.chunks,
    Stream.mapEffect((batch) =>
      Effect.flatMap(Clock.currentTimeMillis, (at) => {
        const { data, err, out } = render(batch, at)
        printed += data
        const write = Output.out(out)
        return err === "" ? write : Effect.andThen(Output.err(err), write)
      })
    ),
    Stream.takeUntil(() => printed >= limit),
    Stream.runDrain
  )
}

const follow = (
  input: Input
): Effect.Effect<Stream.Stream<MeshEvent.MeshEvent, MeshError.MeshError>, never, MeshClient.MeshClient> =>
  Effect.map(MeshClient.MeshClient, (client) => {
    if (input.tasks.length === 0) {
      // Only updates are wanted, so no output is requested.
      return client.everything({ output: input.status.length > 0 && input.type.length === 0 ? "none" : "discovered" })
    }
    const events = client.events(Interest.task(input.tasks))
    return input.follow ? events : MeshStream.untilTerminal(events, input.tasks)
  })

/** Runs the command. */
export const run = Effect.fnUntraced(function* (input: Input) {
  const limit = Option.getOrElse(input.count, () => Infinity)
  if (!input.follow && input.tasks.length === 0) {
    return yield* usage("--no-follow ends when the named tasks have ended: name at least one task")
  }
  if (input.output === "raw") return yield* Raw.run(input)
  const render = yield* renderer(input, input, limit)
  yield* Effect.flatMap(follow(input), (events) =>
    print(Feed.untilOver(pieces(input.output)(events)), render, limit)
  ).pipe(MeshClient.drainOnInterrupt(), Effect.provide(Connection.client(input)))
})
