/**
 * Runs tasks after a delay that may change from one task to the next.
 *
 * Invariants: tasks run in the order in which they were added, each once. Delays
 * are measured on the monotonic clock.
 */
import type { Clock } from "effect/Clock"
import * as Monotonic from "./monotonic.ts"

export interface DelayLine {
  /** Runs a task after `millis`, and after all tasks before it. Without a delay and waiting tasks it runs at once. */
  readonly add: (millis: number, task: () => void) => void
  /** Runs all waiting tasks now. */
  readonly flush: () => void
  /** Forgets all waiting tasks. */
  readonly clear: () => void
}

/** Calls a function once, after a number of milliseconds. */
export type Schedule = (millis: number, callback: () => void) => void

export const make = (clock: Clock, schedule: Schedule): DelayLine => {
  let waiting: Array<{ readonly dueAt: number; readonly task: () => void }> = []
  let isArmed = false
  const now = (): number => Monotonic.millis(clock)

  const arm = (): void => {
    const head = waiting[0]
    if (head === undefined || isArmed) return
    isArmed = true
    schedule(Math.max(0, Math.ceil(head.dueAt - now())), () => {
      isArmed = false
      // A timer may fire slightly early because of rounding.
      while (waiting[0] !== undefined && waiting[0].dueAt - now() < 0.001) waiting.shift()?.task()
      arm()
    })
  }

  return {
    add(millis, task) {
      const last = waiting.at(-1)
      if (millis <= 0 && last === undefined) return task()
      waiting.push({ dueAt: Math.max(now() + millis, last?.dueAt ?? 0), task })
      arm()
    },
    flush() {
      // One at a time, so that a task that is added meanwhile runs after the others.
      for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) next.task()
    },
    clear() {
      waiting = []
    }
  }
}
