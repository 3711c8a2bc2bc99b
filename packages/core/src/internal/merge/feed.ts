/**
 * A feed over several connections: one reconnecting loop for each, whose elements
 * go through the merge.
 *
 * - One fiber for each connection pulls it, and waits until the consumer has taken
 *   its last batch. The consumer's pull merges, so the interest and the
 *   confirmations change in the order in which elements are pulled.
 * - One fiber requests boundaries (`boundaryRequests.ts`).
 * - Dials are at least `dialSpacing` apart, so that a server that has just started
 *   again is not dialled twice at once.
 *
 * Invariants: heartbeat, backoff and epoch belong to each connection; the merged
 * feed fails when every connection has failed.
 */
import { isReadonlyArrayNonEmpty, type NonEmptyReadonlyArray } from "effect/Array"
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import * as Metric from "effect/Metric"
import * as Scope from "effect/Scope"
import * as Socket from "effect/socket/Socket"
import * as SubscriptionRef from "effect/SubscriptionRef"
import type * as MeshError from "../../MeshError.ts"
import type { Connected, Disconnected, MeshEvent, Resync } from "../../MeshEvent.ts"
import * as MeshMetrics from "../../MeshMetrics.ts"
import type { UnknownMessage } from "../../ServerMessage.ts"
import * as Connection from "../session/connection.ts"
import type { Group, MergedOptions } from "../session/connections.ts"
import type { Extension } from "../session/extension.ts"
import type { Key } from "../session/subscriptions.ts"
import { monotonicMillis } from "../time.ts"
import * as BoundaryRequests from "./boundaryRequests.ts"
import * as BoundarySocket from "./boundarySocket.ts"
import { Machine, type Settings } from "./machine.ts"
import * as Renewal from "./renewal.ts"
import { Statuses } from "./statuses.ts"
import * as Table from "./table.ts"

export interface GroupOptions {
  readonly settings: Omit<Settings, "epoch" | "isWanted">
  /** The sockets of the connections after the first. */
  readonly sockets: ReadonlyArray<Socket.Socket>
}

/** The shortest time between two dials, in milliseconds. */
export const dialSpacing = 1000

/** How long a connection that has given up is not dialled, in milliseconds, while another one has not. */
const redialAfter = 300_000

/** A key of a connection's table that was confirmed, at its place among the elements. */
interface Placed {
  readonly _tag: "Placed"
  readonly key: Key
}

type Element<Extra> = MeshEvent | Extra

type Batch<Extra> = NonEmptyReadonlyArray<Element<Extra>>

/** A batch of a connection, for the consumer. */
interface Delivery {
  readonly input: number
  readonly batch: NonEmptyReadonlyArray<MeshEvent | Placed>
  /** Opened when it is taken: the connection may be pulled again. */
  readonly taken: Latch.Latch
}

export const group = (options: GroupOptions, ackTimeout: number): Group => {
  const table = Table.make(options.settings.inputs, ackTimeout)
  const dials: Dials = { lastAt: -Infinity }
  return {
    subscriptions: table.subscriptions,
    make: Effect.fnUntraced(function* <Extra = never>(
      own: MergedOptions<Extra>
    ): Effect.fn.Return<Connection.Connection<Extra>, never, Socket.Socket | Scope.Scope> {
      const feed = new MergedFeed<Extra>(options, own, table, dials, {
        scope: yield* Effect.scope,
        clock: yield* Clock.Clock,
        context: yield* Effect.context<never>()
      })
      yield* feed.open(yield* Socket.Socket)
      return { pull: feed.pull, reconnect: feed.reconnect }
    })
  }
}

/** Kept across loops, because the next loop may start at once. */
interface Dials {
  /** When a connection was last dialled. */
  lastAt: number
}

interface Parts {
  readonly scope: Scope.Scope
  readonly clock: Clock.Clock
  readonly context: Context.Context<never>
}

