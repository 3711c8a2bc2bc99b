/**
 * Runs a repair with a feed: decides when fetches begin, and emits their results between
 * the batches of the feed.
 *
 * While no fetch is needed, a pull is the pull of the feed. Otherwise the pull of the feed
 * runs in a separate fiber, so that a snapshot that arrives first does not wait for the
 * feed, and an interrupted pull loses nothing. There is at most one such fiber, so at most
 * one batch waits for the consumer.
 */
import type { NonEmptyReadonlyArray } from "effect/Array"
import { isReadonlyArrayNonEmpty } from "effect/Array"
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import * as Latch from "effect/Latch"
import * as Random from "effect/Random"
import type * as Scope from "effect/Scope"
import * as MeshError from "../../MeshError.ts"
import type { RepairElement } from "../../MeshEvent.ts"
import { monotonicMillis } from "../time.ts"
import * as TaskIds from "../wire/taskIds.ts"
import { Machine, type TaskSnapshot } from "./machine.ts"
import type { Settings } from "./options.ts"
import type * as Port from "./port.ts"

/** The common member of all elements in the feed. */
interface Tagged {
  readonly _tag: string
}

type Batch<A> = NonEmptyReadonlyArray<A>

/**
 * The most elements of a snapshot in one batch, so that a consumer with a bounded queue
 * can take one batch before the next.
 */
const maxBatch = 64

/**
 * Wraps the pull of a feed. The scope owns the fibers. Calls `onSnapshot` with each
 * snapshot before it is applied.
 */
export const make = <A extends Tagged, E, R>(
  settings: Settings<R>,
  upstream: Effect.Effect<Batch<A>, E>,
  scope: Scope.Scope,
  machine: Machine = new Machine(settings, TaskIds.make()),
  onSnapshot?: (snapshot: ReadonlyArray<TaskSnapshot>) => void
): Effect.Effect<Effect.Effect<Batch<A | RepairElement>, E | MeshError.MeshError>, never, R> =>
  Effect.gen(function* () {
    const driver = new Driver<A, E, R>({ settings, upstream, scope, machine, onSnapshot, clock: yield* Clock.Clock })
    yield* Effect.forkIn(driver.run, scope)
    return driver.pull
  })

/** Repairs the feed of a client. */
export const attach =
  (settings: Settings<never>): Port.Attach =>
  (upstream, scope, onSnapshot) => {
    // The client's decoder has already interned the ids.
    const machine = new Machine(settings)
    return Effect.map(make(settings, upstream, scope, machine, onSnapshot), (pull) => ({
      pull,
      inform: ({ all, updates }, { epoch, reason, unconfirmed }) => {
        const known: Array<RepairElement> = machine.known(all ? undefined : updates)
        const restated = known.length
        if (reason !== undefined && machine.isSettled) {
          known.push({ _tag: "Repaired", epoch, reasons: [reason], restated, unconfirmed, absent: 0, open: 0 })
        }
        return known
      }
    }))
  }

interface Parts<A, E, R> {
  readonly settings: Settings<R>
  readonly upstream: Effect.Effect<Batch<A>, E>
  readonly scope: Scope.Scope
  readonly onSnapshot: ((snapshot: ReadonlyArray<TaskSnapshot>) => void) | undefined
  readonly machine: Machine
  readonly clock: Clock.Clock
}

class Driver<A extends Tagged, E, R> {
  readonly #parts: Parts<A, E, R>
  readonly #machine: Machine
  /** Elements of a snapshot that were not pulled yet. */
  #ready: ReadonlyArray<RepairElement> = []
  #failure: MeshError.MeshError | undefined
  /** Whether a snapshot may arrive during the next pull of the feed. */
  #isActive: boolean
  /** Whether a pull of the feed runs in a separate fiber. */
  #isPulling = false
  /** The exit of that pull. */
  #pulled: Exit.Exit<Batch<A>, E> | undefined
  /** Resumes the waiting pull. Has no effect on an interrupted one. */
  #resume: ((go: Effect.Effect<void>) => void) | undefined
  /** When the last fetch began. */
  #beganAt = -Infinity
  readonly #startedAt: number
  /** Open when a fetch may be needed. */
  readonly #due = Latch.makeUnsafe(false)

  /** The pull of the feed, while no snapshot may arrive. */
  readonly #direct: Effect.Effect<Batch<A>, E>

  constructor(parts: Parts<A, E, R>) {
    this.#parts = parts
    this.#direct = Effect.map(parts.upstream, this.#onBatch)
    this.#machine = parts.machine
    this.#startedAt = this.#now()
    this.#isActive = Number.isFinite(parts.settings.everyMillis)
  }

  // ---------------------------------------------------------------------------
  // the pull
  // ---------------------------------------------------------------------------

