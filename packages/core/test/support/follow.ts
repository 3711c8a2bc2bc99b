import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Stream from "effect/Stream"
import type * as Scope from "effect/Scope"

/** A stream that is being consumed in the background, and what has come of it so far. */
export interface Following<A, E> {
  readonly events: Array<A>
  readonly fiber: Fiber.Fiber<void, E>
  /** How the stream ended. */
  readonly exit: Effect.Effect<Exit.Exit<void, E>>
}

/** Consumes a stream in a fiber of the scope. */
export const follow = <A, E, R>(
  stream: Stream.Stream<A, E, R>
): Effect.Effect<Following<A, E>, never, R | Scope.Scope> =>
  Effect.gen(function* () {
    const events: Array<A> = []
    const fiber = yield* Stream.runForEach(stream, (event) => Effect.sync(() => events.push(event))).pipe(
      Effect.forkScoped
    )
    return { events, fiber, exit: Fiber.await(fiber) }
  })

/** Gives every fiber that can run the time to run until nothing moves without the clock. */
export const settle: Effect.Effect<void> = Effect.yieldNow.pipe(Effect.repeat({ times: 50 }), Effect.asVoid)
