/**
 * What the operators' implementations and types have in common.
 *
 * An operator whose arguments are all optional can be used bare in a pipe, called
 * with options, or called data-first. Overloads cannot do the first (TypeScript
 * infers from the last overload alone and loses `E` and `R`), so such an operator
 * has one signature with a conditional result, as `Effect.forkChild` has.
 */
import * as Predicate from "effect/Predicate"
import * as Stream from "effect/Stream"
import {
  isLifecycle,
  isRepaired,
  isRepairFailed,
  isResync,
  type Lifecycle,
  type MeshEvent,
  type Repaired,
  type RepairFailed,
  type Resync
} from "../MeshEvent.ts"
import type { KeepOptions, Selector } from "../operators/options.ts"
import * as Pushdown from "./pushdown.ts"

/** Any stream of events. */
export type Events = Stream.Stream<MeshEvent, unknown, unknown>

/** Whether a `dual` function was called with the stream as its first argument. */
export const isDataFirst = (args: IArguments): boolean => Stream.isStream(args[0])

/**
 * The lifecycle elements that the options `O` keep; `never` without `keep`. A
 * value that is known at run time only counts as all that it may be.
 */
export type Kept<O> = "keep" extends keyof O
  ? "lifecycle" extends O["keep"]
    ? Lifecycle
    : "resync" extends O["keep"]
      ? Resync | Repaired | RepairFailed
      : never
  : never

/**
 * What an operator makes of the elements `A`: `Made`, or `never` if no element of `A`
 * is a `Source`, because then nothing can come out.
 */
export type From<A, Source extends MeshEvent, Made> = A extends Source ? Made : never

/**
 * Refuses options that are not keys of `Options`, and says which. TypeScript does not
 * look for them by itself where the type of the options is inferred, as it is wherever
 * they show in the element type. A stream passes.
 */
export type NoUnknownOptions<Arg, Options> =
  Arg extends Stream.Stream<infer _A, infer _E, infer _R>
    ? unknown
    : { readonly [K in Exclude<keyof Arg, keyof Options>]: NoSuchOption<K> }

/** The type of an option that does not exist: no value has it, and the compiler's message shows its name. */
export interface NoSuchOption<in out Name> {
  readonly [noSuchOption]: Name
}
declare const noSuchOption: unique symbol

/** Whether an element says where the feed is complete. */
const isCompleteness = (event: MeshEvent): event is Resync | Repaired | RepairFailed =>
  isResync(event) || isRepaired(event) || isRepairFailed(event)

/** The predicate of the lifecycle elements that the options keep; `undefined` if they keep none. */
export const keptBy = (options: KeepOptions | undefined): ((event: MeshEvent) => event is Lifecycle) | undefined => {
  const keep = options?.keep
  switch (keep) {
    case undefined:
      return undefined
    case "resync":
      return isCompleteness
    case "lifecycle":
      return isLifecycle
    default:
      keep satisfies never
      throw new TypeError('The option "keep" must be "resync" or "lifecycle"')
  }
}

/** A selector as a predicate. */
export const toPredicate = <T extends string>(selector: Selector<T>): ((value: T) => boolean) => {
  if (Predicate.isFunction(selector)) return selector
  if (Predicate.isString(selector)) return (value) => value === selector
  const values: ReadonlySet<T> = new Set(selector)
  return (value) => values.has(value)
}

/** Whether output, or updates, are the only messages that a filter wants. */
export const outputs: Pushdown.MayBeWanted = (type) => type === "TaskOutput"
export const updates: Pushdown.MayBeWanted = (type) => type === "TaskUpdated"

/** `mayBeWanted`, unless the caller's own function has to be called for every element. */
export const unlessCalled = (
  selector: Selector<string>,
  mayBeWanted: Pushdown.MayBeWanted
): Pushdown.MayBeWanted | undefined => (Predicate.isFunction(selector) ? undefined : mayBeWanted)

/**
 * Keeps the events that satisfy a predicate, and the lifecycle elements that the
 * options keep; at the source, if `mayBeWanted` is given.
 */
export const narrow = <E, R>(
  self: Stream.Stream<MeshEvent, E, R>,
  mayBeWanted: Pushdown.MayBeWanted | undefined,
  isWanted: (event: MeshEvent) => boolean,
  options: KeepOptions | undefined
): Stream.Stream<MeshEvent, E, R> => {
  const isKeptLifecycle = keptBy(options)
  const isKept =
    isKeptLifecycle === undefined ? isWanted : (event: MeshEvent) => isWanted(event) || isKeptLifecycle(event)
  return mayBeWanted === undefined ? Stream.filter(self, isKept) : Pushdown.filter(self, mayBeWanted, isKept)
}
