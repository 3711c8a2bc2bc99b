/**
 * The states of the connections of a chaos run, as the client reports them.
 *
 * A report may be older than a fault, so a state alone does not show that a connection
 * was lost: a wait compares the epochs with those before the fault.
 */
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"

/** The state of one connection: `aligned`, `online`, `connecting`, `failed`, or `offline` with its reason. */
export interface State {
  readonly state: string
  /** The number of times that it has connected. */
  readonly epoch: number
}

export type States = ReadonlyArray<State>

export const areAligned = (states: States): boolean =>
  states.length > 0 && states.every(({ state }) => state === "aligned")

/** Whether each of the connections has left the state that it had before. */
export const areLost = (paths: ReadonlyArray<number>, before: States, states: States): boolean =>
  paths.every((path) => {
    const now = states[path]
    return now !== undefined && (now.state !== "aligned" || now.epoch > (before[path]?.epoch ?? 0))
  })

/** Whether each of the connections has connected again, and all are aligned. */
export const areBack = (paths: ReadonlyArray<number>, before: States, states: States): boolean =>
  areAligned(states) && paths.every((path) => (states[path]?.epoch ?? 0) > (before[path]?.epoch ?? 0))

/** The connections did not get into an awaited state. */
export class Stuck extends Data.TaggedError("Stuck")<{ readonly message: string }> {}

/** The newest report, and waits for reports to come. */
export interface Reports {
  /** The newest states. */
  readonly latest: () => States
  readonly report: (states: States) => void
  /** Waits until the states match. Fails after `timeoutMillis`, with the states. */
  readonly until: (what: string, matches: (states: States) => boolean) => Effect.Effect<void, Stuck>
}

export const make = (timeoutMillis: number): Reports => {
  let latest: States = []
  const news = Latch.makeUnsafe(false)
  const until = (matches: (states: States) => boolean): Effect.Effect<void> =>
    Effect.suspend(() => {
      if (matches(latest)) return Effect.void
      news.closeUnsafe()
      return Effect.andThen(
        news.await,
        Effect.suspend(() => until(matches))
      )
    })
  return {
    latest: () => latest,
    report(states) {
      latest = states
      news.openUnsafe()
    },
    until: (what, matches) =>
      until(matches).pipe(
        Effect.timeoutOrElse({
          duration: timeoutMillis,
          orElse: () =>
            Effect.fail(new Stuck({ message: `Not ${what} within ${timeoutMillis} ms: ${JSON.stringify(latest)}` }))
        })
      )
  }
}
