/** A `MeshClient` with consumers of all kinds, as a program under simulation. */
import * as Arbitrary from "effect/Arbitrary"
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as SubscriptionRef from "effect/SubscriptionRef"
import * as Interest from "@makima-stream/core/Interest"
import * as MeshClient from "@makima-stream/core/MeshClient"
import type { MeshError } from "@makima-stream/core/MeshError"
import type { Data, MeshEvent } from "@makima-stream/core/MeshEvent"
import type { TaskId } from "@makima-stream/core/TaskId"
import * as TaskStatus from "@makima-stream/core/TaskStatus"
import type { Moment, Program } from "./program.ts"
import * as Backoff from "./backoff.ts"
import * as Consumer from "./consumer.ts"
import * as Interests from "./interests.ts"
import * as Reference from "./reference.ts"

const which = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 3 }))

const Do = Schema.TaggedUnion({
  /** A consumer joins, if there are fewer than four. */
  Join: {
    stream: Schema.Union([
      Schema.TaggedStruct("events", { wants: Interests.Wanted }),
      Schema.TaggedStruct("updates", {}),
      Schema.TaggedStruct("output", { task: Schema.Literals(Interests.taskNames) }),
      Schema.TaggedStruct("task", { task: Schema.Literals(Interests.taskNames) }),
      Schema.TaggedStruct("everything", {})
    ]),
    overflow: Schema.Literals(["suspend", "shed", "sliding", "dropping", "fail"]),
    capacity: Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 6 })),
    /** Whether it subscribes again immediately after a fatal refusal has ended it. */
    again: Schema.Boolean
  },
  Stall: { which },
  Resume: { which },
  Leave: { which },
  /** The next event kills it. */
  Die: { which },
  Reconnect: {}
})

export type Action = typeof Do.Type

const cases = Do.cases

/** Mostly consumers that join and stall, since the other actions need them. */
const action: Arbitrary.Arbitrary<Action> = Arbitrary.flatMap(
  Arbitrary.schema(Schema.Literals([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11])),
  (kind): Arbitrary.Arbitrary<Action> => {
    if (kind < 4) return Arbitrary.schema(cases.Join)
    if (kind < 7) return Arbitrary.schema(cases.Stall)
    if (kind < 9) return Arbitrary.schema(cases.Resume)
    return Arbitrary.schema(Schema.Union([cases.Leave, cases.Die, cases.Reconnect]))
  }
)

type Join = typeof Do.cases.Join.Type

interface Member {
  readonly consumer: Consumer.Consumer
  readonly scope: Scope.Closeable
  readonly join: Join
  readonly interest: Interest.Interest
  /** The number of fatal refusals before it joined. */
  readonly refusedBefore: number
  /** Returns what is wrong with the outputs of discovered tasks. */
  readonly judgeOutputs: (moment: Moment) => string | undefined
}

