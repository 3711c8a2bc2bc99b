/** What the tests of inferred types share. */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"

/** `true` if both types are the same. */
export type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false

/** A requirement that an operator must keep. */
export class Setting extends Context.Service<Setting, number>()("test/Setting") {}

/** A stream with an error and a requirement that an operator must keep. */
export const demanding = <A>(element: () => A): Stream.Stream<A, "broken", Setting> =>
  Stream.fromEffect(Effect.flatMap(Setting, () => Effect.fail("broken" as const))).pipe(Stream.map(element))
