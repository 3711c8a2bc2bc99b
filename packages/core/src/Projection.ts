/**
 * Projections: states that are kept up to date from the feed.
 *
 * A projection is a pure reducer: an initial state, and a `fold` that returns the
 * next state for a state and a batch of events. `TaskState`, `TaskBoard` and
 * `CostLedger` are projections, and a program can add others. This module runs any
 * of them, as a stream of states or behind a `SubscriptionRef`.
 *
 * Time is an argument of a reducer, so a recorded feed can be folded again with its
 * own times. This module takes it from the `Clock`, once for each batch.
 *
 * @since 0.1.0
 */
import type { NonEmptyReadonlyArray } from "effect/Array"
import * as Cause from "effect/Cause"
import * as Channel from "effect/Channel"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import { dual } from "effect/Function"
import * as Latch from "effect/Latch"
import type * as Pull from "effect/Pull"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as SubscriptionRef from "effect/SubscriptionRef"

/**
 * A pure reducer over batches of events.
 *
 * **Details**
 *
 * `fold` must not depend on how the events are split into batches: folding one batch
 * and then another with the same `at` must return the same as folding both at once.
 * It must return the state it was called with if nothing changed. `at` is in
 * milliseconds since 1970.
 *
 * @category models
 * @since 0.1.0
 */
export interface Reducer<S, in A> {
  /** The state before the first event. */
  readonly initial: S
  /** Returns the state after a batch of events. */
  readonly fold: (state: S, events: ReadonlyArray<A>, at: number) => S
}

/**
 * A projection that a fiber keeps up to date.
 *
 * @category models
 * @since 0.1.0
 */
export interface Projection<S, E> {
  /**
   * The current state, and the last one once the feed has ended. Only the
   * projection writes it.
   *
   * Prefer `changes` below to `SubscriptionRef.changes`, which does not end with the
   * feed, and queues every state that a slow subscriber has not read yet.
   */
  readonly ref: SubscriptionRef.SubscriptionRef<S>
  /**
   * Emits the current state, and then each newer one. A slow consumer receives the
   * newest and misses those in between, so nothing is queued. Ends when the feed
   * ends, and fails with its failure, after the last state.
   */
  readonly changes: Stream.Stream<S, E>
  /** Waits until the feed ends; fails with its failure. */
  readonly join: Effect.Effect<void, E>
}

/**
 * Folds a feed. Emits the state after each batch that changes it.
 *
 * **When to use**
 *
 * Use it to write a projection as an operator. For the state behind a reference,
 * use `run`.
 *
 * **Details**
 *
 * A batch is the result of one pull of the feed (for a socket, the frames of one tick).
 * The states within a batch are not emitted, so the cost of reading states does not
 * grow with the rate. To emit a state for each event, put `Stream.rechunk(1)` before it.
 * The initial state is not emitted, and neither is a state that is the same object as
 * the previous one. Each run of the stream starts from `initial`.
 *
 * **Example** (Counting outputs)
 *
 * ```ts
 * import * as Effect from "effect/Effect"
 * import * as Stream from "effect/Stream"
 * import type * as MeshEvent from "@makima-stream/core/MeshEvent"
 * import * as Projection from "@makima-stream/core/Projection"
 * import * as TaskId from "@makima-stream/core/TaskId"
 *
 * const count: Projection.Reducer<number, MeshEvent.MeshEvent> = {
 *   initial: 0,
 *   fold: (state, events) => state + events.filter((event) => event._tag === "TaskOutput").length
 * }
 * const output = { _tag: "TaskOutput", taskId: TaskId.make("a"), messageType: "assistant", content: "Hi" } as const
 * const counts = Stream.make(output, output).pipe(Projection.scan(count))
 * console.log(await Effect.runPromise(Stream.runCollect(counts))) // [2]
 * ```
 *
 * @category operators
 * @since 0.1.0
 */
export const scan: {
  /** Emits the states of a projection: see `scan`. */
  <S, A>(reducer: Reducer<S, A>): <E, R>(self: Stream.Stream<A, E, R>) => Stream.Stream<S, E, R>
  /** Emits the states of a projection: see `scan`. */
  <A, E, R, S>(self: Stream.Stream<A, E, R>, reducer: Reducer<S, A>): Stream.Stream<S, E, R>
} = dual(2, <A, E, R, S>(self: Stream.Stream<A, E, R>, reducer: Reducer<S, A>): Stream.Stream<S, E, R> =>
  Stream.transformPull(self, (upstream) =>
    Effect.map(Clock.Clock, (clock) => {
      let state = reducer.initial
      const pull: Pull.Pull<NonEmptyReadonlyArray<S>, E> = Effect.flatMap(upstream, (events) => {
        const next = reducer.fold(state, events, clock.currentTimeMillisUnsafe())
        if (next === state) return pull
        state = next
        return Effect.succeed([next] as const)
      })
      return pull
    })
  )
)

