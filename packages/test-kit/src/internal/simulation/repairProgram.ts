/**
 * A `MeshStream` with a `Repair`, and a snapshot server that is slow, stale within a
 * bound, failing or partial, as a program under simulation.
 *
 * The snapshot server knows the newest update of each task that the mesh has sent, heard
 * or not.
 */
import * as Arbitrary from "effect/Arbitrary"
import * as Cause from "effect/Cause"
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
import type { TaskId } from "@makima-stream/core/TaskId"
import type { ScriptedMesh } from "../../ScriptedMesh.ts"
import type { Moment, Program } from "./program.ts"
import * as Backoff from "./backoff.ts"
import * as Consumer from "./consumer.ts"
import * as Interests from "./interests.ts"
import * as Reference from "./reference.ts"

const Do = Schema.TaggedUnion({
  /** How the snapshot server answers from now on. */
  Serve: {
    delayMillis: Schema.Literals([0, 0, 300, 3000, 60_000]),
    /** How many of the last entries of the server's log it does not know yet. */
    stale: Schema.Literals([0, 0, 3, 20]),
    fails: Schema.Literals([false, false, true]),
    /** Whether the list leaves a task out. */
    isPartial: Schema.Boolean
  },
  Stall: {},
  Resume: {}
})

export type Action = typeof Do.Type

const action: Arbitrary.Arbitrary<Action> = Arbitrary.flatMap(
  Arbitrary.schema(Schema.Literals([0, 1, 2, 3, 4, 5])),
  (kind): Arbitrary.Arbitrary<Action> => {
    if (kind < 3) return Arbitrary.schema(Do.cases.Serve)
    return kind < 4 ? Arbitrary.schema(Do.cases.Stall) : Arbitrary.schema(Do.cases.Resume)
  }
)

type Service = typeof Do.cases.Serve.Type

const healthy: Service = { _tag: "Serve", delayMillis: 0, stale: 0, fails: false, isPartial: false }

/** The task that a partial list leaves out. */
const leftOut = Interests.taskOf("b")

type Versions = ReadonlyMap<TaskId, number>

/** A fetch that has returned a snapshot. */
interface Fetched {
  /** How many events the feed had when it began. */
  readonly began: number
  /** What the server had sent when it began. Empty if the snapshot was stale. */
  readonly truth: Versions
  readonly snapshot: ReadonlyArray<Repair.TaskSnapshot>
}

/** The highest version of each task that the mesh has sent, without the last entries of its log. */
const truthOf = (mesh: ScriptedMesh["Service"], stale: number): Effect.Effect<Versions> =>
  Effect.map(mesh.log, (log) => {
    const truth = new Map<TaskId, number>()
    for (const entry of log.slice(0, Math.max(0, log.length - stale))) {
      if (entry._tag !== "Sent" && entry._tag !== "Unheard") continue
      const { message } = entry
      if (message?._tag !== "TaskUpdated" || message.version === undefined) continue
      truth.set(message.taskId, Math.max(message.version, truth.get(message.taskId) ?? 0))
    }
    return truth
  })

const snapshotServer = (mesh: ScriptedMesh["Service"], service: () => Service) =>
  Effect.fnUntraced(function* (ask: Repair.Ask, began: number) {
    const begin = yield* truthOf(mesh, 0)
    const { delayMillis, fails, isPartial, stale } = service()
    yield* Effect.sleep(delayMillis)
    if (fails) return yield* Effect.fail({ _tag: "Down" } as const)
    const truth = yield* truthOf(mesh, stale)
    const isListed = (taskId: TaskId): boolean =>
      (!isPartial || taskId !== leftOut) && (ask._tag === "All" || ask.taskIds.includes(taskId))
    const fetched: Fetched = {
      began,
      snapshot: [...truth].flatMap(([taskId, version]) => (isListed(taskId) ? [{ taskId, version }] : [])),
      truth: stale > 0 ? new Map() : new Map([...begin].filter(([taskId]) => isListed(taskId)))
    }
    return fetched
  })

/** Whether an event marks a gap of updates. */
const isGap = (event: MeshEvent.MeshEvent): event is MeshEvent.Resync =>
  event._tag === "Resync" && !(event.reason._tag === "Subscribed" && event.reason.kind === "output")

