/**
 * The elements that the feed of a relay has delivered and the relay has not handled yet.
 *
 * The feed is read while an append is in progress: otherwise a relay that keeps up could not
 * be distinguished from one that does not. The inbox has a bound, so a slow log slows the
 * feed.
 */
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import type { MeshEvent } from "@makima-stream/core/MeshEvent"

export class Inbox {
  readonly #capacity: number
  #elements: Array<MeshEvent> = []
  #isHandling = false
  /** Open while there are elements. */
  readonly #filled = Latch.makeUnsafe(false)
  /** Open while there is room for more. */
  readonly #room = Latch.makeUnsafe(true)

  /** `capacity` may be exceeded by one batch. */
  constructor(capacity: number) {
    this.#capacity = capacity
  }

  /** Whether every element has been handled. */
  get isIdle(): boolean {
    return !this.#isHandling && this.#elements.length === 0
  }

  /** Adds elements. Then waits until there is room for more. */
  offer(events: ReadonlyArray<MeshEvent>): Effect.Effect<void> {
    return Effect.suspend(() => {
      for (const event of events) this.#elements.push(event)
      this.#filled.openUnsafe()
      if (this.#elements.length < this.#capacity) return Effect.void
      this.#room.closeUnsafe()
      return this.#room.await
    })
  }

  /** Waits for elements, removes them all, and handles them. */
  handle<E>(run: (events: ReadonlyArray<MeshEvent>) => Effect.Effect<void, E>): Effect.Effect<void, E> {
    return Effect.andThen(
      this.#filled.await,
      Effect.suspend(() => {
        const events = this.#elements
        this.#elements = []
        this.#isHandling = true
        this.#filled.closeUnsafe()
        // Runs the fiber that waits in `offer`, which may fill the inbox again.
        this.#room.openUnsafe()
        return Effect.tap(run(events), () =>
          Effect.sync(() => {
            this.#isHandling = false
          })
        )
      })
    )
  }
}
