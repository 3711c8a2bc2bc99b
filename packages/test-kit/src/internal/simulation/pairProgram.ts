/**
 * A `MeshClient` with two connections, as a program under simulation. Its
 * consumers are checked by `MergeAudit`: everything in order, once, or a mark.
 */
import * as Arbitrary from "effect/Arbitrary"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Latch from "effect/Latch"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import * as Socket from "effect/socket/Socket"
import * as Stream from "effect/Stream"
import * as SubscriptionRef from "effect/SubscriptionRef"
import * as Interest from "@makima-stream/core/Interest"
import * as Merge from "@makima-stream/core/Merge"
import * as MeshClient from "@makima-stream/core/MeshClient"
import type { MeshError } from "@makima-stream/core/MeshError"
import type { Data, MeshEvent } from "@makima-stream/core/MeshEvent"
import { TaskId } from "@makima-stream/core/TaskId"
import * as MergeAudit from "../../MergeAudit.ts"
import type { Moment, Program } from "./program.ts"

const Which = Schema.Literals([0, 1])

const Do = Schema.TaggedUnion({
  /** A fault of one of the open connections: the older or the newer one. */
  KillOne: { which: Which, drop: Schema.Boolean },
  CloseOne: { which: Which },
  FreezeOne: { which: Which },
  ThawOne: { which: Which },
  /** A consumer of the output of one task joins, or leaves. */
  Join: {},
  Leave: {},
  /** The first consumer stops reading, or continues. */
  Stall: {},
  Resume: {}
})

export type Action = typeof Do.Type

const cases = Do.cases

/** Chosen so that most runs lose connections one at a time. */
const action: Arbitrary.Arbitrary<Action> = Arbitrary.flatMap(
  Arbitrary.schema(Schema.Literals([0, 1, 2, 3, 4, 5, 6, 7, 8, 9])),
  (kind): Arbitrary.Arbitrary<Action> => {
    if (kind < 4) return Arbitrary.schema(Schema.Union([cases.KillOne, cases.CloseOne]))
    if (kind < 7) return Arbitrary.schema(Schema.Union([cases.FreezeOne, cases.ThawOne]))
    if (kind < 9) return Arbitrary.schema(Schema.Union([cases.Join, cases.Leave]))
    return Arbitrary.schema(Schema.Union([cases.Stall, cases.Resume]))
  }
)

const tasks = ["a", "b", "c"].map((name) => TaskId.make(name))

/** The shortest time between two dials. */
const dialSpacing = 1000

interface Following {
  readonly events: Array<MeshEvent>
  readonly fiber: Fiber.Fiber<void, MeshError>
  readonly scope: Scope.Closeable
  readonly wants: (message: Data) => boolean
}

const isGap = ({ _tag }: MeshEvent): boolean => _tag === "Resync" || _tag === "Disconnected"