/** Judges what the repair has emitted, element by element. */
const lawsOf = (input: ReadonlyArray<MeshEvent.MeshEvent>, fetched: Array<Fetched>) => {
  const highest = new Map<TaskId, number>()
  let passed = 0

  const judgeRepaired = ({ open, reasons }: MeshEvent.Repaired): string | undefined => {
    const fetch = fetched.shift()
    if (fetch === undefined) return "a Repaired without a snapshot"
    const { began, snapshot, truth } = fetch
    const marks = new Set(input.slice(0, began).flatMap((event) => (isGap(event) ? [event.reason._tag] : [])))
    const claimed = reasons.find((reason) => !marks.has(reason))
    if (claimed !== undefined) return `a Repaired claims ${claimed}, and its fetch began before that mark`
    if (open === 0 && input.slice(began, passed).some(isGap)) {
      return "a Repaired leaves nothing open, and a mark came after its fetch began"
    }
    for (const [taskId, version] of [...truth, ...snapshot.map((task) => [task.taskId, task.version ?? 0] as const)]) {
      if ((highest.get(taskId) ?? 0) < version) return `a Repaired leaves ${taskId} below version ${version}`
    }
    return undefined
  }

  const judge = (event: MeshEvent.MeshEvent): string | undefined => {
    if (!MeshEvent.isRepairElement(event)) passed++
    if (event._tag === "Repaired") return judgeRepaired(event)
    if (event._tag !== "TaskUpdated" && event._tag !== "Restated") return undefined
    const before = highest.get(event.taskId) ?? 0
    if (event._tag === "Restated" && event.gone === true) return `${event.taskId} is gone, and the list is not complete`
    if (event._tag === "Restated" && (event.version ?? 0) <= before) {
      return `${event.taskId} is restated with version ${event.version}, and had ${before}`
    }
    highest.set(event.taskId, Math.max(before, event.version ?? 0))
    return undefined
  }
  return { judge, highest }
}

interface Following {
  readonly consumer: Consumer.Consumer
  readonly reference: Reference.Reference
  readonly scope: Scope.Closeable
  readonly laws: ReturnType<typeof lawsOf>
  readonly judgeFetches: () => string | undefined
  judged: number
}

export const program: Program<Action> = {
  name: "repair",
  action,
  start: ({ mesh }) =>
    Effect.gen(function* () {
      const scope = yield* Effect.scope
      const socket = yield* Socket.Socket
      let service = healthy
      const fetchOf = snapshotServer(mesh, () => service)
      let following: Following | undefined

      const join = Effect.gen(function* () {
        const own = yield* Scope.fork(scope)
        const reference = yield* Reference.make(mesh)
        const input: Array<MeshEvent.MeshEvent> = []
        const fetched: Array<Fetched> = []
        let wrong: string | undefined
        let fetches = 0

        const fetch = (ask: Repair.Ask) =>
          Effect.suspend(() => {
            const last = input.findLast(
              ({ _tag }) => _tag === "Connected" || _tag === "Disconnected" || _tag === "Resync"
            )
            if (last?._tag === "Connected") wrong ??= "a fetch began between Connected and the mark"
            return fetchOf(ask, input.length)
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
        const judgeFetches = () => (fetches > input.filter(isGap).length ? "there are more fetches than marks" : wrong)
        following = { consumer, reference, scope: own, laws: lawsOf(input, fetched), judgeFetches, judged: 0 }
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

      const judgeHealed = Effect.fnUntraced(function* ({ consumer, laws }: Following, moment: Moment) {
        const { events } = consumer
        const outcome = events.findLast(({ _tag }) => _tag === "Repaired" || _tag === "RepairFailed")
        const outcomeAt = outcome === undefined ? -1 : events.lastIndexOf(outcome)
        if (outcomeAt < events.findLastIndex(isGap)) return "the last mark has neither a Repaired nor a RepairFailed"
        if (moment === "healed") return undefined
        if (outcome?._tag !== "Repaired" || outcome.open > 0) return "the last mark is not repaired"
        for (const [taskId, version] of yield* truthOf(mesh, 0)) {
          const shown = laws.highest.get(taskId)
          if (shown !== version) return `${taskId} has version ${shown}, and version ${version} on the server`
        }
        return undefined
      })

      const judge = (moment: Moment) =>
        Effect.gen(function* () {
          if (following === undefined) return undefined
          const { consumer, reference } = following
          const wrong = (yield* reference.update) ?? consumer.judge() ?? judgeLaws(following) ?? judgeEnd(consumer)
          if (wrong !== undefined) return wrong
          if (consumer.exit() !== undefined) {
            yield* Scope.close(following.scope, Exit.void)
            yield* join
            return undefined
          }
          return moment === "step" ? undefined : yield* judgeHealed(following, moment)
        })

      yield* join

      return {
        act: (action) =>
          Effect.suspend(() => {
            switch (action._tag) {
              case "Serve":
                service = action
                return Effect.void
              case "Stall":
                return following?.consumer.stall ?? Effect.void
              case "Resume":
                return following?.consumer.resume ?? Effect.void
            }
          }),
        judge,
        release: Effect.suspend(() => {
          service = healthy
          return following?.consumer.resume ?? Effect.void
        })
      }
    })
}

/** Only a fatal refusal ends the stream. */
const judgeEnd = (consumer: Consumer.Consumer): string | undefined => {
  const exit = consumer.exit()
  if (exit === undefined) return undefined
  if (Exit.isFailure(exit)) {
    const failure = exit.cause.reasons.find(Cause.isFailReason)
    if (failure !== undefined && Backoff.isFatal(failure.error.reason)) return undefined
  }
  return `the stream ended by itself: ${Exit.isFailure(exit) ? Cause.pretty(exit.cause) : "without a failure"}`
}
