import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Stream from "effect/Stream"
import type * as Scope from "effect/Scope"

/** A consumer that stops after its first element until `resume` runs. */
export interface Paused<A, E> {
  readonly events: Array<A>
  /** Lets the consumer continue, and returns everything that it received. */
  readonly resume: Effect.Effect<ReadonlyArray<A>, E>
  readonly exit: Effect.Effect<Exit.Exit<void, E>>
  readonly fiber: Fiber.Fiber<void, E>
}

export const pauseAfterFirst = <A, E, R>(
  stream: Stream.Stream<A, E, R>
): Effect.Effect<Paused<A, E>, never, R | Scope.Scope> =>
  Effect.gen(function* () {
    const events: Array<A> = []
    const first = yield* Deferred.make<void>()
    const gate = yield* Deferred.make<void>()
    const fiber = yield* Stream.runForEach(stream, (event) =>
      Effect.suspend(() => {
        events.push(event)
        return events.length === 1
          ? Effect.andThen(Deferred.succeed(first, undefined), Deferred.await(gate))
          : Effect.void
      })
    ).pipe(Effect.forkScoped)
    yield* Effect.raceFirst(Deferred.await(first), Effect.exit(Fiber.join(fiber)))
    const resume = Deferred.succeed(gate, undefined).pipe(Effect.andThen(Fiber.join(fiber)), Effect.as(events))
    return { events, resume, exit: Fiber.await(fiber), fiber }
  })

/** A feed that never ends and records when it is released. */
export const watched = (): {
  readonly stream: Stream.Stream<never>
  readonly isReading: () => boolean
  readonly isReleased: () => boolean
} => {
  let reading = false
  let released = false
  const stream = Stream.scoped(
    Stream.unwrap(
      Effect.as(
        Effect.addFinalizer(() =>
          Effect.sync(() => {
            released = true
          })
        ),
        Stream.fromEffect(
          Effect.suspend(() => {
            reading = true
            return Effect.never
          }).pipe(
            Effect.onExit(() =>
              Effect.sync(() => {
                reading = false
              })
            )
          )
        )
      )
    )
  )
  return { stream, isReading: () => reading, isReleased: () => released }
}
