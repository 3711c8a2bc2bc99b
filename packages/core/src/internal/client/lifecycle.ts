/**
 * The lifecycle of the client's connection loop, as one state machine. One fiber,
 * `run`, makes every transition that takes time, so starting, stopping and closing
 * cannot overlap. All other transitions are synchronous.
 *
 * - `Idle`: no loop. A request wakes `run`.
 * - `Running`: the loop is connected, dials, or waits to dial.
 * - `Stopping`: the loop is ending. A request that arrives now starts the next loop.
 *
 * After `close`, new requests are refused: a running loop continues until `stop`, and
 * no other loop starts.
 *
 * Invariants: at most one loop runs; a loop that is in `Stopping` routes nothing;
 * once `run` has ended, no loop runs and none starts.
 */
import type * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import * as Latch from "effect/Latch"
import type { MeshError } from "../../MeshError.ts"
import type { Sweep } from "./timers.ts"

export interface Options<R> {
  /** Runs one loop. Ends only with an error. */
  readonly loop: Effect.Effect<never, MeshError, R>
  /** Called synchronously when a loop stops: from now on it must route nothing. */
  readonly onStopping: () => void
  /** Called after a loop has ended, with the reason unless it was stopped. */
  readonly onEnd: (cause: Cause.Cause<MeshError> | undefined) => Effect.Effect<void>
  /** How long the loop continues after the last consumer has left. */
  readonly idleMillis: number
  readonly now: () => number
  readonly wakeAt: (time: number) => void
}

export interface Lifecycle<R> {
  readonly state: () => "Idle" | "Running" | "Stopping"
  /** Whether requests are served. */
  readonly isOpen: () => boolean
  /** Retains the connection, and starts a loop if none runs. */
  readonly retain: () => void
  readonly release: () => void
  /** Starts a loop if something retains the connection and none runs. */
  readonly start: () => void
  /** Refuses requests from now on. The loop continues until `stop`. */
  readonly close: () => void
  /** Begins to end the loop. */
  readonly stop: () => void
  /** Runs the loops and makes the transitions. Ends after `close` and `stop`. */
  readonly run: Effect.Effect<void, never, R>
  /** Stops the loop after its idle time. */
  readonly sweep: Sweep
}

export const make = <R>({ idleMillis, loop, now, onEnd, onStopping, wakeAt }: Options<R>): Lifecycle<R> => {
  let state: ReturnType<Lifecycle<R>["state"]> = "Idle"
  let isOpen = true
  /** How many consumers and others retain the connection. */
  let holders = 0
  /** The time at which the idle connection closes; `Infinity` while something retains it. */
  let stopAt = Infinity
  /** Open when `run` must leave the state `Idle`. */
  const requested = Latch.makeUnsafe(false)
  /** Open while the loop must end. */
  const stopping = Latch.makeUnsafe(false)

  const stop = (): void => {
    if (state !== "Running") return
    state = "Stopping"
    stopAt = Infinity
    onStopping()
    stopping.openUnsafe()
  }

  const start = (): void => {
    if (holders > 0 && state !== "Running") requested.openUnsafe()
  }

  const onExit = (exit: Exit.Exit<void, MeshError>): Effect.Effect<void> => {
    // If the loop was stopped, `stop` has already begun the transition.
    if (state !== "Running" || exit._tag === "Success") return onEnd(undefined)
    stop()
    return onEnd(exit.cause)
  }

  const oneLoop = Effect.suspend(() => {
    requested.closeUnsafe()
    // The request may have been released before this fiber runs.
    if (!isOpen || holders === 0) return Effect.void
    state = "Running"
    stopping.closeUnsafe()
    return Effect.raceFirst(loop, stopping.await).pipe(
      Effect.exit,
      Effect.flatMap(onExit),
      Effect.map(() => void (state = "Idle"))
    )
  })

  return {
    state: () => state,
    isOpen: () => isOpen,
    retain() {
      holders++
      stopAt = Infinity
      start()
    },
    release() {
      holders--
      if (holders > 0) return
      if (state === "Running") wakeAt((stopAt = now() + idleMillis))
    },
    start,
    close() {
      isOpen = false
      requested.openUnsafe()
    },
    stop,
    // Yields, so that the requesting fiber continues first: opening the latch runs this fiber synchronously.
    run: requested.await.pipe(
      Effect.andThen(Effect.yieldNow),
      Effect.andThen(oneLoop),
      Effect.repeat({ while: () => isOpen })
    ),
    sweep(time) {
      if (stopAt > time) wakeAt(stopAt)
      else stop()
    }
  }
}
