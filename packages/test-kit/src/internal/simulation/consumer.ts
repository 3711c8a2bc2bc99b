/**
 * One consumer of a simulated program: it can be stalled, resumed, killed and
 * sent away, and it judges what it saw by what it should have seen.
 *
 * The judge holds every explanation of the consumer's beginning that is still
 * possible: where in the reference it started, and whether it joined a
 * connection that was open. An event that no explanation allows is a violation.
 *
 * What is allowed: the elements of the reference that the consumer's route lets
 * through, in order, each once, without a hole; a `Resync` for `Overflow` stands
 * for exactly as many of them as it says.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Latch from "effect/Latch"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { MeshError } from "@makima-stream/core/MeshError"
import type { MeshEvent } from "@makima-stream/core/MeshEvent"
import * as Reference from "./reference.ts"

export interface Options {
  /** What it is, for a report. */
  readonly name: string
  readonly stream: Stream.Stream<MeshEvent, MeshError>
  /** Which elements are for it. */
  readonly admits: (element: Reference.Element) => boolean
  /** Events that are judged elsewhere. Default: none. */
  readonly ignores?: (event: MeshEvent) => boolean
  readonly reference: Reference.Reference
  /** Whether it may join a connection that is open already. */
  readonly joinsLate: boolean
}

export interface Consumer {
  readonly name: string
  readonly events: ReadonlyArray<MeshEvent>
  readonly stall: Effect.Effect<void>
  readonly resume: Effect.Effect<void>
  readonly isStalled: () => boolean
  /** The next event kills it. */
  readonly die: Effect.Effect<void>
  readonly isDying: () => boolean
  readonly leave: Effect.Effect<void>
  /** How its stream ended; `undefined` while it runs. */
  readonly exit: () => Exit.Exit<void, MeshError> | undefined
  /** What is wrong with what it saw since the last look. */
  readonly judge: () => string | undefined
  /** How many elements of the reference it has not seen yet. */
  readonly behind: () => number
}

/** How much of an earlier connection an explanation has seen: none, one `Connected` just now, or some. */
type Past = "none" | "connected" | "some"

interface Explanation {
  /** The next element of the reference. */
  readonly next: number
  readonly past: Past
  /** A `JoinedLate` must come first. */
  readonly late: boolean
}

export const make = (options: Options): Effect.Effect<Consumer, never, Scope.Scope> =>
  Effect.gen(function* () {
    const { admits, joinsLate, name, reference } = options
    const events: Array<MeshEvent> = []
    const gate = yield* Latch.make(true)
    let dying = false
    const startsBy = reference.elements.length

    const fiber = yield* Stream.runForEach(options.stream, (event) =>
      Effect.suspend(() => {
        events.push(event)
        return dying ? Effect.die("a consumer dies, as it was told to") : gate.await
      })
    ).pipe(Effect.forkScoped)

    let judged = 0
    let explanations: ReadonlyArray<Explanation> | undefined

    const nextAdmitted = (from: number): number => {
      let next = from
      for (;;) {
        const element = reference.elements[next]
        if (element === undefined || admits(element)) return next
        next++
      }
    }

    const beginnings = (): ReadonlyArray<Explanation> => {
      if (!joinsLate) return [{ next: startsBy, past: "none", late: false }]
      const all: Array<Explanation> = []
      for (let start = 0; start <= startsBy; start++) {
        const element = reference.elements[start]
        if (element === undefined || element._tag === "Connected" || element._tag === "Disconnected") {
          all.push({ next: start, past: "none", late: false })
        }
        if (start > 0) all.push({ next: start, past: "some", late: true })
      }
      return all
    }

    const pass = ({ past }: Explanation, element: Reference.Element): Past => {
      switch (element._tag) {
        case "Connected":
          return past === "some" ? "some" : "connected"
        case "Disconnected":
          return element.opened ? "some" : past === "connected" ? "some" : past
        default:
          return "some"
      }
    }

    /** What may come next, and what an explanation becomes by it. */
    const following = (explanation: Explanation): ReadonlyArray<readonly [Reference.Element, Explanation]> => {
      const next = nextAdmitted(explanation.next)
      const element = reference.elements[next]
      if (element === undefined) return []
      const step = [element, { next: next + 1, past: pass(explanation, element), late: false }] as const
      // Who has seen nothing of an earlier connection need not be told that this is not the first.
      return element._tag === "Reconnected" && explanation.past === "connected"
        ? [step, ...following({ next: next + 1, past: "some", late: false })]
        : [step]
    }

    const skip = (from: ReadonlyArray<Explanation>, count: number): ReadonlyArray<Explanation> => {
      let current = from
      for (let n = 0; n < count; n++) {
        current = distinct(
          current.flatMap((explanation) =>
            explanation.late ? [{ ...explanation, late: false }] : following(explanation).map(([, becomes]) => becomes)
          )
        )
      }
      return current
    }

    const see = (from: ReadonlyArray<Explanation>, event: MeshEvent): ReadonlyArray<Explanation> => {
      if (event._tag === "Resync" && event.reason._tag === "Overflow") return skip(from, event.reason.dropped)
      if (event._tag === "Resync" && event.reason._tag === "JoinedLate") {
        const { epoch } = event
        return from.flatMap((explanation) =>
          explanation.late && reference.elements[explanation.next - 1]?.epoch === epoch
            ? [{ ...explanation, late: false }]
            : []
        )
      }
      return distinct(
        from.flatMap((explanation) =>
          explanation.late
            ? []
            : following(explanation).flatMap(([element, becomes]) =>
                Reference.matches(element, event) ? [becomes] : []
              )
        )
      )
    }

    const judge = (): string | undefined => {
      for (; judged < events.length; judged++) {
        const event = events[judged]
        if (event === undefined) return undefined
        if (options.ignores?.(event) === true) continue
        const before = explanations ?? beginnings()
        const after = see(before, event)
        if (after.length === 0) {
          const expected = new Set(before.flatMap(following).map(([element]) => Reference.show(element)))
          return `${name} saw ${showEvent(event)} as its event ${judged + 1}, and not ${
            expected.size === 0 ? "nothing yet" : [...expected].slice(0, 3).join(", or ")
          }`
        }
        explanations = after
      }
      return undefined
    }

    const remaining = ({ next, past }: Explanation): number => {
      const first = reference.elements[nextAdmitted(next)]
      // Who need not be told of the reconnect is not waiting for it.
      let count = first?._tag === "Reconnected" && past === "connected" ? -1 : 0
      for (let at = nextAdmitted(next); at < reference.elements.length; at = nextAdmitted(at + 1)) count++
      return count
    }

    return {
      name,
      events,
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
      behind: () => (explanations === undefined ? 0 : Math.min(...explanations.map(remaining)))
    }
  })

const distinct = (explanations: ReadonlyArray<Explanation>): ReadonlyArray<Explanation> => {
  if (explanations.length < 2) return explanations
  const byKey = new Map<string, Explanation>()
  for (const each of explanations) byKey.set(`${each.next} ${each.past} ${each.late}`, each)
  return [...byKey.values()]
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
