/**
 * One connection of the proxy: a socket to the client, a socket to the target, and a
 * `shapedPipe` in each direction.
 *
 * Invariants: a frozen connection passes neither bytes nor ends; its fibers end when
 * both of its sockets have closed.
 */
import type { Clock } from "effect/Clock"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import * as Latch from "effect/Latch"
import type * as Net from "node:net"
import * as ShapedPipe from "./shapedPipe.ts"

/**
 * The direction of bytes through a proxy. `ChaosProxy` exports it.
 *
 * @category models
 * @since 0.2.0
 */
export type Direction = "toServer" | "toClient"

/** What is known of a connection. Times are in milliseconds since 1970. */
export interface State {
  readonly id: number
  readonly openedAt: number
  closedAt: number | undefined
  injury: "killed" | "frozen" | undefined
}

export interface Options {
  readonly id: number
  readonly clock: Clock
  /** Returns a number between 0 and 1. */
  readonly random: () => number
  readonly conditions: Readonly<Record<Direction, ShapedPipe.Conditions>>
  readonly maxInFlightBytes: number
  /** Starts an effect in the scope of the proxy. */
  readonly fork: (effect: Effect.Effect<unknown>) => Fiber.Fiber<unknown>
}

/** The next chunk, or `undefined` at the end. */
const read = (from: Net.Socket): Effect.Effect<Buffer | undefined> =>
  Effect.callback<Buffer | undefined>((resume) => {
    const take = (): boolean => {
      // A socket without an encoding reads buffers.
      const chunk = from.read() as Buffer | null
      if (chunk === null && !from.readableEnded && !from.destroyed) return false
      detach()
      resume(Effect.succeed(chunk ?? undefined))
      return true
    }
    const detach = (): void => {
      from.off("readable", take)
      from.off("end", take)
      from.off("close", take)
    }
    if (take()) return
    from.on("readable", take)
    from.on("end", take)
    from.on("close", take)
    return Effect.sync(detach)
  })

/** Writes data. Waits until the network has accepted it, or the socket has closed. */
const write = (to: Net.Socket, data: Uint8Array): Effect.Effect<void> =>
  Effect.callback<void>((resume) => {
    if (to.destroyed || to.write(data)) return resume(Effect.void)
    const done = (): void => {
      to.off("drain", done)
      to.off("close", done)
      resume(Effect.void)
    }
    to.on("drain", done)
    to.on("close", done)
  })

export class Link {
  readonly state: State
  readonly pipes: Readonly<Record<Direction, ShapedPipe.ShapedPipe>>
  readonly #near: Net.Socket
  readonly #far: Net.Socket
  /** Open while bytes may pass. */
  readonly #gate = Latch.makeUnsafe(true)
  readonly #options: Options
  #frozen = false
  #wasReset = false

  constructor(near: Net.Socket, far: Net.Socket, options: Options) {
    this.#near = near
    this.#far = far
    this.#options = options
    this.state = {
      id: options.id,
      openedAt: options.clock.currentTimeMillisUnsafe(),
      closedAt: undefined,
      injury: undefined
    }
    this.pipes = { toServer: this.#pipe(near, far, "toServer"), toClient: this.#pipe(far, near, "toClient") }
    const passing = options.fork(
      Effect.all([this.pipes.toServer.run, this.pipes.toClient.run], { concurrency: "unbounded" })
    )
    for (const socket of [near, far]) {
      socket.on("error", () => this.#onError())
      socket.on("close", () => this.#onClose(passing))
    }
  }

  kill(): void {
    this.state.injury = "killed"
    this.#gate.openUnsafe()
    this.#reset()
  }

  freeze(): void {
    this.#frozen = true
    this.state.injury ??= "frozen"
    this.#gate.closeUnsafe()
  }

  thaw(): void {
    this.#frozen = false
    if (this.#wasReset) this.#reset()
    this.#gate.openUnsafe()
  }

  #pipe(from: Net.Socket, to: Net.Socket, direction: Direction): ShapedPipe.ShapedPipe {
    const { clock, conditions, maxInFlightBytes, random } = this.#options
    return ShapedPipe.make(
      { read: read(from), write: (piece) => write(to, piece), end: () => to.end() },
      { clock, gate: this.#gate, random, conditions: conditions[direction], maxInFlightBytes }
    )
  }

  #reset(): void {
    for (const socket of [this.#near, this.#far]) if (!socket.destroyed) socket.resetAndDestroy()
  }

  /** A reset of one side resets the other one, unless the connection is frozen. */
  #onError(): void {
    this.#wasReset = true
    if (!this.#frozen) this.#reset()
  }

  #onClose(passing: Fiber.Fiber<unknown>): void {
    if (!this.#near.destroyed || !this.#far.destroyed) return
    this.state.closedAt ??= this.#options.clock.currentTimeMillisUnsafe()
    // Nothing can arrive any more, so fibers that wait for a delay are ended.
    passing.interruptUnsafe()
  }
}