/** One connection of the feed. */
interface Input {
  /** Replaced when a connection that has given up is dialled again. */
  connection: Connection.Connection<Placed>
  /** How often it has connected. */
  epoch: number
  readonly boundaries: BoundarySocket.BoundarySocket
  readonly subscriptions: Table.Table["subscriptions"]
  /** The confirmed keys, until the whole interest is confirmed. */
  readonly placed: Set<Key>
}

/**
 * Reports invalid messages of an extension where a connection decodes them, and leaves
 * the others unknown: the merge drops the second copy before it is decoded, and the
 * element then has the epoch of the merged feed.
 */
const validating = (extension: Extension): Extension => ({
  decode(message, epoch, size) {
    const decoded = extension.decode(message, epoch, size)
    return decoded?._tag === "DecodeError" ? decoded : undefined
  }
})

class MergedFeed<Extra> {
  readonly #options: GroupOptions
  readonly #own: MergedOptions<Extra>
  readonly #table: Table.Table
  readonly #dials: Dials
  readonly #parts: Parts
  readonly #machine: Machine
  #inputs: ReadonlyArray<Input> = []
  readonly #statuses: Statuses
  readonly #requests: BoundaryRequests.BoundaryRequests
  #epoch: number
  #isConnected = false
  #isRunning = false
  /** The batches that the consumer has not taken: at most one of each connection. */
  readonly #ready: Array<Delivery> = []
  /** The `Connected` for the next pull, where it is the first of its batch. */
  #next: Connected | undefined
  /** The mark of the replay. It waits until the keys that were wanted at the start of the replay are confirmed. */
  #mark: Resync | undefined
  #ended: Cause.Cause<MeshError.MeshError> | undefined
  #failed = 0
  /** Released when the program wants to connect again. */
  readonly #redial = Latch.makeUnsafe(false)
  readonly #renew: Effect.Effect<void>
  #publishedRevision = -1
  /** Open while something is ready. */
  readonly #items = Latch.makeUnsafe(false)
  /** How many disagreements and overruns were seen. */
  #seen = 0

