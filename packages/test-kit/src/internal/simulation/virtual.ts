/**
 * An environment without real time: a virtual clock, seeded random numbers, and a
 * scheduler that detects when all fibers wait.
 *
 * A run in it is a pure function of its program and its seed, so it can be repeated
 * exactly.
 */
import * as Effect from "effect/Effect"
import * as Metric from "effect/Metric"
import * as Random from "effect/Random"
import * as References from "effect/References"
import * as Scheduler from "effect/Scheduler"
import type * as Scope from "effect/Scope"
import * as TestClock from "effect/testing/TestClock"

export interface World {
  /**
   * Lets every fiber run until all of them wait for the clock. Returns `false` if this
   * never happens.
   */
  readonly settle: Effect.Effect<boolean>
  /** Counts the fibers that run with it, and those that they fork. */
  readonly fibers: FiberCount
}

export interface FiberCount extends Metric.FiberRuntimeMetricsService {
  readonly alive: () => number
}

/** The most turns of the scheduler between two steps. */
const patience = 20_000

const countFibers = (): FiberCount => {
  let alive = 0
  return {
    recordFiberStart: () => {
      alive++
    },
    recordFiberEnd: () => {
      alive--
    },
    alive: () => alive
  }
}

/** A separate random generator, so that a program's random numbers do not depend on where the scheduler yields. */
const coin = (seed: number, outOf: number) => {
  let state = (seed ^ 0x9e3779b9) >>> 0
  return (): boolean => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return (state >>> 16) % outOf === 0
  }
}

/** A scheduler that counts waiting tasks, and that yields at random steps if `yields` is set. */
const countTasks = (seed: number, yields: boolean) => {
  const toss = coin(seed, 8)
  const inner = new Scheduler.MixedScheduler()
  let waiting = 0
  const scheduler: Scheduler.Scheduler = {
    executionMode: inner.executionMode,
    shouldYield: (fiber) => inner.shouldYield(fiber) || (yields && toss()),
    makeDispatcher() {
      const dispatcher = inner.makeDispatcher()
      return {
        scheduleTask(task, priority) {
          waiting++
          dispatcher.scheduleTask(() => {
            waiting--
            task()
          }, priority)
        },
        flush: () => dispatcher.flush()
      }
    }
  }
  return { scheduler, waiting: () => waiting }
}

export const run = <A, E>(
  { seed, yields }: { readonly seed: number; readonly yields: boolean },
  body: (world: World) => Effect.Effect<A, E, Scope.Scope>
): Effect.Effect<A, E> =>
  Effect.suspend(() => {
    const tasks = countTasks(seed, yields)
    const settle = Effect.gen(function* () {
      for (let turn = 0; turn < patience; turn++) {
        yield* Effect.yieldNow
        if (tasks.waiting() === 0) return true
      }
      return false
    })
    return body({ settle, fibers: countFibers() }).pipe(
      Effect.scoped,
      // Avoids the clock's warnings, which depend on real time.
      Effect.provide(TestClock.layer({ warningDelay: "1 hour" })),
      Effect.provideService(Scheduler.Scheduler, tasks.scheduler),
      Effect.provideService(References.MinimumLogLevel, "None"),
      Random.withSeed(seed)
    )
  })
