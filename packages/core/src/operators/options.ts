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
import type { MeshEvent, Resync } from "../MeshEvent.ts"

/**
 * Any stream of events.
 *
 * @category models
 * @since 0.1.0
 */
export type Events = Stream.Stream<MeshEvent, unknown, unknown>

/** Whether a `dual` function was called with the stream as its first argument. */
export const isDataFirst = (args: IArguments): boolean => Stream.isStream(args[0])

export const isResync = (event: MeshEvent): event is Resync => event._tag === "Resync"

/**
 * The option of every operator that narrows the feed to data.
 *
 * @category options
 * @since 0.1.0
 */
export interface KeepResync {
  /**
   * Whether `Resync` elements stay in the stream, where they stood. `true` shows
   * in the element type. Default: `false`.
   */
  readonly keepResync?: boolean | undefined
}

/**
 * `Resync` where the options `O` keep it, and `never` where they do not. An
 * option that is only known to be a `boolean` may keep it.
 *
 * @category models
 * @since 0.1.0
 */
export type Kept<O> = "keepResync" extends keyof O ? (true extends O["keepResync"] ? Resync : never) : never

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
