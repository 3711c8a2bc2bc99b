/** The log that the command line names: an SQLite file, or a NATS server. */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import * as Flag from "effect/cli/Flag"
import type * as Layer from "effect/Layer"
import type { MeshEvent } from "@makima-stream/core/MeshEvent"
import type * as Repair from "@makima-stream/core/Repair"
import type * as TaskId from "@makima-stream/core/TaskId"
import type { LogError } from "@makima-stream/log/LogError"
import type { MeshLog, Service } from "@makima-stream/log/MeshLog"
import { existsSync } from "node:fs"
import { Failure, exitCodes } from "../Program.ts"

/** The flag that names a log. */
export const flag = Flag.String("log").pipe(
  Flag.withMetavar("<file|nats://host>"),
  Flag.withDescription("The log: an SQLite file, or the URL of a NATS server")
)

const isNats = (location: string): boolean => /^(nats|tls|wss?):\/\//.test(location)

/** Opens the log at a location. Makes it if it does not exist and `mode` is `"write"`. */
export const layer = (
  location: string,
  mode: "read" | "write"
): Effect.Effect<Layer.Layer<MeshLog, LogError>, Failure> =>
  Effect.gen(function* () {
    if (isNats(location)) {
      const JetStreamLog = yield* Effect.promise(() => import("@makima-stream/nats/JetStreamLog"))
      return JetStreamLog.layer({ servers: location })
    }
    if (/^[a-z]+:\/\//.test(location)) {
      return yield* new Failure({
        message: "--log must be a file, or a URL that begins with nats://",
        exitCode: exitCodes.usage
      })
    }
    if (mode === "read" && !existsSync(location)) {
      return yield* new Failure({
        message: `There is no log at ${location}. makima-stream relay --log ${location} makes one`,
        exitCode: exitCodes.usage
      })
    }
    const SqliteLog = yield* Effect.promise(() => import("@makima-stream/log/SqliteLog"))
    return SqliteLog.layer({ filename: location })
  })

/** The events of a log, from some time ago on. */
export const eventsSince = Effect.fnUntraced(function* (
  log: Service,
  since: Option.Option<number>,
  follow: boolean
): Effect.fn.Return<Stream.Stream<MeshEvent, LogError>> {
  const now = yield* Clock.currentTimeMillis
  return Stream.map(
    log.read({
      from: Option.isSome(since) ? { _tag: "Time", at: now - since.value } : { _tag: "Beginning" },
      follow
    }),
    ({ event }) => event
  )
})

/** Returns the newest state of a task in a log. */
export const snapshotOf = (
  log: Service,
  task: TaskId.TaskId
): Effect.Effect<ReadonlyArray<Repair.TaskSnapshot>, LogError> =>
  log.read({ from: { _tag: "LastPerTask" }, filter: { tasks: task, kind: "updates" } }).pipe(
    Stream.runCollect,
    Effect.map((entries) =>
      entries.flatMap(({ event }) =>
        event._tag === "TaskUpdated" || event._tag === "Restated"
          ? [{ taskId: event.taskId, version: event.version, status: event.status }]
          : []
      )
    )
  )
