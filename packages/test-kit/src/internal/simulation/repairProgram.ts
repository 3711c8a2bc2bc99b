/** A `MeshStream` with a `Repair`, and a faulty `snapshotServer`, as a program under simulation. */
import * as Arbitrary from "effect/Arbitrary"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import * as Socket from "effect/socket/Socket"
import * as Stream from "effect/Stream"
import * as Interest from "@makima-stream/core/Interest"
import * as MeshEvent from "@makima-stream/core/MeshEvent"
import * as MeshStream from "@makima-stream/core/MeshStream"
import * as Repair from "@makima-stream/core/Repair"
import type { ScriptedMesh } from "../../ScriptedMesh.ts"
import type { Moment, Program } from "./program.ts"
import * as Consumer from "./consumer.ts"
import * as Reference from "./reference.ts"
import * as RepairLaws from "./repairLaws.ts"
import * as SnapshotServer from "./snapshotServer.ts"

const Do = Schema.TaggedUnion({
  Stall: {},
  Resume: {}
})

export type Action = SnapshotServer.Serve | typeof Do.Type

const action: Arbitrary.Arbitrary<Action> = Arbitrary.flatMap(
  Arbitrary.schema(Schema.Literals([0, 1, 2, 3, 4, 5])),
  (kind): Arbitrary.Arbitrary<Action> => {
    if (kind < 3) return Arbitrary.schema(SnapshotServer.Serve)
    return kind < 4 ? Arbitrary.schema(Do.cases.Stall) : Arbitrary.schema(Do.cases.Resume)
  }
)

interface Following {
  readonly consumer: Consumer.Consumer
  readonly reference: Reference.Reference
  readonly scope: Scope.Closeable
  readonly laws: RepairLaws.RepairLaws
  readonly judgeFetches: () => string | undefined
  /** How many events the laws have judged. */
  judged: number
}

export const program: Program<Action> = {
  name: "repair",
  action,
  start: ({ mesh }) =>
    Effect.gen(function* () {
      const scope = yield* Effect.scope
      const socket = yield* Socket.Socket
      let serve = SnapshotServer.healthy
      const join = follow(
        mesh,
        socket,
        scope,
        SnapshotServer.make(mesh, () => serve)
      )
      let following = yield* join

      const judge = Effect.fnUntraced(function* (moment: Moment) {
        const { consumer, reference } = following
        const wrong =
          (yield* reference.update) ?? consumer.judge() ?? judgeLaws(following) ?? Consumer.judgeEnd(consumer)
        if (wrong !== undefined) return wrong
        if (consumer.exit() !== undefined) {
          yield* Scope.close(following.scope, Exit.void)
          following = yield* join
          return undefined
        }
        return moment === "step" ? undefined : yield* judgeHealed(mesh, following, moment)
      })

      return {
        act: (action) =>
          Effect.suspend(() => {
            switch (action._tag) {
              case "Serve":
                serve = action
                return Effect.void
              case "Stall":
                return following.consumer.stall
              case "Resume":
                return following.consumer.resume
            }
          }),
        judge,
        release: Effect.suspend(() => {
          serve = SnapshotServer.healthy
          return following.consumer.resume
        })
      }
    })
}

/** A consumer of a repaired feed joins. */
const follow = Effect.fnUntraced(function* (
  mesh: ScriptedMesh["Service"],
  socket: Socket.Socket,
  scope: Scope.Scope,
  fetchSnapshot: ReturnType<typeof SnapshotServer.make>
) {
  const own = yield* Scope.fork(scope)
  const reference = yield* Reference.make(mesh)
  const input: Array<MeshEvent.MeshEvent> = []
  const fetched: Array<SnapshotServer.Fetched> = []
  let wrong: string | undefined
  let fetches = 0

  const fetch = (ask: Repair.Ask) =>
    Effect.suspend(() => {
      const last = input.findLast(({ _tag }) => _tag === "Connected" || _tag === "Disconnected" || _tag === "Resync")
      if (last?._tag === "Connected") wrong ??= "a fetch began between Connected and the mark"
      return fetchSnapshot(ask, input.length)
    }).pipe(
      Effect.map((result) => {
        fetched.push(result)
        fetches++
        return result.snapshot
      })
    )

  const stream = MeshStream.connect({ interest: Interest.all }).pipe(
    Stream.map((event) => {
      input.push(event)
      return event
    }),
    Repair.repair({ fetch }),
    Stream.provideService(Socket.Socket, socket)
  )
  const consumer = yield* Consumer.make({
    name: "the consumer",
    stream,
    admits: () => true,
    ignores: MeshEvent.isRepairElement,
    reference,
    joinsLate: false,
    only: () => true,
    isEmpty: () => false
  }).pipe(Scope.provide(own))
  const following: Following = {
    consumer,
    reference,
    scope: own,
    laws: RepairLaws.make(input, fetched),
    judgeFetches: () => (fetches > input.filter(RepairLaws.isGap).length ? "there are more fetches than marks" : wrong),
    judged: 0
  }
  return following
})

const judgeLaws = (self: Following): string | undefined => {
  const { consumer, judgeFetches, laws } = self
  for (; self.judged < consumer.events.length; self.judged++) {
    const event = consumer.events[self.judged]
    const wrong = event === undefined ? undefined : laws.judge(event)
    if (wrong !== undefined) return wrong
  }
  return judgeFetches()
}

/** Judges that the last mark was repaired, and that each task has the version that the server has. */
const judgeHealed = Effect.fnUntraced(function* (
  mesh: ScriptedMesh["Service"],
  { consumer, laws }: Following,
  moment: Moment
) {
  const { events } = consumer
  const outcome = events.findLast(({ _tag }) => _tag === "Repaired" || _tag === "RepairFailed")
  const outcomeAt = outcome === undefined ? -1 : events.lastIndexOf(outcome)
  if (outcomeAt < events.findLastIndex(RepairLaws.isGap)) {
    return "the last mark has neither a Repaired nor a RepairFailed"
  }
  if (moment === "healed") return undefined
  if (outcome?._tag !== "Repaired" || outcome.open > 0) return "the last mark is not repaired"
  for (const [taskId, version] of yield* SnapshotServer.truthOf(mesh, 0)) {
    const shown = laws.highest.get(taskId)
    if (shown !== version) return `${taskId} has version ${shown}, and version ${version} on the server`
  }
  return undefined
})