/**
 * Keeps a projection up to date in a fiber of the scope.
 *
 * **When to use**
 *
 * Use it if several parts of a program read the state, or one reads it only
 * sometimes.
 *
 * **Details**
 *
 * The reference is set once for each batch of the feed that changes the state.
 * Closing the scope stops the fiber and releases the feed.
 *
 * **Gotchas**
 *
 * A failure of the feed does not fail the caller: only `join` and `changes` fail. A
 * program that only reads `ref` would continue with an old state, so run `join` in one
 * of its fibers.
 *
 * **Example** (Reading a count)
 *
 * ```ts
 * import * as Effect from "effect/Effect"
 * import * as Stream from "effect/Stream"
 * import * as SubscriptionRef from "effect/SubscriptionRef"
 * import * as Projection from "@makima-stream/core/Projection"
 *
 * const sum: Projection.Reducer<number, number> = {
 *   initial: 0,
 *   fold: (state, numbers) => numbers.reduce((a, b) => a + b, state)
 * }
 * const program = Effect.gen(function* () {
 *   const running = yield* Stream.make(1, 2, 3).pipe(Projection.run(sum))
 *   yield* running.join
 *   return yield* SubscriptionRef.get(running.ref)
 * })
 * console.log(await Effect.runPromise(Effect.scoped(program))) // 6
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const run: {
  /** Keeps a projection up to date in a fiber of the scope: see `run`. */
  <S, A>(
    reducer: Reducer<S, A>
  ): <E, R>(self: Stream.Stream<A, E, R>) => Effect.Effect<Projection<S, E>, never, R | Scope.Scope>
  /** Keeps a projection up to date in a fiber of the scope: see `run`. */
  <A, E, R, S>(
    self: Stream.Stream<A, E, R>,
    reducer: Reducer<S, A>
  ): Effect.Effect<Projection<S, E>, never, R | Scope.Scope>
} = dual(
  2,
  Effect.fnUntraced(function* <A, E, R, S>(
    self: Stream.Stream<A, E, R>,
    reducer: Reducer<S, A>
  ): Effect.fn.Return<Projection<S, E>, never, R | Scope.Scope> {
    const ref = yield* SubscriptionRef.make(reducer.initial)
    // One latch for each subscriber. With a shared latch, one subscriber could close it while another still has to read a
    // state that is already set.
    const subscribers = new Set<Latch.Latch>()
    let revision = 1
    let ended: Cause.Cause<E | Cause.Done> | undefined

    const wakeAll = (): void => {
      for (const latch of subscribers) latch.openUnsafe()
    }

    const fiber = yield* scan(self, reducer).pipe(
      Stream.runForEach((state) =>
        Effect.map(SubscriptionRef.set(ref, state), () => {
          revision++
          wakeAll()
        })
      ),
      Effect.onExit((exit) =>
        Effect.sync(() => {
          ended = Exit.isSuccess(exit) ? Cause.fail(Cause.Done()) : exit.cause
          wakeAll()
        })
      ),
      Effect.forkScoped
    )

    const subscribe = (scope: Scope.Scope): Effect.Effect<Pull.Pull<NonEmptyReadonlyArray<S>, E>> => {
      const latch = Latch.makeUnsafe(false)
      let seen = 0
      const pull: Pull.Pull<NonEmptyReadonlyArray<S>, E> = Effect.suspend(() => {
        if (seen !== revision) {
          seen = revision
          return Effect.succeed([SubscriptionRef.getUnsafe(ref)] as const)
        }
        if (ended !== undefined) return Effect.failCause(ended)
        latch.closeUnsafe()
        return Effect.flatMap(latch.await, () => pull)
      })
      subscribers.add(latch)
      return Effect.as(
        Scope.addFinalizer(
          scope,
          Effect.sync(() => subscribers.delete(latch))
        ),
        pull
      )
    }

    return {
      ref,
      changes: Stream.fromChannel(Channel.fromTransform((_, scope) => Effect.suspend(() => subscribe(scope)))),
      join: Fiber.join(fiber)
    }
  })
)
