/**
 * The state of a relay: its role, and what it knows of its feed and of the log. Synchronous:
 * `relay.ts` has the fibers, which change it under one lock.
 *
 * A holder writes `pending`. If it loses the lease, or releases it because its feed ended,
 * `pending` stays. If the same relay also has the next term, no other relay has written in
 * between, and it continues with `pending` and the same ids. Otherwise another relay has
 * written what the log lacked, and this relay aligns its feed with the log again.
 *
 * Invariants:
 *
 * 1. `holding` is open exactly while the role is `holder`, and `waiting` while it is `standby`,
 *    except in `writeEnd` of `seek.ts`, where a relay without a feed writes the end of its feed.
 * 2. `cursor` never decreases. Every entry of the log up to it is part of `log`.
 */
import * as Latch from "effect/Latch"
import type { MeshEvent } from "@makima-stream/core/MeshEvent"
import type { Entry, Lease, NewEvent } from "../../MeshLog.ts"
import type { Status } from "../../Relay.ts"
import { lateMillis, Lateness } from "./lateness.ts"
import { isConfirmation, Standby } from "./standby.ts"
import * as Writer from "./writer.ts"

/** The events that a relay without the lease still has to write if it has the next term. */
export interface Unwritten {
  readonly term: number
  readonly writer: Writer.Writer
  readonly pending: Array<NewEvent>
}

/** The role of the relay that has the lease. */
export interface Holder {
  readonly role: "holder"
  readonly lease: Lease
  readonly writer: Writer.Writer
  readonly pending: Array<NewEvent>
}

/** The role of a relay that waits for the lease. */
export interface Waiting {
  readonly role: "standby"
  readonly standby: Standby
  unwritten: Unwritten | undefined
  /** How many events of `unwritten` the log has delivered. */
  echoed: number
}

export interface Options {
  /** The name of the relay in the ids of its events. */
  readonly relay: string
  /** Times in milliseconds. */
  readonly timeToLive: number
  readonly skew: number
  readonly capacity: number
  readonly clock: {
    /** Milliseconds on the monotonic clock. */
    readonly monotonic: () => number
    /** Milliseconds since 1970. */
    readonly wall: () => number
  }
}

export class RelayState {
  /** Open while the feed is confirmed. */
  readonly confirmed = Latch.makeUnsafe(false)
  /** Open while the feed is not connected. */
  readonly disconnected = Latch.makeUnsafe(true)
  /** Open while the relay is a standby. */
  readonly waiting = Latch.makeUnsafe(true)
  /** Open while the relay holds the lease. */
  readonly holding = Latch.makeUnsafe(false)
  readonly lateness: Lateness
  readonly #options: Options
  #current: Holder | Waiting
  #cursor: number
  #log: Writer.LogState
  /** When the feed was confirmed. */
  #confirmedAt = Number.POSITIVE_INFINITY
  /** When this relay, as the holder, had appended everything that its feed had delivered. */
  #writtenAt: number | undefined
  /** When the feed of the holder had delivered what the log certainly has. */
  #completeAt: number | undefined

  constructor(options: Options, start: { readonly log: Writer.LogState; readonly cursor: number }) {
    this.#options = options
    this.#log = start.log
    this.#cursor = start.cursor
    this.lateness = new Lateness(this.#now())
    this.#current = { role: "standby", standby: this.#makeStandby(), unwritten: undefined, echoed: 0 }
  }

  #now(): number {
    return this.#options.clock.monotonic()
  }