  constructor(options: GroupOptions, own: MergedOptions<Extra>, table: Table.Table, dials: Dials, parts: Parts) {
    this.#dials = dials
    this.#options = options
    this.#own = own
    this.#table = table
    this.#parts = parts
    this.#epoch = own.epoch ?? 0
    this.#statuses = new Statuses(options.settings.inputs)
    this.#machine = new Machine({
      ...options.settings,
      epoch: this.#epoch,
      isWanted: table.isWanted,
      isConfirmed: table.isConfirmed
    })
    this.#renew = Renewal.make(
      () =>
        this.#inputs.map((input, i) => ({
          reconnect: Effect.suspend(() => input.connection.reconnect),
          epoch: () => input.epoch,
          isAligned: () => this.#machine.isAligned(i)
        })),
      parts.scope
    )
    this.#requests = BoundaryRequests.make({
      isJoining: (kind) => this.#machine.isJoining(kind),
      isLagging: (kind) => this.#machine.isLagging(kind),
      request: (kind) =>
        Effect.suspend(() => {
          const now = this.#now()
          return Effect.forEach(this.#inputs, ({ boundaries }) => boundaries.request(kind, now), { discard: true })
        }),
      // A message may have aligned an input since the last round.
      afterRound: this.#publishStatus
    })
    table.onUnwanted = (kind, taskId) => this.#machine.forget(kind, taskId, this.#now())
  }

  #now(): number {
    return monotonicMillis(this.#parts.clock)
  }

  /** Makes the connections. Nothing is dialled before the first pull. */
  open(first: Socket.Socket): Effect.Effect<void, never, Scope.Scope> {
    const stopped = Scope.addFinalizer(
      this.#parts.scope,
      Effect.sync(() => this.#table.stopped())
    )
    const inputs = Effect.forEach(this.#table.connections, (subscriptions, i) => {
      const boundaries = BoundarySocket.make((i === 0 ? undefined : this.#options.sockets[i - 1]) ?? first)
      const parts = { subscriptions, boundaries, epoch: 0 }
      return Effect.map(this.#connect(i, parts), (connection): Input => ({ ...parts, connection, placed: new Set() }))
    })
    return Effect.andThen(
      stopped,
      Effect.map(inputs, (made) => void (this.#inputs = made))
    )
  }

  #connect(
    i: number,
    { boundaries, epoch, subscriptions }: Pick<Input, "boundaries" | "epoch" | "subscriptions">
  ): Effect.Effect<Connection.Connection<Placed>> {
    const { extension, mayBeWanted, policy, settings } = this.#own
    return Connection.make<Placed>({
      settings,
      policy,
      mayBeWanted,
      epoch,
      subscriptions,
      extension: extension === undefined ? undefined : validating(extension),
      onDial: (attempt) => this.#onDial(i, attempt),
      onConfirmed: (key) => ({ _tag: "Placed", key })
    }).pipe(Effect.provideService(Socket.Socket, boundaries.socket), Scope.provide(this.#parts.scope))
  }

  // ---------------------------------------------------------------------------
  // the consumer's side
  // ---------------------------------------------------------------------------

  /** Everything happens in the order in which the consumer pulls it. */
  readonly pull: Effect.Effect<Batch<Extra>, MeshError.MeshError> = Effect.suspend(() => {
    if (this.#next !== undefined) {
      const out: Array<Element<Extra>> = []
      this.#start(this.#next, out)
      return this.#published(out)
    }
    const delivery = this.#ready.shift()
    if (delivery !== undefined) {
      const out: Array<Element<Extra>> = []
      const changed = this.#take(delivery, out)
      // Last, because opening the latch runs the waiting fiber at once, and the connection's table would change too early.
      delivery.taken.openUnsafe()
      if (changed) return this.#published(out)
      return isReadonlyArrayNonEmpty(out) ? Effect.succeed(out) : this.pull
    }
    if (this.#ended !== undefined) return Effect.failCause(this.#ended)
    this.#items.closeUnsafe()
    const wait = Effect.flatMap(this.#items.await, () => this.pull)
    if (this.#isRunning) return wait
    this.#isRunning = true
    return Effect.andThen(this.#run, wait)
  })

  #published(out: ReadonlyArray<Element<Extra>>): Effect.Effect<Batch<Extra>, MeshError.MeshError> {
    this.#requests.wake()
    const publish = Effect.andThen(this.#publishStatus, this.#publishSubscriptions)
    return Effect.andThen(publish, isReadonlyArrayNonEmpty(out) ? Effect.succeed(out) : this.pull)
  }

  /** Renews all connections, one after the other. */
  readonly reconnect: Effect.Effect<void> = Effect.suspend(() => Effect.andThen(this.#redial.release, this.#renew))

  readonly #run: Effect.Effect<void> = Effect.suspend(() =>
    Effect.forEach(
      [...this.#inputs.map((input, i) => this.#read(input, i)), this.#requests.run],
      (effect) => Effect.forkIn(effect, this.#parts.scope),
      { discard: true }
    )
  )

  // ---------------------------------------------------------------------------
  // the connections' side
  // ---------------------------------------------------------------------------

  /** Reads one connection. When it gives up, waits and dials it again, while another connection has not given up. */
  #read(input: Input, i: number): Effect.Effect<void> {
    const taken = Latch.makeUnsafe(true)
    const deliver = (batch: Delivery["batch"]): void => {
      taken.closeUnsafe()
      this.#ready.push({ input: i, batch, taken })
      this.#items.openUnsafe()
    }
    const redial = Effect.raceFirst(Effect.sleep(redialAfter), this.#redial.await).pipe(
      Effect.andThen(Effect.suspend(() => this.#connect(i, input))),
      Effect.map((connection) => {
        this.#failed--
        input.connection = connection
      })
    )
    return Effect.suspend(() => input.connection.pull).pipe(
      Effect.map(deliver),
      Effect.andThen(taken.await),
      Effect.forever({ disableYield: true }),
      Effect.catchCause((cause) =>
        Cause.hasInterruptsOnly(cause) ? Effect.interrupt : Effect.andThen(this.#onFailed(i, cause), redial)
      ),
      Effect.forever
    )
  }

  /** Merges a batch of a connection. Returns whether it had anything besides data. */
  #take({ batch, input }: Delivery, out: Array<Element<Extra>>): boolean {
    const now = this.#now()
    let changed = false
    let start = 0
    const flush = (end: number): void => {
      if (end > start) {
        const part = start === 0 && end === batch.length ? batch : batch.slice(start, end)
        // The parts between the places of confirmations and boundaries are events.
        this.#append(this.#machine.offer(input, part as ReadonlyArray<MeshEvent>, now), out)
      }
      start = end
    }
    for (let at = 0; at < batch.length; at++) {
      const element = batch[at] as MeshEvent | Placed
      switch (element._tag) {
        case "Placed":
          flush(at)
          start++
          this.#onPlaced(input, element.key, now, out)
          changed = true
          break
        case "UnknownMessage": {
          const boundary = BoundarySocket.boundaryOf(element)
          if (boundary === undefined) break
          flush(at)
          start++
          for (const kind of boundary.kinds) {
            this.#append(this.#machine.boundary(input, kind, boundary.time, now), out)
          }
          changed = true
          break
        }
        case "Resync":
          if (element.reason._tag === "Started" || element.reason._tag === "Reconnected") {
            this.#inputs[input]?.placed.clear()
          }
          changed = true
          break
        case "Connected":
        case "Disconnected":
          this.#note(input, element)
          changed = true
      }
    }
    flush(batch.length)
    const { disagreements, overruns } = this.#machine.stats()
    if (disagreements + overruns > this.#seen) {
      MeshMetrics.mergeDisagreements.updateUnsafe(disagreements + overruns - this.#seen, this.#parts.context)
      this.#seen = disagreements + overruns
      changed = true
    }
    return changed
  }

  /** Appends elements of the merged feed, and applies them to the feed's table. */
  #append(elements: ReadonlyArray<MeshEvent>, out: Array<Element<Extra>>): void {
    for (const element of elements) {
      switch (element._tag) {
        case "Connected":
          if (out.length > 0) this.#next = element
          else this.#start(element, out)
          continue
        case "Disconnected":
          this.#isConnected = false
          this.#mark = undefined
          this.#table.stopped()
          out.push(this.#mayGoOn(element))
          continue
        case "Resync":
          if (this.#onMark(element)) continue
          break
        case "UnknownMessage":
          out.push(this.#extended(element))
          continue
      }
      out.push(element)
    }
  }

  /** Decodes a message of an extension, once for all connections. */
  #extended(message: UnknownMessage): MeshEvent {
    // The size is only for errors, which `validating` has found.
    const element = this.#own.extension?.decode(message.raw, this.#epoch, 0)
    return element === undefined || element._tag === "DecodeError" ? message : element
  }

  /** The merged feed is connected. */
  #start(element: Connected, out: Array<Element<Extra>>): void {
    this.#next = undefined
    this.#epoch = element.epoch
    this.#isConnected = true
    this.#table.started()
    this.#own.onReplay?.()
    out.push(element)
    for (const key of this.#inputs[this.#machine.lead()]?.placed ?? []) this.#confirm(key, out)
  }

  /** The end of one connection does not end the feed while another connection tries to connect. */
  #mayGoOn(element: Disconnected): Disconnected {
    if (element.retryInMillis !== undefined || this.#failed + 1 >= this.#inputs.length) return element
    return { ...element, retryInMillis: 0 }
  }

  /** Applies a mark to the table. Returns whether the mark has to wait. */
  #onMark(mark: Resync): boolean {
    const { reason, taskId, unconfirmed } = mark
    switch (reason._tag) {
      case "Unaligned":
        MeshMetrics.recordGap("Unaligned", this.#parts.context)
        return false
      case "Subscribed":
        if (unconfirmed !== undefined) this.#table.overdue(reason.kind, taskId)
        return false
      case "Started":
      case "Reconnected":
        if (unconfirmed !== undefined) this.#table.expire()
        if (this.#table.subscriptions.takeReplayEnd() !== undefined) return false
        this.#mark = mark
        return true
      default:
        return false
    }
  }

  #onPlaced(input: number, key: Key, now: number, out: Array<Element<Extra>>): void {
    if (key.taskId !== undefined) {
      this.#machine.confirmKey(input, key.kind === "output" ? "output" : "updates", key.taskId, now)
    }
    this.#inputs[input]?.placed.add(key)
    if (this.#isConnected && this.#next === undefined) this.#confirm(key, out)
  }

  /** Confirms a key of a connection's table in the feed's table. */
  #confirm(own: Key, out: Array<Element<Extra>>): void {
    const key = this.#table.confirmed(own)
    const { onConfirmed } = this.#own
    if (key !== undefined && onConfirmed !== undefined) out.push(onConfirmed(key, this.#epoch))
    if (this.#mark === undefined || this.#table.subscriptions.takeReplayEnd() === undefined) return
    out.push(this.#mark)
    this.#mark = undefined
  }

  #onFailed(i: number, cause: Cause.Cause<MeshError.MeshError>): Effect.Effect<void> {
    this.#failed++
    const error = Cause.findError(cause)
    if (error._tag === "Success") this.#statuses.failed(i, error.success)
    // A defect of the program, such as a `classify` that throws, ends the feed.
    if (this.#failed === this.#inputs.length || error._tag !== "Success") {
      this.#ended ??= cause
      this.#items.openUnsafe()
    }
    return Effect.andThen(
      this.#publishStatus,
      Effect.logWarning("One of several connections to the task feed gave up", cause)
    )
  }

  // ---------------------------------------------------------------------------
  // dials
  // ---------------------------------------------------------------------------

  #onDial(i: number, attempt: number): Effect.Effect<void> {
    return Effect.suspend(() => {
      const wait = this.#dials.lastAt + dialSpacing - this.#now()
      if (wait > 0) return Effect.andThen(Effect.sleep(Math.ceil(wait)), this.#onDial(i, attempt))
      this.#dials.lastAt = this.#now()
      this.#machine.open(i, this.#dials.lastAt)
      this.#statuses.dialled(i, attempt)
      const { onDial } = this.#own
      const dialled = onDial === undefined || this.#isConnected ? Effect.void : onDial(attempt)
      return Effect.andThen(dialled, this.#publishStatus)
    }).pipe(Effect.interruptible)
  }

  // ---------------------------------------------------------------------------
  // what is visible
  // ---------------------------------------------------------------------------

  #note(i: number, element: Connected | Disconnected): void {
    const input = this.#inputs[i]
    input?.placed.clear()
    if (element._tag === "Connected") {
      if (input !== undefined) input.epoch = element.epoch
      this.#statuses.connected(i, element)
    } else {
      this.#statuses.disconnected(i, element)
    }
  }

  readonly #publishStatus: Effect.Effect<void> = Effect.suspend(() => {
    const { aligned, statuses } = this.#statuses.refresh((i) => this.#machine.isAligned(i))
    const record = Metric.update(MeshMetrics.connectionsAligned, aligned)
    const { onStatus } = this.#own
    return onStatus === undefined ? record : Effect.andThen(record, onStatus(statuses))
  })

  readonly #publishSubscriptions: Effect.Effect<void> = Effect.suspend(() => {
    const { subscriptionState } = this.#own
    const { subscriptions } = this.#table
    if (subscriptionState === undefined || subscriptions.revision() === this.#publishedRevision) return Effect.void
    return SubscriptionRef.update(subscriptionState, () => {
      this.#publishedRevision = subscriptions.revision()
      return { epoch: this.#epoch, ...subscriptions.current() }
    })
  })
}
