/**
 * Detects consumers that block the others: a lossless consumer with a full queue
 * stops the whole connection, and consumers that wait for each other stop forever.
 * After `warningMillis` a warning names the consumer, once for each stall.
 * Synchronous, except for the log message.
 */
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as MeshMetrics from "../../MeshMetrics.ts"
import type { Timed } from "./timers.ts"

export interface Options<C> {
  /** How long a consumer may block the others before the warning. `Infinity` for no warnings. */
  readonly warningMillis: number
  readonly now: () => number
  readonly context: Context.Context<never>
  /** The name of a consumer, for the warning. */
  readonly nameOf: (consumer: C) => string
  /** The number of consumers. A single consumer blocks only itself. */
  readonly count: () => number
}

export interface Stalls<C> extends Timed {
  /** The router begins to wait for a consumer. Has no effect while it already waits for it. */
  readonly begin: (consumer: C) => void
  /** The router no longer waits for a consumer. */
  readonly end: (consumer: C) => void
  /** The router no longer waits for any consumer. */
  readonly clear: () => void
  /** Called when `next` has become earlier. */
  onChanged: () => void
}

export const make = <C>({ context, count, nameOf, now, warningMillis }: Options<C>): Stalls<C> => {
  /** When the wait for each consumer began; `undefined` after its warning. */
  const blocked = new Map<C, number | undefined>()
  // Kept when its stall ends, so that a consumer that is slow at every event causes at most one check in `warningMillis`.
  let checkAt = Infinity

  const self: Stalls<C> = {
    onChanged: () => {},
    begin(consumer) {
      if (warningMillis === Infinity || blocked.has(consumer)) return
      const time = now()
      blocked.set(consumer, time)
      if (checkAt < Infinity) return
      checkAt = time + warningMillis
      self.onChanged()
    },
    end: (consumer) => void blocked.delete(consumer),
    clear: () => blocked.clear(),
    next: () => checkAt,
    sweep(time) {
      if (checkAt > time) return
      checkAt = Infinity
      const names: Array<string> = []
      for (const [consumer, since] of blocked) {
        if (since === undefined) continue
        const due = since + warningMillis
        if (due > time) {
          checkAt = Math.min(checkAt, due)
        } else {
          blocked.set(consumer, undefined)
          if (count() > 1) names.push(nameOf(consumer))
        }
      }
      if (names.length === 0) return
      MeshMetrics.consumerStalls.updateUnsafe(names.length, context)
      return Effect.logWarning(
        `The queue of a consumer has been full for ${warningMillis / 1000} s, and every other consumer of this MeshClient ` +
          "waits for it. Read faster, or choose another `overflow` for it."
      ).pipe(Effect.annotateLogs({ consumers: names.join(", ") }))
    }
  }
  return self
}
