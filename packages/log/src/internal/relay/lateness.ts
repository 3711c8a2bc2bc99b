/**
 * Whether a relay reads its feed as it arrives: a pure state machine.
 *
 * Elements that the relay did not read in time wait in the socket, so the feed's next elements
 * are late by an unknown time. The feed is current again once the relay has had to wait for an
 * element, because the socket was empty then. A relay that never waits may be late too, and a
 * busy machine may not have run the process during a wait. So `currentAt` advances only if
 * nothing arrived while the event loop looked at every socket. All times are milliseconds on
 * the monotonic clock.
 */

/** How often `tick` is called. */
export const tickMillis = 250
/** A process that did not call `tick` for so long did not run for `lateMillis` or more. */
const pauseMillis = 2 * tickMillis
/** A feed that was not read for so long is late, until the relay has waited for it for so long. */
export const lateMillis = 250

export class Lateness {
  /** Since when the relay waits for the feed; `Infinity` while it does not. */
  #readyAt: number
  /** How long it has waited for the feed since that is late. */
  #waited = 0
  #tickedAt: number
  #isLate = false
  #currentAt: number
  #arrivals = 0
  /** When it became late. */
  #lateAt = Number.NEGATIVE_INFINITY

  constructor(now: number) {
    this.#readyAt = now
    this.#tickedAt = now
    this.#currentAt = now
  }

  get isLate(): boolean {
    return this.#isLate
  }

  /** Everything that arrived more than `lateMillis` before this time has been read. */
  get currentAt(): number {
    return this.#currentAt
  }

  /** Elements arrived: the relay does not wait any more. */
  arrived(now: number): void {
    const waited = now - this.#readyAt
    // A shorter wait is the time that it takes to fetch elements that had arrived before.
    if (this.#isLate && waited >= 1) this.#waited += waited
    this.#readyAt = Number.POSITIVE_INFINITY
    this.#arrivals++
  }

  /** How often elements have arrived; `undefined` while the relay does not wait for more. */
  get arrivals(): number | undefined {
    return this.#readyAt === Number.POSITIVE_INFINITY ? undefined : this.#arrivals
  }

  /** Nothing arrived since `arrivals` was read at `time`, although the event loop looked at every socket since. */
  prove(time: number, arrivals: number | undefined): void {
    if (arrivals !== undefined && this.arrivals === arrivals) this.#currentAt = time
  }

  /** The relay is done with the elements that arrived at `since`, and waits again. Returns whether the feed became late. */
  ready(since: number, now: number): boolean {
    this.#readyAt = now
    if (now - since <= lateMillis) return false
    this.#lateAt = now
    return this.#become(true)
  }

  /** Called every `tickMillis` while the process runs. Returns whether the feed became late. */
  tick(now: number): boolean {
    const wasStopped = now - this.#tickedAt > pauseMillis
    this.#tickedAt = now
    if (wasStopped) {
      this.#readyAt = Math.max(this.#readyAt, now)
      this.#lateAt = now
      return this.#become(true)
    }
    const hasWaited = this.#waited + Math.max(0, now - this.#readyAt) >= lateMillis
    if (this.#isLate && hasWaited && this.#currentAt > this.#lateAt) this.#become(false)
    return false
  }

  #become(isLate: boolean): boolean {
    this.#isLate = isLate
    this.#waited = 0
    return isLate
  }
}
