/**
 * Makes `scan` and `run` of a projection from its reducer, for projections whose
 * arguments are all optional.
 */
import type * as Effect from "effect/Effect"
import { dual } from "effect/Function"
import type * as Scope from "effect/Scope"
import type * as Stream from "effect/Stream"
import type { MeshEvent } from "../../MeshEvent.ts"
import { isDataFirst, type NoUnknownOptions } from "../operators.ts"
import * as Projection from "../../Projection.ts"

/** A stream operator that can be used without a call in a pipe, with options, or data-first. */
export interface Scan<S, Options> {
  <Arg extends Stream.Stream<MeshEvent, unknown, unknown> | Options = Options>(
    selfOrOptions?: Arg & NoUnknownOptions<Arg, Options>,
    options?: Options
  ): [Arg] extends [Stream.Stream<infer _A, infer E, infer R>]
    ? Stream.Stream<S, E, R>
    : <A extends MeshEvent, E, R>(self: Stream.Stream<A, E, R>) => Stream.Stream<S, E, R>
}

/** Like `Scan`, for a projection that runs in a fiber. */
export interface Run<S, Options> {
  <Arg extends Stream.Stream<MeshEvent, unknown, unknown> | Options = Options>(
    selfOrOptions?: Arg & NoUnknownOptions<Arg, Options>,
    options?: Options
  ): [Arg] extends [Stream.Stream<infer _A, infer E, infer R>]
    ? Effect.Effect<Projection.Projection<S, E>, never, R | Scope.Scope>
    : <A extends MeshEvent, E, R>(
        self: Stream.Stream<A, E, R>
      ) => Effect.Effect<Projection.Projection<S, E>, never, R | Scope.Scope>
}

type ReducerOf<S, Options> = (options?: Options) => Projection.Reducer<S, MeshEvent>

export const scan = <S, Options>(reducer: ReducerOf<S, Options>): Scan<S, Options> =>
  dual(isDataFirst, <A extends MeshEvent, E, R>(self: Stream.Stream<A, E, R>, options?: Options) =>
    Projection.scan(self, reducer(options))
  )

export const run = <S, Options>(reducer: ReducerOf<S, Options>): Run<S, Options> =>
  dual(isDataFirst, <A extends MeshEvent, E, R>(self: Stream.Stream<A, E, R>, options?: Options) =>
    Projection.run(self, reducer(options))
  )
