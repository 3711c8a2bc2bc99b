/** `makima-stream record`: writes a session to disk. */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import * as Interest from "@makima-stream/core/Interest"
import * as MeshClient from "@makima-stream/core/MeshClient"
import type * as TaskId from "@makima-stream/core/TaskId"
import * as Recording from "@makima-stream/test-kit/Recording"
import * as Connection from "../internal/connection.ts"
import * as Feed from "../internal/feed.ts"
import * as Line from "../internal/line.ts"
import * as Output from "../internal/output.ts"
import { Failure, exitCodes } from "../Program.ts"

/** The values of the command line. */
export interface Input extends Connection.Input {
  readonly file: string
  readonly tasks: ReadonlyArray<TaskId.TaskId>
  readonly force: boolean
  /** Milliseconds. */
  readonly duration: Option.Option<number>
  readonly quiet: boolean
}

/** Makes the function that writes lines to a file, or to standard output for `-`. */
const writer = Effect.fnUntraced(function* (path: string, force: boolean, failed: Deferred.Deferred<never, Failure>) {
  const failure = (problem: string) => new Failure({ message: `${path} ${problem}`, exitCode: exitCodes.failed })
  if (path === "-") return (lines: ReadonlyArray<string>) => Output.out(`${lines.join("\n")}\n`)
  const fs = yield* FileSystem.FileSystem
  const file = yield* fs
    .open(path, { flag: force ? "w" : "wx", mode: 0o600 })
    .pipe(
      Effect.mapError((error) =>
        error.reason._tag === "AlreadyExists"
          ? failure("exists already. Use --force to replace it")
          : failure(`cannot be written: ${error.message}`)
      )
    )
  const utf8 = new TextEncoder()
  return (lines: ReadonlyArray<string>) =>
    file.writeAll(utf8.encode(`${lines.join("\n")}\n`)).pipe(
      Effect.catch((error) => Deferred.fail(failed, failure(`cannot be written any more: ${error.message}`))),
      Effect.asVoid
    )
})

/** Runs the command. */
export const run = Effect.fnUntraced(function* (input: Input) {
  const failed = yield* Deferred.make<never, Failure>()
  let frames = 0
  yield* Effect.gen(function* () {
    const write = yield* writer(input.file, input.force, failed)
    const socket = Recording.layerRecord((lines) => {
      frames += lines.filter((line) => line.startsWith('{"_tag":"Received"')).length
      return write(lines)
    }).pipe(Layer.provide(Connection.socket(input)))
    const following = Effect.gen(function* () {
      const client = yield* MeshClient.MeshClient
      const events = input.tasks.length === 0 ? client.everything() : client.events(Interest.task(input.tasks))
      yield* Feed.untilOver(events).pipe(
        Stream.runForEachArray((batch) => {
          const lines = input.quiet ? [] : batch.flatMap((event) => Line.lifecycle(event) ?? [])
          return Output.err(lines.map((line) => `${line}\n`).join(""))
        })
      )
    }).pipe(MeshClient.drainOnInterrupt(), Effect.provide(MeshClient.layer().pipe(Layer.provide(socket))))
    const limited = Option.isSome(input.duration)
      ? Effect.asVoid(Effect.timeoutOption(following, input.duration.value))
      : following
    yield* Effect.raceFirst(limited, Deferred.await(failed))
  }).pipe(
    Effect.scoped,
    Effect.ensuring(Effect.suspend(() => Output.err(input.quiet ? "" : `recorded ${frames} frames\n`)))
  )
})