export const program: Program<Action> = {
  name: "meshClient",
  action,
  start: ({ dials, mesh }) =>
    Effect.gen(function* () {
      const scope = yield* Effect.scope
      const clock = yield* Clock.Clock
      const client = yield* MeshClient.make()
      const reference = yield* Reference.make(mesh)
      let members: ReadonlyArray<Member> = []
      let joined = 0
      /** The tasks whose output a consumer has requested: `everything` may not have discovered them yet. */
      const sharedOutputs = new Set<TaskId>()

      // -----------------------------------------------------------------------
      // the connection, by its status
      // -----------------------------------------------------------------------

      const backoff = Backoff.make()
      let wrongStatus: string | undefined
      let connecting = 0
      let last: MeshClient.Status = { _tag: "Idle" }
      let hurried = false

      const judgeStatus = (status: MeshClient.Status): string | undefined => {
        const before = last
        last = status
        const at = Number(clock.monotonicTimeNanosUnsafe()) / 1e6
        switch (status._tag) {
          case "Idle":
            backoff.fresh()
            return undefined
          case "Connecting":
            connecting++
            if (before._tag !== "Offline") {
              backoff.fresh()
              return undefined
            }
            return hurried ? undefined : backoff.dialled(at)
          case "Online":
            hurried = false
            backoff.opened(at)
            return undefined
          case "Offline":
            hurried = false
            return backoff.ended({
              at,
              opened: before._tag === "Online",
              attempt: status.attempt,
              reason: status.reason,
              retryInMillis: status.retryAt - clock.currentTimeMillisUnsafe(),
              heard: before._tag === "Online" && (reference.messages.get(before.epoch) ?? 0) > 0
            })
          case "Failed":
            return Backoff.isFatal(status.error.reason) ? undefined : `the client gave up: ${status.error.message}`
        }
      }

      yield* SubscriptionRef.changes(client.status).pipe(
        Stream.runForEach((status) =>
          // `heard` depends on the messages that were pulled before this.
          Effect.map(reference.update, () => {
            wrongStatus ??= judgeStatus(status)
          })
        ),
        Effect.forkScoped
      )

      // -----------------------------------------------------------------------
      // the consumers
      // -----------------------------------------------------------------------

      const streamOf = ({
        capacity,
        overflow,
        stream
      }: Join): readonly [Stream.Stream<MeshEvent, MeshError>, Interest.Interest] => {
        const options = { capacity, overflow }
        switch (stream._tag) {
          case "events": {
            const interest = Interests.toInterest(stream.wants)
            return [client.events(interest, options), interest]
          }
          case "updates":
            return [client.updates(undefined, options), Interest.all]
          case "output":
            return [
              client.output(Interests.taskOf(stream.task), options),
              Interest.output(Interests.taskOf(stream.task))
            ]
          case "task":
            return [client.task(Interests.taskOf(stream.task), options), Interest.task(Interests.taskOf(stream.task))]
          case "everything":
            // The output that is wanted depends on the events that the consumer saw, so its queue may lose none.
            return [client.everything({ capacity, overflow: "suspend" }), Interest.all]
        }
      }

      /** The number of fatal refusals. */
      const refusals = Effect.map(
        mesh.log,
        (log) =>
          log.filter((entry) => entry._tag === "Refused" && Backoff.isFatal({ ...entry, _tag: "HandshakeRejected" }))
            .length
      )

      const join = (action: Join): Effect.Effect<void> =>
        Effect.gen(function* () {
          yield* reference.update
          const own = yield* Scope.fork(scope)
          const refusedBefore = yield* refusals
          const [stream, interest] = streamOf(action)
          const consumer = yield* Consumer.make({
            name: `consumer ${++joined} (${action.stream._tag})`,
            stream,
            admits: admits(action, interest),
            only: wantsOf(action, interest),
            discovers: action.stream._tag === "everything",
            ...(action.stream._tag === "everything" ? { ignores: isOutput } : {}),
            reference,
            joinsLate: true,
            isEmpty: () => Interest.isEmpty(interest),
            ...(action.again ? { onFailure: Effect.suspend(() => join({ ...action, again: false })) } : {})
          }).pipe(Scope.provide(own))
          members = [
            ...members,
            {
              consumer,
              scope: own,
              join: action,
              interest,
              refusedBefore,
              judgeOutputs: discoveredOutputs(consumer, reference)
            }
          ]
        })

      /** Which messages a consumer wants, for the audit of its marks. */
      const wantsOf = (action: Join, interest: Interest.Interest) => {
        const admitsElement = admits(action, interest)
        for (const taskId of interest.output) sharedOutputs.add(taskId)
        return (message: Data): boolean =>
          action.stream._tag === "everything" && message._tag === "TaskOutput"
            ? !sharedOutputs.has(message.taskId)
            : admitsElement({ _tag: "Data", epoch: 0, message })
      }

      const leave = (member: Member) =>
        Effect.suspend(() => {
          members = members.filter((other) => other !== member)
          return Scope.close(member.scope, Exit.void)
        })

      const judgeMember = (member: Member, moment: Moment, refused: number): string | undefined => {
        const { consumer, join, judgeOutputs } = member
        const isEverything = join.stream._tag === "everything"
        // A consumer that has ended does not have to see the rest.
        const ended = consumer.exit() !== undefined
        const wrong =
          consumer.judge() ??
          judgeEnd(member, refused) ??
          (isEverything ? judgeOutputs(ended ? "step" : moment) : undefined)
        if (wrong !== undefined) return wrong
        // Events in its queue, those it is handling, and a batch in the router; the connection's end may follow them.
        const bound = 2 * join.capacity + Consumer.maxPull + 1
        // A fatal refusal ends it too, even while it is stalled and has not seen the end.
        const isFed = !ended && refused === member.refusedBefore
        const behind = overflowOf(join) === "suspend" && isFed ? consumer.behind() : 0
        return behind > bound
          ? `${consumer.name} is ${behind} events behind, with a queue of ${join.capacity}`
          : undefined
      }

      const demand = (): Interest.Interest =>
        Interest.union(
          ...members.map(({ consumer, interest, join }) =>
            join.stream._tag === "everything"
              ? Interest.union(interest, Interest.output(discoveredBy(consumer.events)))
              : interest
          )
        )

      const judgeHealed = Effect.fnUntraced(function* (moment: Moment, hasLeft: boolean) {
        const log = yield* mesh.log
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
        const wanted = demand()
        const wrong = Interests.judgeWire(open, wanted)
        if (wrong !== undefined) return wrong
        const { confirmed, requested } = yield* SubscriptionRef.get(client.subscriptions)
        const shows = (interest: Interest.Interest) => Interest.equals(interest, Interests.onWire(wanted))
        return shows(requested) && (moment === "healed" || shows(confirmed))
          ? undefined
          : `the client lists ${Interests.show(requested)} as requested and ${Interests.show(confirmed)} as confirmed`
      })

      const judge = (moment: Moment) =>
        Effect.gen(function* () {
          const wrong = (yield* reference.update) ?? wrongStatus
          if (wrong !== undefined) return wrong
          if (dials().length > connecting) {
            return `there were ${dials().length} dials, and the status showed ${connecting}`
          }
          const refused = yield* refusals
          let hasLeft = false
          for (const member of members) {
            const wrong = judgeMember(member, moment, refused)
            if (wrong !== undefined) return wrong
            if (member.consumer.exit() === undefined) continue
            hasLeft = true
            yield* leave(member)
          }
          return moment === "step" ? undefined : yield* judgeHealed(moment, hasLeft)
        })

      return {
        act: (action) =>
          Effect.suspend(() => {
            if (action._tag === "Join") return members.length < 4 ? join(action) : Effect.void
            if (action._tag === "Reconnect") {
              hurried = true
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
                return leave(member)
              case "Die":
                return member.consumer.die
            }
          }),
        judge,
        release: Effect.suspend(() => Effect.forEach(members, ({ consumer }) => consumer.resume, { discard: true }))
      }
    })
}