  readonly pull: Effect.Effect<Batch<A | RepairElement>, E | MeshError.MeshError> = Effect.suspend(() => {
    const ready = this.#ready
    if (isReadonlyArrayNonEmpty(ready)) {
      this.#ready = ready.slice(maxBatch)
      const batch = ready.length <= maxBatch ? ready : ready.slice(0, maxBatch)
      return Effect.succeed(batch as Batch<RepairElement>)
    }
    if (this.#failure !== undefined) return Effect.fail(this.#failure)
    if (this.#pulled !== undefined) {
      const exit = this.#pulled
      this.#pulled = undefined
      return Effect.map(exit, this.#onBatch)
    }
    if (this.#isPulling) return this.#awaitChange
    if (!this.#isActive) return this.#direct
    this.#isPulling = true
    return Effect.flatMap(Effect.forkIn(this.#parts.upstream, this.#parts.scope), (fiber) => {
      fiber.addObserver((exit) => {
        this.#isPulling = false
        this.#pulled = exit
        this.#wake()
      })
      return this.pull
    })
  })

  readonly #onBatch = (batch: Batch<A>): Batch<A> => {
    this.#machine.observe(batch)
    if (this.#machine.isDue || this.#machine.isFetching) {
      this.#isActive = true
      this.#due.openUnsafe()
    }
    return batch
  }

  /** Waits for the pull of the feed, or for a snapshot. */
  readonly #awaitChange: Effect.Effect<Batch<A | RepairElement>, E | MeshError.MeshError> = Effect.flatMap(
    Effect.callback<void>((resume) => {
      if (this.#pulled !== undefined || this.#ready.length > 0 || this.#failure !== undefined) {
        return resume(Effect.void)
      }
      this.#resume = resume
    }),
    () => this.pull
  )

  #wake(): void {
    const resume = this.#resume
    this.#resume = undefined
    resume?.(Effect.void)
  }

  #emit(elements: ReadonlyArray<RepairElement>): void {
    this.#ready = this.#ready.length === 0 ? elements : [...this.#ready, ...elements]
    this.#wake()
  }

  // ---------------------------------------------------------------------------
  // the fetches
  // ---------------------------------------------------------------------------

  /** Runs the fetches that are due, until a failure that ends the feed. */
  readonly run: Effect.Effect<void, never, R> = Effect.suspend(() => {
    this.#isActive = this.#machine.isDue || Number.isFinite(this.#parts.settings.everyMillis)
    return this.#failure === undefined ? Effect.andThen(this.#next(), this.run) : Effect.void
  })

  /** Waits until a fetch is due, or runs it. */
  #next(): Effect.Effect<void, never, R> {
    const { everyMillis, minIntervalMillis, spreadMillis } = this.#parts.settings
    if (this.#machine.isDue) {
      return Effect.flatMap(Random.next, (random) => {
        const wait = Math.max(random * spreadMillis, this.#beganAt + minIntervalMillis - this.#now())
        return Effect.andThen(this.#sleep(wait), this.#fetch())
      })
    }
    this.#due.closeUnsafe()
    if (!Number.isFinite(everyMillis)) return this.#due.await
    const wait = Math.max(this.#beganAt, this.#startedAt) + everyMillis - this.#now()
    const refresh = Effect.sync(() => this.#machine.refresh())
    return Effect.raceFirst(this.#due.await, Effect.andThen(this.#sleep(wait), refresh))
  }

  /** Waits until the connection has its mark. */
  readonly #awaitMark: Effect.Effect<void> = Effect.suspend(() => {
    if (this.#machine.mayBegin) return Effect.void
    this.#due.closeUnsafe()
    return Effect.flatMap(this.#due.await, () => this.#awaitMark)
  })

  #fetch(): Effect.Effect<void, never, R> {
    const { fails, fetch, retry, timeoutMillis } = this.#parts.settings
    let attempts = 0
    const attempt = Effect.suspend(() => {
      attempts++
      const ask = this.#machine.begin()
      this.#beganAt = this.#now()
      const effect = Effect.suspend(() => fetch(ask))
      return Number.isFinite(timeoutMillis) ? Effect.timeout(effect, timeoutMillis) : effect
    })
    return this.#awaitMark.pipe(
      Effect.andThen(attempt),
      Effect.retry(retry),
      Effect.withSpan("makima.repair", { kind: "client" }),
      // The program's fetch may interrupt itself, which must not end the repair.
      Effect.exit,
      Effect.map((exit) => {
        if (exit._tag === "Success") {
          this.#parts.onSnapshot?.(exit.value)
          return this.#emit(this.#machine.apply(exit.value))
        }
        if (fails) {
          this.#failure = new MeshError.MeshError({
            reason: new MeshError.SnapshotFailed({ attempts, cause: Cause.squash(exit.cause) })
          })
        }
        this.#emit([this.#machine.fail(attempts, nameOf(Cause.squash(exit.cause)))])
      })
    )
  }

  #now(): number {
    return monotonicMillis(this.#parts.clock)
  }

  #sleep(millis: number): Effect.Effect<void> {
    return millis > 0 ? Effect.sleep(Math.ceil(millis)) : Effect.void
  }
}

/**
 * The tag or the name of an error, and the tag of its reason. Without its message, which
 * may contain a URL with a key, or payload.
 */
const nameOf = (error: unknown): string => {
  if (typeof error !== "object" || error === null) return typeof error
  const name = "_tag" in error ? error._tag : error instanceof Error ? error.name : "Error"
  const reason =
    "reason" in error && typeof error.reason === "object" && error.reason !== null && "_tag" in error.reason
      ? `: ${String(error.reason._tag)}`
      : ""
  return `${String(name)}${reason}`
}
