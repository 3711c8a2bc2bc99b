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
import type { ScriptedMesh } from "../../ScriptedMesh.ts"
import type { ServerLog } from "../../ServerLog.ts"
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

const firstTask = TaskId.make("a")
const tasks = [firstTask, TaskId.make("b"), TaskId.make("c")]

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
      const client = yield* MeshClient.make({ connections: Merge.connections() }).pipe(
        Effect.provideService(Socket.Socket, yield* Socket.Socket)
      )
      const consumers = yield* joinConsumers(client)
      /** How many events the first consumer had when a connection was lost while the other one was aligned. */
      let quietFrom: number | undefined

      const judge = Effect.fnUntraced(function* (moment: Moment) {
        const from = quietFrom
        quietFrom = undefined
        const mark = from === undefined ? undefined : consumers.first().events.slice(from).find(isGap)
        if (mark !== undefined) return `${mark._tag} although the other connection was aligned: ${JSON.stringify(mark)}`
        // If fibers yield at random, time may pass between the decision to dial and the dial.
        const wrong = yields ? undefined : judgeDials(dials())
        if (wrong !== undefined) return wrong
        const exit = consumers.first().fiber.pollUnsafe()
        if (exit !== undefined) {
          if (Exit.hasDies(exit) || Exit.isSuccess(exit)) return "the consumer's stream ended by itself"
          const violation = judgeEvents(yield* mesh.log, consumers.first())
          if (violation !== undefined) return violation
          // After a fatal reason it subscribes again, as a program with `retry` does.
          yield* consumers.again
        }
        return moment === "step" ? undefined : judgeAll(yield* mesh.log, consumers.first(), consumers.late())
      })

      /** Records that the consumer must not see the loss of a connection. */
      const expectQuiet = Effect.gen(function* () {
        const { connections = [] } = yield* SubscriptionRef.get(client.status)
        const frozen = (yield* mesh.connections).some(({ frozen, open, unread }) => open && (frozen || unread > 0))
        const isSafe = connections.every((each) => each._tag === "Online" && each.isAligned)
        if (isSafe && !frozen && consumers.gate.isOpen()) quietFrom = consumers.first().events.length
      })

      const act = Effect.fnUntraced(function* (action: Action) {
        switch (action._tag) {
          case "KillOne":
          case "CloseOne": {
            const id = yield* openConnection(mesh, action.which)
            if (id === undefined) return
            yield* expectQuiet
            yield* action._tag === "CloseOne" ? mesh.close(1001, undefined, id) : mesh.kill(id, { drop: action.drop })
            return
          }
          case "FreezeOne":
          case "ThawOne": {
            const id = yield* openConnection(mesh, action.which)
            if (id !== undefined) yield* action._tag === "FreezeOne" ? mesh.freeze(id) : mesh.thaw(id)
            return
          }
          case "Join":
            return yield* consumers.joinLate
          case "Leave":
            return yield* consumers.leaveLate
          case "Stall":
            return consumers.gate.closeUnsafe()
          case "Resume":
            return consumers.gate.openUnsafe()
        }
      }, Effect.asVoid)

      return { act, judge, release: Effect.sync(() => consumers.gate.openUnsafe()) }
    })
}

/** The consumers of a client: one of everything, which can be stalled, and sometimes one of the output of one task. */
const joinConsumers = Effect.fnUntraced(function* (client: MeshClient.Service) {
  const scope = yield* Effect.scope
  /** The first consumer waits while it is closed. */
  const gate = Latch.makeUnsafe(true)

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
      const following: Following = { events, fiber, scope: own, wants }
      return following
    })
  const followAll = follow(client.events(Interest.union(Interest.all, Interest.output(tasks))), () => true, true)
  const followOne = follow(
    client.output(firstTask),
    (message) => message._tag === "TaskOutput" && message.taskId === firstTask,
    false
  )

  let first = yield* followAll
  let late: Following | undefined
  return {
    gate,
    first: (): Following => first,
    late: (): Following | undefined => late,
    /** The first consumer subscribes again. */
    again: Effect.gen(function* () {
      yield* Scope.close(first.scope, Exit.void)
      first = yield* followAll
    }),
    joinLate: Effect.gen(function* () {
      late ??= yield* followOne
    }),
    leaveLate: Effect.suspend(() => {
      const leaving = late
      late = undefined
      return leaving === undefined ? Effect.void : Scope.close(leaving.scope, Exit.void)
    })
  }
})

/** The number of an open connection: the older or the newer one. */
const openConnection = (mesh: ScriptedMesh["Service"], which: number): Effect.Effect<number | undefined> =>
  Effect.map(mesh.connections, (connections) => {
    const open = connections.filter(({ open }) => open)
    return open[which % Math.max(1, open.length)]?.id
  })

const judgeDials = (times: ReadonlyArray<number>): string | undefined => {
  const [a, b] = [times.at(-2), times.at(-1)]
  return a !== undefined && b !== undefined && b - a < dialSpacing ? `two dials within ${b - a} ms` : undefined
}

const judgeEvents = (log: ServerLog, { events, wants }: Following): string | undefined => {
  const report = MergeAudit.compare(log, events, { wants })
  return MergeAudit.isClean(report) ? undefined : MergeAudit.format(report)
}

/** Judges the events of all consumers, and that the first one has seen the last message. */
const judgeAll = (log: ServerLog, first: Following, late: Following | undefined): string | undefined => {
  const wrong = judgeEvents(log, first)
  if (wrong !== undefined) return wrong
  const { inFlight } = MergeAudit.compare(log, first.events)
  if (inFlight > 0) return `the consumer never saw the last ${inFlight} messages`
  return late === undefined ? undefined : judgeEvents(log, late)
}
