/**
 * What the operators' options and types have in common.
 *
 * An operator whose arguments are all optional can be used bare in a pipe,
 * called with options, or called data-first. A set of overloads cannot do the
 * first (TypeScript infers from the last overload alone and loses `E` and `R`),
 * so such an operator is one signature with a conditional result, as
 * `Effect.forkChild` is.
 */
import * as Predicate from "effect/Predicate"
import * as Stream from "effect/Stream"
import { isLifecycle, isResync, type Lifecycle, type MeshEvent, type Resync } from "../MeshEvent.ts"

/**
 * Any stream of events.
 *
 * @category models
 * @since 0.1.0
 */
export type Events = Stream.Stream<MeshEvent, unknown, unknown>

/** Whether a `dual` function was called with the stream as its first argument. */
export const isDataFirst = (args: IArguments): boolean => Stream.isStream(args[0])

/**
 * The option of every filter for the lifecycle elements.
 *
 * @category options
 * @since 0.1.0
 */
export interface KeepOptions {
  /**
   * Which lifecycle elements stay in the stream, at their places: `"resync"` keeps
   * `Resync`; `"lifecycle"` keeps `Connected`, `Disconnected` and `Resync`. The
   * element type shows what is kept. By default all are dropped.
   */
  readonly keep?: "resync" | "lifecycle" | undefined
}

/**
 * The lifecycle elements that the options `O` keep; `never` without `keep`. A
 * value that is known at run time only counts as all that it may be.
 *
 * @category models
 * @since 0.1.0
 */
export type Kept<O> = "keep" extends keyof O
  ? "lifecycle" extends O["keep"]
    ? Lifecycle
    : "resync" extends O["keep"]
      ? Resync
      : never
  : never

/** The predicate of the lifecycle elements that the options keep; `undefined` if they keep none. */
export const keptBy = (options: KeepOptions | undefined): ((event: MeshEvent) => event is Lifecycle) | undefined => {
  const keep = options?.keep
  switch (keep) {
    case undefined:
      return undefined
    case "resync":
      return isResync
    case "lifecycle":
      return isLifecycle
    default:
      keep satisfies never
      throw new TypeError('The option "keep" must be "resync" or "lifecycle"')
  }
}

/**
 * The option of the operators that compare the versions of updates.
 *
 * **Details**
 *
 * Of two updates of a task the one with the higher `version` is newer, whatever the
 * order of arrival; an update without a `version` counts as newer. A server that
 * was restored from a backup counts from a lower version again. Its updates look
 * like late ones at first. They are accepted only after a `Resync` of a new
 * connection (`Reconnected`, `JoinedLate` or `Started`), once `restartAfter`
 * consecutive updates of a task are below its highest version and grow among
 * themselves.
 *
 * @category options
 * @since 0.2.0
 */
export interface RestartOptions {
  /**
   * How many updates of a task with lower versions, each higher than the one before,
   * show after a reconnect that the server counts anew. At least 1; `Infinity` means
   * never. Default: 3.
   */
  readonly restartAfter?: number | undefined
}

/**
 * Which values are meant: one, any of several, or those that a predicate takes.
 * A collection is read when the operator is put on a stream, and not again when
 * that stream runs; a predicate is asked for every element.
 *
 * @category options
 * @since 0.1.0
 */
export type Selector<T extends string> = T | Iterable<T> | ((value: T) => boolean)

/** A selector as a predicate. */
export const toPredicate = <T extends string>(selector: Selector<T>): ((value: T) => boolean) => {
  if (Predicate.isFunction(selector)) return selector
  if (Predicate.isString(selector)) return (value) => value === selector
  const values: ReadonlySet<T> = new Set(selector)
  return (value) => values.has(value)
}

/**
 * Nothing, for a stream and for options that have no key besides those of
 * `Options`; where they have others, `never` for each of them. TypeScript does not
 * look for a misspelled option by itself where the type of the options is inferred,
 * as it is wherever it shows in the element type.
 *
 * @category options
 * @since 0.1.0
 */
export type NoUnknownOptions<Arg, Options> =
  Arg extends Stream.Stream<infer _A, infer _E, infer _R>
    ? unknown
    : { readonly [K in Exclude<keyof Arg, keyof Options>]: never }
