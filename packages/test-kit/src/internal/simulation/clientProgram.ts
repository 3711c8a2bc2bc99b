/** A `MeshClient` with consumers of all kinds, as a program under simulation. */
import * as Arbitrary from "effect/Arbitrary"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as SubscriptionRef from "effect/SubscriptionRef"
import * as Interest from "@makima-stream/core/Interest"
import * as MeshClient from "@makima-stream/core/MeshClient"
import type { ScriptedMesh } from "../../ScriptedMesh.ts"
import * as ClientConsumers from "./clientConsumers.ts"
import * as ClientStatus from "./clientStatus.ts"
import * as Interests from "./interests.ts"
import type { Moment, Program } from "./program.ts"
import * as Reference from "./reference.ts"

const which = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 3 }))

const Do = Schema.TaggedUnion({
  Stall: { which },
  Resume: { which },
  Leave: { which },
  /** The next event kills it. */
  Die: { which },
  Reconnect: {}
})

/** A consumer joins if there are fewer than four, or one of the other actions. */
export type Action = ClientConsumers.Join | typeof Do.Type

const cases = Do.cases

/** Mostly consumers that join and stall, since the other actions need them. */
const action: Arbitrary.Arbitrary<Action> = Arbitrary.flatMap(
  Arbitrary.schema(Schema.Literals([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11])),
  (kind): Arbitrary.Arbitrary<Action> => {
    if (kind < 4) return Arbitrary.schema(ClientConsumers.Join)
    if (kind < 7) return Arbitrary.schema(cases.Stall)
    if (kind < 9) return Arbitrary.schema(cases.Resume)
    return Arbitrary.schema(Schema.Union([cases.Leave, cases.Die, cases.Reconnect]))
  }
)

export const program: Program<Action> = {
  name: "meshClient",
  action,
  start: ({ dials, mesh }) =>
    Effect.gen(function* () {
      const client = yield* MeshClient.make()
      const reference = yield* Reference.make(mesh)
      const status = yield* ClientStatus.make(client, reference)
      const consumers = yield* ClientConsumers.make(client, mesh, reference)

      const judge = Effect.fnUntraced(function* (moment: Moment) {
        const wrong = (yield* reference.update) ?? status.wrong()
        if (wrong !== undefined) return wrong
        if (dials().length > status.connecting()) {
          return `there were ${dials().length} dials, and the status showed ${status.connecting()}`
        }
        const judged = yield* consumers.judge(moment)
        if (judged.wrong !== undefined || moment === "step") return judged.wrong
        return yield* judgeHealed({ client, mesh, consumers, moment, hasLeft: judged.hasLeft })
      })

      const act = (action: Action): Effect.Effect<void> => {
        const members = consumers.members()
        if (action._tag === "Join") return members.length < 4 ? consumers.join(action) : Effect.void
        if (action._tag === "Reconnect") {
          status.reconnectRequested()
          return Effect.andThen(reference.abandon, client.reconnect)
        }
        const member = members[action.which % Math.max(1, members.length)]
        if (member === undefined) return Effect.void
        switch (action._tag) {
          case "Stall":
            return member.consumer.stall
          case "Resume":
            return member.consumer.resume
          case "Leave":
            return consumers.leave(member)
          case "Die":
            return member.consumer.die
        }
      }

      return {
        act: (action) => Effect.suspend(() => act(action)),
        judge,
        release: Effect.suspend(() =>
          Effect.forEach(consumers.members(), ({ consumer }) => consumer.resume, { discard: true })
        )
      }
    })
}

/** Judges the marks of the consumers, and that the wire and the client's state show what they want. */
const judgeHealed = Effect.fnUntraced(function* ({
  client,
  consumers,
  hasLeft,
  mesh,
  moment
}: {
  readonly client: MeshClient.Service
  readonly mesh: ScriptedMesh["Service"]
  readonly consumers: ClientConsumers.Consumers
  readonly moment: Moment
  readonly hasLeft: boolean
}) {
  const log = yield* mesh.log
  const members = consumers.members()
  for (const { consumer } of members) {
    const wrong = consumer.judgeHealed(log)
    if (wrong !== undefined) return wrong
  }
  // The connection and the subscriptions stay open after the last consumer for their idle time to live.
  if (hasLeft) return undefined
  const open = (yield* mesh.connections).filter(({ open }) => open)
  if (members.length === 0) {
    return open.length === 0 ? undefined : "a connection is open minutes after the last consumer left"
  }
  const wanted = consumers.demand()
  const wrong = Interests.judgeWire(open, wanted)
  if (wrong !== undefined) return wrong
  const { confirmed, requested } = yield* SubscriptionRef.get(client.subscriptions)
  const shows = (interest: Interest.Interest) => Interest.equals(interest, Interests.onWire(wanted))
  return shows(requested) && (moment === "healed" || shows(confirmed))
    ? undefined
    : `the client lists ${Interests.show(requested)} as requested and ${Interests.show(confirmed)} as confirmed`
})
