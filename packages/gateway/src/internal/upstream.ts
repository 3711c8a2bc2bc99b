/** The connection of a gateway to the server: one fiber that routes its events, and the interest that it requests. */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import * as Stream from "effect/Stream"
import * as SubscriptionRef from "effect/SubscriptionRef"
import type * as Socket from "effect/socket/Socket"
import * as Interest from "@makima-stream/core/Interest"
import type { MeshError } from "@makima-stream/core/MeshError"
import * as MeshEvent from "@makima-stream/core/MeshEvent"
import type * as MeshSession from "@makima-stream/core/MeshSession"
import * as MeshStream from "@makima-stream/core/MeshStream"
import * as Repair from "@makima-stream/core/Repair"
import type * as TaskBoard from "@makima-stream/core/TaskBoard"
import * as Board from "./board.ts"
import * as History from "./history.ts"
import * as Hub from "./hub.ts"
import type { LimitSettings } from "./options.ts"

export interface ConnectionOptions
  extends MeshSession.Options, Pick<MeshStream.ConnectOptions, "policy" | "connections"> {
  /** Closes gaps of updates with snapshots: see `Repair`. Clients with marks receive its elements. Defaults to none. */
  readonly repair?: Repair.Options | undefined
  /**
   * Called with each lifecycle element of the connection, for a program that shows its state. The feed
   * waits for the effect. Defaults to nothing.
   */
  readonly onLifecycle?: ((element: MeshEvent.Lifecycle) => Effect.Effect<void>) | undefined
}

export interface Options {
  readonly connection: ConnectionOptions | undefined
  readonly board: TaskBoard.Options | undefined
  /** The board begins with what it knows. */
  readonly log: History.Log | undefined
  /** Whether the gateway itself subscribes to the updates of all tasks. */
  readonly followAll: boolean
  readonly settings: LimitSettings
}

/** Connects in the background. The scope owns the connection. */
export const make = Effect.fnUntraced(function* ({ connection, followAll, log, settings, ...options }: Options) {
  const state = yield* SubscriptionRef.make<MeshSession.SubscriptionState>({
    epoch: 0,
    requested: Interest.empty,
    confirmed: Interest.empty,
    unconfirmed: Interest.empty
  })
  const current = () => SubscriptionRef.getUnsafe(state)
  const changed = Latch.makeUnsafe(false)
  const failure = Latch.makeUnsafe(false)
  const failed = yield* Deferred.make<never, MeshError>()
  const board = Board.make(options.board)
  const clock = yield* Clock.Clock
  const hub = Hub.make({
    idleMillis: settings.idleMillis,
    maxReplay: settings.maxReplay,
    maxSubscriptions: settings.maxSubscriptions,
    onChanged: () => changed.openUnsafe(),
    stateOf: board.restated
  })
  if (followAll) hub.pin("all")
  const interest = yield* SubscriptionRef.make(hub.interest())

  const { onLifecycle, repair, ...connect } = connection ?? {}
  const events: Stream.Stream<MeshEvent.MeshEvent, MeshError, Socket.Socket> = MeshStream.connect({
    ...connect,
    interest,
    subscriptions: state
  })
  const feed = repair === undefined ? events : Repair.repair(events, repair)

  // Yields, so that the requests of one batch become one change.
  yield* changed.await.pipe(
    Effect.andThen(Effect.yieldNow),
    Effect.andThen(
      Effect.suspend(() => {
        changed.closeUnsafe()
        return SubscriptionRef.set(interest, hub.interest())
      })
    ),
    Effect.forever,
    Effect.forkScoped
  )
  yield* SubscriptionRef.changes(state).pipe(
    Stream.runForEach(() => Effect.sync(() => hub.observe(current()))),
    Effect.forkScoped
  )
  const seeded = log === undefined ? Effect.void : History.present(log, (event, at) => board.take([event], at))
  const routed = feed.pipe(
    Stream.runForEachArray((batch) =>
      Effect.suspend(() => {
        hub.route(batch, current())
        board.take(batch, clock.currentTimeMillisUnsafe())
        return onLifecycle === undefined
          ? Effect.void
          : Effect.forEach(batch.filter(MeshEvent.isLifecycle), onLifecycle, { discard: true })
      })
    )
  )
  yield* Effect.andThen(seeded, routed).pipe(
    Effect.catchCause((cause) =>
      Cause.hasInterruptsOnly(cause) ? Effect.void : Effect.andThen(Deferred.failCause(failed, cause), failure.open)
    ),
    Effect.forkScoped
  )
  return {
    board,
    hub,
    failure,
    hasFailed: () => failure.isOpen(),
    awaitFailure: Deferred.await(failed),
    sweep: (now: number) => hub.sweep(now, current())
  }
})
