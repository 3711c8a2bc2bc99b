import type { NonEmptyReadonlyArray } from "effect/Array"

/** Whether an array has elements. `effect/Array` has it too, but nothing else of that module is needed. */
export const isNonEmpty = <A>(array: ReadonlyArray<A>): array is NonEmptyReadonlyArray<A> => array.length > 0
