import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Stream from "effect/Stream"
import type * as Scope from "effect/Scope"
import { turns } from "../../../test-kit/src/internal/turns.ts"

/** A stream that a background fiber consumes, and its elements so far. */
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

/** Yields until every fiber waits for the clock or for input. */
export const settle: Effect.Effect<void> = turns(50)

/**
 * Returns some turns of the event loop after a time of the test's clock. After a process stood still, the event loop runs
 * the timers that are due before it reads the sockets, from which a consumer is a few turns away. It polls the clock,
 * because the clock of a test lets what it wakes run to its end before it wakes the next sleeper.
 */
export const turnsAfter = (time: Duration.Input, count: number): Effect.Effect<void> =>
  Effect.clockWith((clock) => {
    const due = Duration.toMillis(time)
    return Effect.yieldNow.pipe(
      Effect.repeat({ until: () => clock.currentTimeMillisUnsafe() >= due }),
      Effect.andThen(turns(count)),
      Effect.asVoid
    )
  })