  #makeStandby(): Standby {
    const { capacity, skew } = this.#options
    return new Standby({ feedLag: skew + lateMillis, capacity, isLogOpen: this.#log.isOpen }, this.#now())
  }

  // -------------------------------------------------------------------------
  // what others read
  // -------------------------------------------------------------------------

  get current(): Holder | Waiting {
    return this.#current
  }

  /** The position up to which this relay knows the log. */
  get cursor(): number {
    return this.#cursor
  }

  /** When the feed of the holder had delivered what the log certainly has; `undefined` if that is not known. */
  get completeAt(): number | undefined {
    return this.#completeAt
  }

  /** How many milliseconds ago the holder had written everything; `undefined` if that is not known. */
  get behind(): number | undefined {
    return this.#writtenAt === undefined ? undefined : this.#now() - this.#writtenAt
  }

  /** Whether a standby must not take more of its feed. */
  get isFull(): boolean {
    if (this.#current.role === "holder") return false
    const { standby, unwritten } = this.#current
    return standby.isFull || (unwritten?.pending.length ?? 0) >= this.#options.capacity
  }

  get status(): Status {
    const current = this.#current
    return {
      role: current.role,
      term: current.role === "holder" ? current.lease.term : 0,
      isConnected: this.confirmed.isOpen(),
      isAligned: current.role === "holder" || current.standby.isAligned
    }
  }

  /**
   * Returns how many milliseconds longer than others this relay waits for a lease that is free.
   * The better it knows what the log lacks, the earlier it takes the lease.
   */
  delay(renewedAt: number): number {
    if (this.#current.role === "holder" || this.#current.standby.isAligned) return 0
    // A feed that was confirmed while the holder lived has delivered everything since, for the tasks that it knew.
    const age = renewedAt - this.#confirmedAt
    return age >= 2 * this.#options.timeToLive ? 150 : age >= 0 ? 300 : 450
  }

  // -------------------------------------------------------------------------
  // the feed
  // -------------------------------------------------------------------------

  /** Records what an element of the feed says about its connection. */
  observe(event: MeshEvent): void {
    if (event._tag === "Disconnected") {
      this.confirmed.closeUnsafe()
      this.disconnected.openUnsafe()
      return
    }
    this.disconnected.closeUnsafe()
    if (!isConfirmation(event)) return
    if (!this.confirmed.isOpen()) this.#confirmedAt = this.#now()
    this.confirmed.openUnsafe()
  }

  /** Takes elements of the feed. A holder must append `pending` afterwards. */
  offerFeed(events: ReadonlyArray<MeshEvent>): void {
    const current = this.#current
    if (current.role === "standby") current.standby.offerFeed(events, this.#now())
    const { pending, writer } = current.role === "holder" ? current : (current.unwritten ?? {})
    if (writer !== undefined) pending?.push(...events.map(writer.toNew))
  }

  /** The relay did not read its feed for a while. */
  feedIsLate(): void {
    if (this.#current.role === "standby") this.#current.standby.feedIsLate(this.#now())
  }

  /** The relay has handled everything that its feed delivered before `time`. */
  feedIsCurrent(time: number): void {
    if (!this.lateness.isLate && this.#current.role === "standby" && this.confirmed.isOpen()) {
      this.#current.standby.feedIsCurrent(time, this.#now())
    }
    this.handled(time)
  }

  /** The relay has handled everything that it received before `time`. A holder that has nothing to write has then written it. */
  handled(time: number): void {
    if (this.#current.role === "holder" && this.#current.pending.length === 0) this.#writtenAt = time
  }

  // -------------------------------------------------------------------------
  // the log
  // -------------------------------------------------------------------------

  /** A standby has read an entry of the log. */
  receiveEntry(waiting: Waiting, { at, event, position }: Entry): void {
    if (position <= this.#cursor) return
    this.#cursor = position
    this.#log = Writer.after(this.#log, event, at)
    waiting.standby.offerLog(event, this.#now())
    if (waiting.unwritten === undefined) return
    // An append that seemed to fail may have been stored. Anything else is from another relay, which has taken over.
    const expected = waiting.unwritten.pending[waiting.echoed]?.event
    if (JSON.stringify(expected) === JSON.stringify(event)) waiting.echoed++
    else waiting.unwritten = undefined
  }

  /** The log has stored the first `count` of the pending events. `position` is that of the last one. */
  appended({ pending }: Holder, count: number, position: number): void {
    const at = this.#options.clock.wall()
    this.#cursor = Math.max(this.#cursor, position)
    for (const { event } of pending.splice(0, count)) this.#log = Writer.after(this.#log, event, at)
  }

  /** A renewal of the lease has proven that the log has everything that the holder's feed had delivered before `time`. */
  holderWasComplete(time: number): void {
    this.#completeAt = time
  }

  /** The relay has read the log to its end, and the log had everything before `time`. */
  logIsCurrent(time: number): void {
    if (this.#current.role === "standby") this.#current.standby.logIsCurrent(time, this.#now())
  }

  // -------------------------------------------------------------------------
  // the role
  // -------------------------------------------------------------------------

  /**
   * The standby has acquired the lease and read the log to its end. It becomes the holder, with
   * what the log lacks as `pending`.
   */
  takeOver({ standby, unwritten }: Waiting, lease: Lease): Holder {
    const holder =
      unwritten !== undefined && unwritten.term + 1 === lease.term
        ? this.continueWriting(unwritten, lease)
        : this.#startWriting(standby, lease)
    // Nothing is proven of this tenure yet.
    this.#writtenAt = this.#completeAt = undefined
    // A latch runs the fibers that wait for it, so it opens last.
    this.waiting.closeUnsafe()
    this.holding.openUnsafe()
    return holder
  }

  #startWriting(standby: Standby, lease: Lease): Holder {
    const { clock, relay } = this.#options
    const writer = Writer.make({ term: lease.term, relay, log: this.#log, now: clock.wall })
    const pending = standby.takeOver(this.#now(), clock.wall()).map(writer.toNew)
    return this.#become({ role: "holder", lease, writer, pending })
  }

  /** The relay has the term after its last one. It continues with what it had not written. */
  continueWriting({ pending, writer }: Unwritten, lease: Lease): Holder {
    return this.#become({ role: "holder", lease, writer, pending })
  }

  /** The holder becomes a standby. Unwritten events stay, in case it has the next term. */
  stepDown({ lease, pending, writer }: Holder): Waiting {
    const { wall } = this.#options.clock
    const standby = this.#makeStandby()
    const events: Array<MeshEvent> = []
    if (!this.disconnected.isOpen()) events.push({ _tag: "Connected", epoch: 0, at: wall() })
    if (this.confirmed.isOpen()) events.push({ _tag: "Resync", epoch: 0, reason: { _tag: "Started" } })
    standby.offerFeed(events, this.#now())
    standby.remember(
      pending.map(({ event }) => event),
      this.#now()
    )
    if (this.lateness.isLate) standby.feedIsLate(this.#now())
    const waiting = this.#become({
      role: "standby",
      standby,
      unwritten: { term: lease.term, writer, pending },
      echoed: 0
    })
    this.holding.closeUnsafe()
    this.waiting.openUnsafe()
    return waiting
  }

  #become<Role extends Holder | Waiting>(next: Role): Role {
    this.#current = next
    return next
  }
}
