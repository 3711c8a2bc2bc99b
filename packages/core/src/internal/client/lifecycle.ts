/**
 * The lifecycle of the client's connection loop, as one state machine. One fiber,
 * `run`, makes every transition that takes time, so starting, stopping and closing
 * cannot overlap. All other transitions are synchronous.
 *
 * ```
 * Idle ──request──▶ Starting ──▶ Running ──close──▶ Closing
 *  ▲                   │            │                  │
 *  └──── Stopping ◀────┴────────────┴──────────────────┤
 *           │   nothing retains it, or it has failed    │ drained
 *           └──────────────▶ Closed ◀──────────────────┘
 * ```
 *
 * - `Idle`: no loop. A request wakes `run`.
 * - `Starting`: the loop starts and has no connection object yet.
 * - `Running`: the loop is connected, dials, or waits to dial.
 * - `Closing`: like `Running`, but new consumers and requests are refused.
 * - `Stopping`: the loop is ending. A request that arrives now starts the next loop.
 * - `Closed`: final.
 *
 * Invariants: at most one loop runs; a loop that is in `Stopping` routes nothing;
 * a request is served by the loop whose number `retain` returned, or by a later
 * one; once `Closed`, no loop runs and none starts.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import * as Latch from "effect/Latch"
import type { MeshError } from "../../MeshError.ts"
import type { Timed } from "./timers.ts"

export type State<C> =
  | { readonly _tag: "Idle" }
  | { readonly _tag: "Starting" }
  | { readonly _tag: "Running"; readonly connection: C }
  | { readonly _tag: "Closing" }
  | { readonly _tag: "Stopping"; readonly next: "Idle" | "Closed" }
  | { readonly _tag: "Closed" }

export interface Options<C> {
  /** Runs one loop. Calls `started` with its connection. Ends only with an error. */
  readonly loop: (started: (connection: C) => void) => Effect.Effect<never, MeshError>
  /** Called before a loop starts. */
  readonly onStarting: Effect.Effect<void>
  /** Called synchronously when a loop stops: from now on it must route nothing. */
  readonly onStopping: () => void
  /** Called after a loop was stopped. */
  readonly onStopped: Effect.Effect<void>
  /** Called after a loop has ended by itself, with the reason. */
  readonly onFailed: (cause: Cause.Cause<MeshError>) => Effect.Effect<void>
  /** How long the loop continues after the last consumer has left. */
  readonly idleMillis: number
  readonly now: () => number
}

export interface Lifecycle<C> extends Timed {
  readonly state: () => State<C>
  /** Whether requests are served. */
  readonly isOpen: () => boolean
  /** Retains the connection, and starts a loop if none runs. Returns the number of the loop that serves the request. */
  readonly retain: () => number
  readonly release: () => void
  /** Starts a loop if something retains the connection and none runs. */
  readonly start: () => void
  /** Refuses requests from now on. The loop continues until `stop`. */
  readonly close: () => void
  /** Ends the loop of a closing client. Returns after it has ended. */
  readonly stop: Effect.Effect<void>
  /** Makes the state `Closed` at once. Called when the scope of `run` closes. */
  readonly abandon: () => void
  /** The cause with which the loop of a request ended; `undefined` if it runs or has not started. */
  readonly endOf: (loop: number) => Cause.Cause<MeshError> | undefined
  /** Whether the running loop serves a request. */
  readonly serves: (loop: number) => boolean
  /** Runs the loops and makes the transitions. Ends in the state `Closed`. */
  readonly run: Effect.Effect<void>
  /** Called when `next` may have become earlier. */
  onChanged: () => void
}

