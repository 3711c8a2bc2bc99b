/** A `MeshStream` with one consumer at a time, as a program under simulation. */
import * as Arbitrary from "effect/Arbitrary"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import * as Socket from "effect/socket/Socket"
import * as Stream from "effect/Stream"
import * as SubscriptionRef from "effect/SubscriptionRef"
import * as Interest from "@makima-stream/core/Interest"
import * as MeshStream from "@makima-stream/core/MeshStream"
import type { ScriptedMesh } from "../../ScriptedMesh.ts"
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
  /** Changes its interest. */
  readonly want: (interest: Interest.Interest) => Effect.Effect<void>
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

      const join = (wants: Interests.Wanted) =>
        Effect.gen(function* () {
          following = yield* follow({ mesh, socket, scope, dialled: dials().length }, Interests.toInterest(wants))
        })

      const leave = Effect.suspend(() => {
        const leaving = following
        following = undefined
        return leaving === undefined ? Effect.void : Scope.close(leaving.scope, Exit.void)
      })

      const judge = Effect.fnUntraced(function* (moment: Moment) {
        const connections = (yield* mesh.connections).filter(({ open }) => open)
        if (following === undefined) {
          return connections.length === 0 ? undefined : "a connection is open without a consumer"
        }
        const { consumer, interest, judgeBackoff, reference } = following
        const wrong =
          (yield* reference.update) ?? consumer.judge() ?? judgeBackoff(dials()) ?? Consumer.judgeEnd(consumer)
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

      const act = (action: Action): Effect.Effect<void> => {
        if (action._tag === "Join") return following === undefined ? join(action.wants) : Effect.void
        if (following === undefined) return Effect.void
        const { consumer, want } = following
        switch (action._tag) {
          case "Want":
            return want(Interests.toInterest(action.wants))
          case "Stall":
            return consumer.stall
          case "Resume":
            return consumer.resume
          case "Leave":
            return leave
          case "Die":
            return consumer.die
        }
      }

      yield* join({ all: true, updates: "", output: "" })
      return {
        act: (action) => Effect.suspend(() => act(action)),
        judge,
        release: Effect.suspend(() => following?.consumer.resume ?? Effect.void)
      }
    })
}

/** A consumer joins with its own stream. */
const follow = Effect.fnUntraced(function* (
  {
    dialled,
    mesh,
    scope,
    socket
  }: {
    readonly mesh: ScriptedMesh["Service"]
    readonly socket: Socket.Socket
    readonly scope: Scope.Scope
    /** The number of dials before it. */
    readonly dialled: number
  },
  wanted: Interest.Interest
) {
  let wasEmpty = Interest.isEmpty(wanted)
  const own = yield* Scope.fork(scope)
  const interest = yield* SubscriptionRef.make(wanted)
  const reference = yield* Reference.make(mesh)
  const consumer = yield* Consumer.make({
    name: "the consumer",
    stream: MeshStream.connect({ interest }).pipe(Stream.provideService(Socket.Socket, socket)),
    admits: () => true,
    reference,
    joinsLate: false,
    only: () => true,
    isEmpty: () => wasEmpty
  }).pipe(Scope.provide(own))
  const following: Following = {
    consumer,
    reference,
    interest,
    want: (wanted) =>
      Effect.suspend(() => {
        wasEmpty ||= Interest.isEmpty(wanted)
        return SubscriptionRef.set(interest, wanted)
      }),
    scope: own,
    judgeBackoff: attempts(consumer, reference, dialled)
  }
  return following
})

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