const overflowOf = ({ overflow, stream }: Join): Join["overflow"] =>
  stream._tag === "everything" ? "suspend" : overflow

/** Which elements a consumer must see. Discovered outputs are judged separately. */
const admits =
  ({ stream }: Join, interest: Interest.Interest) =>
  (element: Reference.Element): boolean => {
    if (element._tag !== "Data") return true
    const { message } = element
    switch (message._tag) {
      case "TaskUpdated":
        return interest.all || interest.updates.has(message.taskId)
      case "TaskOutput":
        return interest.output.has(message.taskId)
      default:
        return stream._tag === "events" || stream._tag === "everything"
    }
  }

const judgeEnd = ({ consumer, join, refusedBefore }: Member, refused: number): string | undefined => {
  const exit = consumer.exit()
  if (exit === undefined) return undefined
  if (Exit.isFailure(exit)) {
    if (Cause.hasDies(exit.cause) && consumer.isDying()) return undefined
    const failure = exit.cause.reasons.find(Cause.isFailReason)
    if (failure !== undefined && Backoff.isFatal(failure.error.reason)) {
      return refused > refusedBefore ? undefined : `${consumer.name} ended with an error from before it joined`
    }
    if (overflowOf(join) === "fail" && failure?.error.reason._tag === "ConsumerOverflow") return undefined
  }
  return `${consumer.name}'s stream ended by itself: ${Exit.isFailure(exit) ? Cause.pretty(exit.cause) : "without a failure"}`
}

const isOutput = (event: MeshEvent): boolean => event._tag === "TaskOutput"

/** The tasks whose output `everything` wants, long after its last event. */
const discoveredBy = (events: ReadonlyArray<MeshEvent>): ReadonlySet<TaskId> => {
  const discovered = new Set<TaskId>()
  for (const event of events) {
    if (event._tag !== "TaskUpdated") continue
    if (event.status !== undefined && TaskStatus.defaultTerminal.has(event.status)) discovered.delete(event.taskId)
    else discovered.add(event.taskId)
  }
  return discovered
}

/**
 * Judges the outputs of discovered tasks in `everything`: in order, each once. Holes are allowed, since it depends on timing
 * where they begin and end; but at the end the newest output of every task must have arrived.
 */
const discoveredOutputs = (consumer: Consumer.Consumer, reference: Reference.Reference) => {
  const newest = new Map<TaskId, string | undefined>()
  let judged = 0
  let next = 0
  return (moment: Moment): string | undefined => {
    for (; judged < consumer.events.length; judged++) {
      const event = consumer.events[judged]
      if (event?._tag !== "TaskOutput") continue
      const from = next
      const found = reference.elements.findIndex((element, at) => at >= from && Reference.matches(element, event))
      if (found < 0) return `${consumer.name} saw output ${event.content} out of order or twice`
      next = found + 1
      newest.set(event.taskId, event.content)
    }
    if (moment === "step") return undefined
    const expected = new Map<TaskId, string>()
    for (const element of reference.elements) {
      if (element._tag === "Data" && element.message._tag === "TaskOutput") {
        expected.set(element.message.taskId, element.message.content)
      }
    }
    for (const [taskId, content] of expected) {
      if (newest.get(taskId) !== content) return `${consumer.name} never saw output ${content} of task ${taskId}`
    }
    return undefined
  }
}
