/**
 * The environment of a law of logs. Public through `LogLaws`.
 */
import * as Context from "effect/Context"
import * as Data from "effect/Data"
import type * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { LogError } from "@makima-stream/log/LogError"
import type * as MeshLog from "@makima-stream/log/MeshLog"

/** An open log. */
export type Log = MeshLog.Service

/**
 * The environment of a law: one log, and time.
 *
 * **Example** (Opening the log of a harness)
 *
 * ```ts
 * import * as Effect from "effect/Effect"
 * import * as LogLaws from "@makima-stream/test-kit/LogLaws"
 *
 * const bounds = Effect.flatMap(LogLaws.Harness, ({ open }) => Effect.flatMap(open(), (log) => log.bounds))
 * const program = bounds.pipe(Effect.provide(LogLaws.layerMemory), Effect.scoped)
 * console.log(await Effect.runPromise(program)) // { first: 1, last: 0 }
 * ```
 *
 * @category services
 * @since 0.2.0
 */
export class Harness extends Context.Service<
  Harness,
  {
    /** Opens the log of this harness, like another process each time. It is empty at first. */
    readonly open: (options?: {
      /** How much the log keeps. Defaults to everything. */
      readonly retention?: MeshLog.Retention
    }) => Effect.Effect<Log, LogError, Scope.Scope>
    /** Lets time pass: virtual time with the `TestClock`, real time otherwise. */
    readonly advance: (duration: Duration.Input) => Effect.Effect<void>
    /**
     * The names of the steps of an append, and a function that opens the log so that the
     * process is killed at a step of the next append. Absent if the engine cannot do that.
     */
    readonly crash?: {
      readonly steps: ReadonlyArray<string>
      readonly open: (step: string) => Effect.Effect<Log, LogError, Scope.Scope>
    }
    /**
     * Damages the stored form of the entry at a position, while the log is closed. Absent
     * if the engine cannot do that.
     */
    readonly damage?: (position: number) => Effect.Effect<void>
  }
>()("@makima-stream/test-kit/LogLaws/Harness") {}

/**
 * A law that an engine broke.
 *
 * @category errors
 * @since 0.2.0
 */
export class LawBroken extends Data.TaggedError("LawBroken")<{
  /** What was seen, and what the law expects. */
  readonly seen: string
}> {
  /** The same as `seen`. */
  override get message(): string {
    return this.seen
  }
}

/**
 * A law: its promise, worded for a table, and its check.
 *
 * @category models
 * @since 0.2.0
 */
export interface Law {
  /** The promise. */
  readonly promise: string
  /** Fails if the promise is broken. */
  readonly check: Effect.Effect<void, LawBroken | LogError, Harness | Scope.Scope>
}
