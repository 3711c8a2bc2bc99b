/**
 * A bounded map for the state that an operator keeps for each task. It evicts the
 * entry that was set longest ago.
 *
 * A feed runs for weeks and task ids are not reused, so an operator must not keep an
 * entry for every task that it has seen.
 */
import { atLeast } from "../bounds.ts"

/** The default of every `maxTasks`. */
export const defaultMaxTasks = 10_000

export class Recent<K, V> {
  readonly #max: number
  // A Map iterates in the order of insertion, so its first key is the oldest.
  readonly #entries = new Map<K, V>()
  /** The key that was set last. If its entry was deleted, setting it again appends it. */
  #newest: K | undefined = undefined

  /** At least one entry, because an operator needs that of the current task. */
  constructor(max: number) {
    this.#max = atLeast(1, max)
  }

  get(key: K): V | undefined {
    return this.#entries.get(key)
  }

  /** Sets the entry and makes it the newest. Returns the entry that was evicted for it. */
  set(key: K, value: V): V | undefined {
    // Consecutive events of one task are common, and do not need to move its entry.
    if (key !== this.#newest) {
      this.#entries.delete(key)
      this.#newest = key
    }
    this.#entries.set(key, value)
    if (this.#entries.size <= this.#max) return undefined
    for (const [oldest, evicted] of this.#entries) {
      this.#entries.delete(oldest)
      return evicted
    }
    return undefined
  }

  delete(key: K): void {
    this.#entries.delete(key)
  }

  clear(): void {
    this.#entries.clear()
  }

  /** From the oldest to the newest. */
  values(): IterableIterator<V> {
    return this.#entries.values()
  }
}
