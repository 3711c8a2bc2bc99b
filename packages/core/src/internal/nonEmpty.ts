/** Whether there is anything in an array, for the type that says so. */
import type { NonEmptyReadonlyArray } from "effect/Array"

export const isNonEmpty = <A>(array: ReadonlyArray<A>): array is NonEmptyReadonlyArray<A> => array.length > 0
