/** A `MeshStream` with one consumer at a time, as a program under simulation. */
import * as Arbitrary from "effect/Arbitrary"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import * as Socket from "effect/socket/Socket"
import * as Stream from "effect/Stream"
import * as SubscriptionRef from "effect/SubscriptionRef"
import * as Interest from "@makima-stream/core/Interest"
import * as MeshStream from "@makima-stream/core/MeshStream"
import type { Moment, Program } from "./program.ts"
import * as Backoff from "./backoff.ts"
import * as Consumer from "./consumer.ts"
import * as Interests from "./interests.ts"
import * as Reference from "./reference.ts"

const Do = Schema.TaggedUnion({
  /** A consumer joins, if there is none. */
  Join: { wants: Interests.Wanted },
  Want: { wants: Interests.Wanted },
  Stall: {},
  Resume: {},
  Leave: {},
  /** The next event kills it. */
  Die: {}
})

export type Action = typeof Do.Type

const cases = Do.cases

/** Chosen so that there is a consumer most of the time. */
const action: Arbitrary.Arbitrary<Action> = Arbitrary.flatMap(
  Arbitrary.schema(Schema.Literals([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11])),
  (kind): Arbitrary.Arbitrary<Action> => {
    if (kind < 4) return Arbitrary.schema(cases.Join)
    if (kind < 6) return Arbitrary.schema(cases.Want)
    if (kind < 8) return Arbitrary.schema(cases.Stall)
    if (kind < 10) return Arbitrary.schema(cases.Resume)
    return Arbitrary.schema(Schema.Union([cases.Leave, cases.Die]))
  }
)

interface Following {
  readonly consumer: Consumer.Consumer
  readonly reference: Reference.Reference
  readonly interest: SubscriptionRef.SubscriptionRef<Interest.Interest>
  readonly scope: Scope.Closeable
  /** Returns what is wrong with the attempts since the last call. */
  readonly judgeBackoff: (dials: ReadonlyArray<number>) => string | undefined
}

export const program: Program<Action> = {
  name: "meshStream",
  action,
  start: ({ dials, mesh }) =>
    Effect.gen(function* () {
      const scope = yield* Effect.scope
      const socket = yield* Socket.Socket
      let following: Following | undefined
      /** Whether the consumer's interest was ever empty. */
      let wasEmpty = false

      const join = (wants: Interests.Wanted) =>
        Effect.gen(function* () {
          wasEmpty = Interest.isEmpty(Interests.toInterest(wants))
          const own = yield* Scope.fork(scope)
          const interest = yield* SubscriptionRef.make(Interests.toInterest(wants))
          const reference = yield* Reference.make(mesh)
          const dialled = dials().length
          const consumer = yield* Consumer.make({
            name: "the consumer",
            stream: MeshStream.connect({ interest }).pipe(Stream.provideService(Socket.Socket, socket)),
            admits: () => true,
            reference,
            joinsLate: false,
            only: () => true,
            isEmpty: () => wasEmpty
          }).pipe(Scope.provide(own))
          following = {
            consumer,
            reference,
            interest,
            scope: own,
            judgeBackoff: attempts(consumer, reference, dialled)
          }
        })

      const leave = Effect.suspend(() => {
        const leaving = following
        following = undefined
        return leaving === undefined ? Effect.void : Scope.close(leaving.scope, Exit.void)
      })

      const judge = (moment: Moment) =>
        Effect.gen(function* () {
          const connections = (yield* mesh.connections).filter(({ open }) => open)
          if (following === undefined) {
            return connections.length === 0 ? undefined : "a connection is open without a consumer"
          }
          const { consumer, interest, judgeBackoff, reference } = following
          const wrong = (yield* reference.update) ?? consumer.judge() ?? judgeBackoff(dials()) ?? judgeEnd(consumer)
          if (wrong !== undefined) return wrong
          const exit = consumer.exit()
          if (exit !== undefined) {
            yield* leave
            // After a fatal reason it subscribes again, as a program with `retry` does.
            if (!Exit.hasDies(exit)) yield* join({ all: true, updates: "", output: "ab" })
            return undefined
          }
          const behind = consumer.behind()
          // The consumer handles one pull, and the end of the connection may follow it.
          if (behind > Consumer.maxPull + 1) return `the consumer is ${behind} events behind, but there is no queue`
          if (moment === "step") return undefined
          const incomplete = consumer.judgeHealed(yield* mesh.log)
          return incomplete ?? Interests.judgeWire(connections, SubscriptionRef.getUnsafe(interest))
        })

      yield* join({ all: true, updates: "", output: "" })

      return {
        act: (action) =>
          Effect.suspend(() => {
            if (action._tag === "Join") return following === undefined ? join(action.wants) : Effect.void
            if (following === undefined) return Effect.void
            const { consumer, interest } = following
            switch (action._tag) {
              case "Want":
                wasEmpty ||= Interest.isEmpty(Interests.toInterest(action.wants))
                return SubscriptionRef.set(interest, Interests.toInterest(action.wants))
              case "Stall":
                return consumer.stall
              case "Resume":
                return consumer.resume
              case "Leave":
                return leave
              case "Die":
                return consumer.die
            }
          }),
        judge,
        release: Effect.suspend(() => following?.consumer.resume ?? Effect.void)
      }
    })
}

const judgeEnd = (consumer: Consumer.Consumer): string | undefined => {
  const exit = consumer.exit()
  if (exit === undefined) return undefined
  if (Exit.isFailure(exit)) {
    if (Cause.hasDies(exit.cause) && consumer.isDying()) return undefined
    const failure = exit.cause.reasons.find(Cause.isFailReason)
    if (failure !== undefined && Backoff.isFatal(failure.error.reason)) return undefined
  }
  return `${consumer.name}'s stream ended by itself: ${Exit.isFailure(exit) ? Cause.pretty(exit.cause) : "without a failure"}`
}

/** Checks the attempts that the consumer saw, and the dials that followed. */
const attempts = (consumer: Consumer.Consumer, reference: Reference.Reference, dialledBefore: number) => {
  const backoff = Backoff.make()
  let judged = 0
  let dialled = dialledBefore
  return (dials: ReadonlyArray<number>): string | undefined => {
    for (; judged < consumer.events.length; judged++) {
      const event = consumer.events[judged]
      const receivedAt = consumer.receivedAt[judged]
      if (receivedAt === undefined) continue
      if (event?._tag !== "Connected" && event?._tag !== "Disconnected") continue
      if (event._tag === "Connected") {
        backoff.opened(receivedAt)
        continue
      }
      // Each dial eventually ends in one of these.
      const at = dials[dialled++]
      if (at === undefined) return "the consumer saw the result of a dial that was not made"
      const wrong =
        backoff.dialled(at) ??
        backoff.ended({
          at: receivedAt,
          opened: event.opened,
          attempt: event.attempt,
          reason: event.reason,
          retryInMillis: event.retryInMillis,
          heard: event.opened && (reference.messages.get(event.epoch) ?? 0) > 0
        })
      if (wrong !== undefined) return wrong
    }
    const next = dials[dialled]
    return next === undefined ? undefined : backoff.dialled(next)
  }
}