export const program: Program<Action> = {
  name: "meshPair",
  action,
  maxConnections: 2,
  start: ({ dials, mesh, yields }) =>
    Effect.gen(function* () {
      const scope = yield* Effect.scope
      const client = yield* MeshClient.make({ connections: Merge.connections() }).pipe(
        Effect.provideService(Socket.Socket, yield* Socket.Socket)
      )
      const gate = Latch.makeUnsafe(true)
      /** How many events the first consumer had when a connection was lost while the other one was aligned. */
      let quietFrom: number | undefined

      const follow = (stream: Stream.Stream<MeshEvent, MeshError>, wants: Following["wants"], isGated: boolean) =>
        Effect.gen(function* () {
          const own = yield* Scope.fork(scope)
          const events: Array<MeshEvent> = []
          const fiber = yield* stream.pipe(
            Stream.runForEachArray((batch) =>
              Effect.andThen(
                isGated ? gate.await : Effect.void,
                Effect.sync(() => events.push(...batch))
              )
            ),
            Effect.forkIn(own)
          )
          return { events, fiber, scope: own, wants }
        })
      const everything = Interest.union(Interest.all, Interest.output(tasks))
      const followAll = follow(client.events(everything), () => true, true)
      const [first] = tasks
      const followOne = follow(
        first === undefined ? client.updates() : client.output(first),
        (message) => message._tag === "TaskOutput" && message.taskId === first,
        false
      )

      let all = yield* followAll
      let late: Following | undefined

      const judgeDials = (): string | undefined => {
        // Time may pass between the decision to dial and the dial.
        if (yields) return undefined
        const times = dials()
        const [a, b] = [times.at(-2), times.at(-1)]
        return a !== undefined && b !== undefined && b - a < dialSpacing ? `two dials within ${b - a} ms` : undefined
      }

      const judgeEvents = ({ events, wants }: Following) =>
        Effect.map(mesh.log, (log) => {
          const report = MergeAudit.compare(log, events, { wants })
          return MergeAudit.isClean(report) ? undefined : MergeAudit.format(report)
        })

      const judge = (moment: Moment) =>
        Effect.gen(function* () {
          const from = quietFrom
          quietFrom = undefined
          const mark = from === undefined ? undefined : all.events.slice(from).find(isGap)
          if (mark !== undefined)
            return `${mark._tag} although the other connection was aligned: ${JSON.stringify(mark)}`
          const wrong = judgeDials()
          if (wrong !== undefined) return wrong
          const exit = all.fiber.pollUnsafe()
          if (exit !== undefined) {
            if (Exit.hasDies(exit) || Exit.isSuccess(exit)) return "the consumer's stream ended by itself"
            const violation = yield* judgeEvents(all)
            if (violation !== undefined) return violation
            // After a fatal reason it subscribes again, as a program with `retry` does.
            yield* Scope.close(all.scope, Exit.void)
            all = yield* followAll
          }
          if (moment === "step") return undefined
          const violation = yield* judgeEvents(all)
          if (violation !== undefined) return violation
          const inFlight = MergeAudit.compare(yield* mesh.log, all.events).inFlight
          if (inFlight > 0) return `the consumer never saw the last ${inFlight} messages`
          return late === undefined ? undefined : yield* judgeEvents(late)
        })

      const pick = (which: number) =>
        Effect.map(mesh.connections, (connections) => {
          const open = connections.filter(({ open }) => open)
          return open[which % Math.max(1, open.length)]?.id
        })

      /** Records that the consumer must not see the loss of a connection. */
      const expectQuiet = Effect.gen(function* () {
        const { connections = [] } = yield* SubscriptionRef.get(client.status)
        const frozen = (yield* mesh.connections).some(({ frozen, open, unread }) => open && (frozen || unread > 0))
        const isSafe = connections.every((each) => each._tag === "Online" && each.isAligned)
        if (isSafe && !frozen && gate.isOpen()) quietFrom = all.events.length
      })

      const act = (action: Action): Effect.Effect<void> =>
        Effect.gen(function* () {
          switch (action._tag) {
            case "KillOne":
            case "CloseOne": {
              const id = yield* pick(action.which)
              if (id === undefined) return
              yield* expectQuiet
              if (action._tag === "CloseOne") return yield* mesh.close(1001, undefined, id)
              return yield* mesh.kill(id, { drop: action.drop })
            }
            case "FreezeOne":
            case "ThawOne": {
              const id = yield* pick(action.which)
              if (id === undefined) return
              return yield* action._tag === "FreezeOne" ? mesh.freeze(id) : mesh.thaw(id)
            }
            case "Join":
              late ??= yield* followOne
              return
            case "Leave": {
              const leaving = late
              late = undefined
              if (leaving !== undefined) yield* Scope.close(leaving.scope, Exit.void)
              return
            }
            case "Stall":
              return gate.closeUnsafe()
            case "Resume":
              return gate.openUnsafe()
          }
        }).pipe(Effect.asVoid)

      return { act, judge, release: Effect.sync(() => gate.openUnsafe()) }
    })
}
