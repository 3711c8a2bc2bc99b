/**
 * One consumer of a simulated program. It can be stalled, resumed, killed and
 * removed. It compares the events that it saw with those that it should have seen.
 *
 * There are two checks:
 *
 * - After each step, by the reference: the elements that are for the consumer, in
 *   order, each once, without a hole (`progress.ts`).
 * - At the end, by `Audit`: the marks, against the server's log.
 */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Latch from "effect/Latch"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { MeshError } from "@makima-stream/core/MeshError"
import type { Data, MeshEvent } from "@makima-stream/core/MeshEvent"
import * as Audit from "../../Audit.ts"
import type { ServerLog } from "../../ServerLog.ts"
import * as Backoff from "./backoff.ts"
import * as Progress from "./progress.ts"
import * as Reference from "./reference.ts"

export interface Options {
  /** Its name in reports. */
  readonly name: string
  readonly stream: Stream.Stream<MeshEvent, MeshError>
  /** Which elements of the reference it must see. */
  readonly admits: (element: Reference.Element) => boolean
  /** Events that are judged elsewhere. Defaults to none. */
  readonly ignores?: (event: MeshEvent) => boolean
  readonly reference: Reference.Reference
  /** Whether it may join a connection that is open already. */
  readonly joinsLate: boolean
  /** Whether its interest may be empty, which needs no acknowledgement. */
  readonly isEmpty: () => boolean
  /** Which messages it wants, for the audit of its marks. */
  readonly only: (message: Data) => boolean
  /** Whether it discovers tasks. Defaults to `false`. */
  readonly discovers?: boolean
  /** Runs in the consumer's fiber when its stream has failed. */
  readonly onFailure?: Effect.Effect<void>
}

export interface Consumer {
  readonly name: string
  readonly events: ReadonlyArray<MeshEvent>
  /** When it received each event, in monotonic milliseconds. */
  readonly receivedAt: ReadonlyArray<number>
  readonly stall: Effect.Effect<void>
  readonly resume: Effect.Effect<void>
  readonly isStalled: () => boolean
  /** The next event kills it. */
  readonly die: Effect.Effect<void>
  readonly isDying: () => boolean
  readonly leave: Effect.Effect<void>
  /** The exit of its stream; `undefined` while it runs. */
  readonly exit: () => Exit.Exit<void, MeshError> | undefined
  /** Returns what is wrong with the events since the last call. */
  readonly judge: () => string | undefined
  /** Returns what is wrong once everything has healed: events that it never saw, or its marks. */
  readonly judgeHealed: (log: ServerLog) => string | undefined
  /** How many elements of the reference it has not seen yet. */
  readonly behind: () => number
}

/** The most frames that one pull returns in any schedule. */
export const maxPull = 8

export const make = (options: Options): Effect.Effect<Consumer, never, Scope.Scope> =>
  Effect.gen(function* () {
    const { joinsLate, name, reference } = options
    const events: Array<MeshEvent> = []
    const receivedAt: Array<number> = []
    const clock = yield* Clock.Clock
    const gate = yield* Latch.make(true)
    let dying = false
    let startsBy = reference.elements.length

    const fiber = yield* Stream.runForEach(options.stream, (event) =>
      Effect.suspend(() => {
        if (joinsLate && events.length === 0) {
          // The scheduler may yield before the client updates its own state.
          Effect.runSync(reference.update)
          startsBy = reference.elements.length
        }
        events.push(event)
        receivedAt.push(Number(clock.monotonicTimeNanosUnsafe()) / 1e6)
        return dying ? Effect.die("the schedule killed this consumer") : gate.await
      })
    ).pipe(
      Effect.onExit((exit) =>
        Exit.hasFails(exit) && options.onFailure !== undefined ? options.onFailure : Effect.void
      ),
      Effect.forkScoped({ startImmediately: true })
    )

    let judged = 0
    const progress = Progress.make({
      reference,
      admits: options.admits,
      beginnings: () =>
        new Set(joinsLate ? Array.from({ length: startsBy + 1 }, (_, position) => position) : [startsBy])
    })

    /** Whether a mark of a confirmation comes before the first acknowledgement. */
    const isTooEarly = (event: MeshEvent): boolean => {
      if (event._tag !== "Resync" || event.unconfirmed !== undefined || options.isEmpty()) return false
      if (event.reason._tag !== "Started" && event.reason._tag !== "Reconnected") return false
      return progress.isBefore(reference.confirmedAt.get(event.epoch) ?? Number.POSITIVE_INFINITY)
    }

    const judge = (): string | undefined => {
      for (; judged < events.length; judged++) {
        const event = events[judged]
        if (event === undefined) return undefined
        if (options.ignores?.(event) === true) continue
        if (isTooEarly(event)) return `${name} saw ${showEvent(event)} before an acknowledgement`
        const expected = progress.follow(event)
        if (expected === undefined) continue
        return `${name} saw ${showEvent(event)} as its event ${judged + 1}, and not ${
          expected.length === 0 ? "nothing yet" : [...new Set(expected.map(Reference.show))].slice(0, 3).join(", or ")
        }`
      }
      return undefined
    }

    return {
      name,
      events,
      receivedAt,
      stall: gate.close,
      resume: Effect.asVoid(gate.open),
      isStalled: () => !gate.isOpen(),
      die: Effect.sync(() => {
        dying = true
      }),
      isDying: () => dying,
      leave: Fiber.interrupt(fiber),
      exit: () => fiber.pollUnsafe(),
      judge,
      judgeHealed: (log) => {
        const unseen = progress.behind()
        return unseen > 0 ? `${name} never saw the last ${unseen} events` : judgeMarks(options, events, log)
      },
      behind: progress.behind
    }
  })