export const make = <C>(options: Options<C>): Lifecycle<C> => {
  const { idleMillis, loop, now } = options
  let state: State<C> = { _tag: "Idle" }
  /** How many consumers and others retain the connection. */
  let holders = 0
  /** How many loops have started. */
  let loops = 0
  /** The time at which the idle connection closes; `Infinity` while something retains it. */
  let stopAt = Infinity
  let lastEnd: { readonly loop: number; readonly cause: Cause.Cause<MeshError> } | undefined
  /** Open when `run` must leave the state `Idle`. */
  const requested = Latch.makeUnsafe(false)
  /** Open while the current or the next loop must end. */
  const stopping = Latch.makeUnsafe(false)
  /** Open while no loop runs. */
  const ended = Latch.makeUnsafe(true)

  const isActive = (): boolean => state._tag === "Starting" || state._tag === "Running" || state._tag === "Closing"

  const beginStop = (next: "Idle" | "Closed"): void => {
    state = { _tag: "Stopping", next: state._tag === "Closing" ? "Closed" : next }
    stopAt = Infinity
    options.onStopping()
  }

  const onExit = (exit: Exit.Exit<void, MeshError>): Effect.Effect<void> => {
    // If the loop was stopped, `stop` has already begun the transition.
    if (!isActive() || exit._tag === "Success") return options.onStopped
    beginStop("Idle")
    lastEnd = { loop: loops, cause: exit.cause }
    return options.onFailed(exit.cause)
  }

  const oneLoop = Effect.suspend(() => {
    state = { _tag: "Starting" }
    loops++
    requested.closeUnsafe()
    stopping.closeUnsafe()
    ended.closeUnsafe()
    const started = (connection: C): void => {
      if (state._tag === "Starting") state = { _tag: "Running", connection }
    }
    return options.onStarting.pipe(
      Effect.andThen(
        Effect.suspend(() => (isActive() ? Effect.raceFirst(loop(started), stopping.await) : Effect.void))
      ),
      Effect.exit,
      Effect.flatMap(onExit),
      Effect.andThen(
        Effect.sync(() => {
          state = { _tag: state._tag === "Stopping" ? state.next : "Closed" }
          ended.openUnsafe()
        })
      )
    )
  })

  const self: Lifecycle<C> = {
    onChanged: () => {},
    state: () => state,
    isOpen: () =>
      state._tag === "Stopping" ? state.next === "Idle" : state._tag !== "Closing" && state._tag !== "Closed",
    retain() {
      holders++
      stopAt = Infinity
      if (isActive()) return loops
      const serving = loops + 1
      requested.openUnsafe()
      return serving
    },
    release() {
      holders--
      if (holders > 0) return
      if (isActive()) {
        stopAt = now() + idleMillis
        self.onChanged()
      } else if (state._tag !== "Closed") {
        requested.closeUnsafe()
      }
    },
    start() {
      if (holders > 0 && !isActive()) requested.openUnsafe()
    },
    close() {
      switch (state._tag) {
        case "Idle":
          state = { _tag: "Closed" }
          requested.openUnsafe()
          break
        case "Starting":
        case "Running":
          state = { _tag: "Closing" }
          break
        case "Stopping":
          state = { _tag: "Stopping", next: "Closed" }
          requested.openUnsafe()
      }
    },
    stop: Effect.suspend(() => {
      if (isActive()) {
        beginStop("Closed")
        stopping.openUnsafe()
      }
      return ended.await
    }),
    abandon() {
      if (isActive()) options.onStopping()
      state = { _tag: "Closed" }
      ended.openUnsafe()
    },
    endOf: (number) => (lastEnd !== undefined && lastEnd.loop >= number ? lastEnd.cause : undefined),
    serves: (number) => isActive() && loops >= number,
    next: () => stopAt,
    sweep(time) {
      if (stopAt > time || holders > 0 || !isActive()) return
      beginStop("Idle")
      stopping.openUnsafe()
    },
    // Yields, so that the requesting fiber continues first: opening the latch runs this fiber synchronously.
    run: Effect.suspend(() => Effect.andThen(requested.await, Effect.yieldNow)).pipe(
      // The request may have been released before this fiber runs.
      Effect.andThen(Effect.suspend(() => (state._tag === "Idle" && requested.isOpen() ? oneLoop : Effect.void))),
      Effect.repeat({ while: () => state._tag !== "Closed" }),
      Effect.asVoid
    )
  }
  return self
}
