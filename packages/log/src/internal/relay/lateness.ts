/**
 * Whether a relay reads its feed as it arrives: a pure state machine.
 *
 * What a relay did not read for a while waits in the socket, so the feed's next elements are
 * late by an unknown time. They are current again once the relay has waited for the feed:
 * then nothing was left in the socket. A relay that never waits may be late too, so
 * `currentAt` advances only when it waits. All times are milliseconds on the monotonic clock.
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

  constructor(now: number) {
    this.#readyAt = now
    this.#tickedAt = now
    this.#currentAt = now
  }

  get isLate(): boolean {
    return this.#isLate
  }

  /** What arrived more than `lateMillis` before this time has been read. */
  get currentAt(): number {
    return this.#currentAt
  }

  /** Elements arrived: the relay does not wait any more. */
  arrived(now: number): void {
    const waited = now - this.#readyAt
    // A wait of less than a millisecond is the time that it takes to fetch what was there already.
    if (this.#isLate && waited >= 1) this.#waited += waited
    else if (!this.#isLate && waited >= 1 && !this.#wasStopped(now)) this.#currentAt = now
    this.#readyAt = Number.POSITIVE_INFINITY
  }

  /** The relay is done with the elements that arrived at `since`, and waits again. Returns whether the feed became late. */
  ready(since: number, now: number): boolean {
    this.#readyAt = now
    return now - since > lateMillis && this.#become(true)
  }

  /** Called every `tickMillis` while the process runs. Returns whether the feed became late. */
  tick(now: number): boolean {
    const wasStopped = this.#wasStopped(now)
    this.#tickedAt = now
    if (wasStopped) {
      this.#readyAt = Math.max(this.#readyAt, now)
      return this.#become(true)
    }
    if (this.#isLate && this.#waited + Math.max(0, now - this.#readyAt) >= lateMillis) this.#become(false)
    if (!this.#isLate && now - this.#readyAt >= 1) this.#currentAt = now
    return false
  }

  #wasStopped(now: number): boolean {
    return now - this.#tickedAt > pauseMillis
  }

  #become(isLate: boolean): boolean {
    this.#isLate = isLate
    this.#waited = 0
    return isLate
  }
}
