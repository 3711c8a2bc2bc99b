/**
 * Helpers that the implementations and types of the operators share.
 *
 * An operator whose arguments are all optional can be used without a call in a pipe,
 * called with options, or called data-first. Overloads do not support the first form
 * (TypeScript infers only from the last overload and loses `E` and `R`), so such an
 * operator has one signature with a conditional result, like `Effect.forkChild`.
 */
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
import { oneOf } from "./bounds.ts"
import * as Pushdown from "./pushdown.ts"

/** Any stream of events. */
export type Events = Stream.Stream<MeshEvent, unknown, unknown>

/** Whether a `dual` function was called with the stream as its first argument. */
export const isDataFirst = (args: IArguments): boolean => Stream.isStream(args[0])

/**
 * The lifecycle elements that the options `O` keep; `never` without `keep`. If the
 * type of `keep` is a union, the result covers every member of it.
 */
export type Kept<O> = "keep" extends keyof O
  ? "lifecycle" extends O["keep"]
    ? Lifecycle
    : "resync" extends O["keep"]
      ? Resync | Repaired | RepairFailed
      : never
  : never

/**
 * The elements that an operator makes from `A`: `Made`, or `never` if no element of
 * `A` is a `Source`, because the result is then empty.
 */
export type From<A, Source extends MeshEvent, Made> = A extends Source ? Made : never

/**
 * Rejects options that are not keys of `Options`, with an error that names them.
 * TypeScript does not check this by itself if the type of the options is inferred,
 * which is so wherever the options determine the element type. Accepts a stream.
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
  if (options?.keep === undefined) return undefined
  return oneOf("keep", options.keep, ["resync", "lifecycle"]) === "resync" ? isCompleteness : isLifecycle
}

/** A selector as a predicate. */
export const toPredicate = <T extends string>(selector: Selector<T>): ((value: T) => boolean) => {
  if (typeof selector === "function") return selector
  if (typeof selector === "string") return (value) => value === selector
  const values: ReadonlySet<T> = new Set(selector)
  return (value) => values.has(value)
}

/** For filters that want only output, or only updates. */
export const outputs: Pushdown.MayBeWanted = (type) => type === "TaskOutput"
export const updates: Pushdown.MayBeWanted = (type) => type === "TaskUpdated"

/** Returns `mayBeWanted`, or `undefined` if a function of the caller must be called for every element. */
export const unlessCalled = (
  selector: Selector<string>,
  mayBeWanted: Pushdown.MayBeWanted
): Pushdown.MayBeWanted | undefined => (typeof selector === "function" ? undefined : mayBeWanted)

/**
 * Keeps the events that satisfy a predicate, and the lifecycle elements that the
 * options keep. With `mayBeWanted`, the filter runs at the source.
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