/** Judges the marks of a consumer by the server's log. */
const judgeMarks = (
  { discovers, joinsLate, name, only, reference }: Options,
  events: ReadonlyArray<MeshEvent>,
  log: ServerLog
): string | undefined => {
  // The audit cannot determine which of two equal messages a late consumer saw first, so it judges the others.
  const repeated = joinsLate ? repeatsIn(log) : noRepeats
  const isJudged = (message: Data | MeshEvent): boolean => !repeated.has(Reference.identity(message))
  const judged = repeated.size === 0 ? events : events.filter(isJudged)
  const { unmarkedConnections, unmarkedGaps } = Audit.compare(log, judged, {
    connectionOf: (epoch) => reference.connectionOf.get(epoch),
    // The reference already checks that every connection is reported.
    connections: () => false,
    only: (message) => isJudged(message) && only(message),
    wants: discovers === true ? Audit.everything() : undefined
  })
  return unmarkedConnections + unmarkedGaps === 0
    ? undefined
    : `${name} has ${unmarkedConnections} connections and ${unmarkedGaps} missing messages without a mark`
}

/** The failure of a consumer's stream; `undefined` if it has not failed, or if the schedule killed it. */
export const failureOf = (consumer: Consumer): MeshError | undefined => {
  const exit = consumer.exit()
  if (exit === undefined || Exit.isSuccess(exit) || isKilled(consumer, exit.cause)) return undefined
  return exit.cause.reasons.find(Cause.isFailReason)?.error
}

const isKilled = (consumer: Consumer, cause: Cause.Cause<unknown>): boolean =>
  Cause.hasDies(cause) && consumer.isDying()

/** Judges the end of a consumer's stream. Only an expected failure, or a death that the schedule caused, may end it. */
export const judgeEnd = (
  consumer: Consumer,
  isExpected: (error: MeshError) => boolean = ({ reason }) => Backoff.isFatal(reason)
): string | undefined => {
  const exit = consumer.exit()
  if (exit === undefined) return undefined
  if (Exit.isFailure(exit)) {
    if (isKilled(consumer, exit.cause)) return undefined
    const failure = failureOf(consumer)
    if (failure !== undefined && isExpected(failure)) return undefined
  }
  return `${consumer.name}'s stream ended by itself: ${Exit.isFailure(exit) ? Cause.pretty(exit.cause) : "without a failure"}`
}

const noRepeats: ReadonlySet<string | undefined> = new Set()

/** The messages that the server sent twice on a connection. */
const repeatsIn = (log: ServerLog): ReadonlySet<string | undefined> => {
  const sent = new Set<string>()
  const repeated = new Set<string>()
  for (const entry of log) {
    if (entry._tag !== "Sent") continue
    const identity = Reference.identity(entry.message)
    if (identity === undefined) continue
    const key = `${entry.connection} ${identity}`
    if (sent.has(key)) repeated.add(identity)
    sent.add(key)
  }
  return repeated
}

const showEvent = (event: MeshEvent): string => {
  switch (event._tag) {
    case "Connected":
    case "Disconnected":
      return `${event._tag} (epoch ${event.epoch})`
    case "Resync":
      return `Resync (${event.reason._tag}, epoch ${event.epoch})`
    default:
      return `${event._tag} ${Reference.identity(event) ?? ""}`
  }
}
