/**
 * The consumers of a `MeshClient` under simulation: what each of them wants and must
 * see, how far it may be behind, and how it may end.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import type * as Stream from "effect/Stream"
import * as Interest from "@makima-stream/core/Interest"
import type * as MeshClient from "@makima-stream/core/MeshClient"
import type { MeshError } from "@makima-stream/core/MeshError"
import type { Data, MeshEvent } from "@makima-stream/core/MeshEvent"
import type { TaskId } from "@makima-stream/core/TaskId"
import * as TaskStatus from "@makima-stream/core/TaskStatus"
import type { ScriptedMesh } from "../../ScriptedMesh.ts"
import * as Backoff from "./backoff.ts"
import * as Consumer from "./consumer.ts"
import * as Interests from "./interests.ts"
import type { Moment } from "./program.ts"
import * as Reference from "./reference.ts"

/** A consumer joins. */
export const Join = Schema.TaggedStruct("Join", {
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
})

export type Join = typeof Join.Type

export interface Member {
  readonly consumer: Consumer.Consumer
  readonly scope: Scope.Closeable
  readonly join: Join
  readonly interest: Interest.Interest
  /** The number of fatal refusals before it joined. */
  readonly refusedBefore: number
  /** Returns what is wrong with the outputs of discovered tasks. */
  readonly judgeOutputs: (moment: Moment) => string | undefined
}

export interface Consumers {
  readonly members: () => ReadonlyArray<Member>
  readonly join: (join: Join) => Effect.Effect<void>
  readonly leave: (member: Member) => Effect.Effect<void>
  /** What all consumers together want. */
  readonly demand: () => Interest.Interest
  /** Judges all consumers, and removes those that have ended. */
  readonly judge: (moment: Moment) => Effect.Effect<{
    readonly wrong: string | undefined
    /** Whether a consumer has ended. */
    readonly hasLeft: boolean
  }>
}

/** The consumers of a client, in the current scope. */
export const make = Effect.fnUntraced(function* (
  client: MeshClient.Service,
  mesh: ScriptedMesh["Service"],
  reference: Reference.Reference
) {
  const scope = yield* Effect.scope
  let members: ReadonlyArray<Member> = []
  let joined = 0
  /** The tasks whose output a consumer has requested: `everything` may not have discovered them yet. */
  const sharedOutputs = new Set<TaskId>()

  /** The number of fatal refusals. */
  const refusals = Effect.map(
    mesh.log,
    (log) =>
      log.filter((entry) => entry._tag === "Refused" && Backoff.isFatal({ ...entry, _tag: "HandshakeRejected" })).length
  )

  /** Which messages a consumer wants, for the audit of its marks. */
  const wantsOf = (action: Join, interest: Interest.Interest) => {
    const admitsElement = admits(action, interest)
    for (const taskId of interest.output) sharedOutputs.add(taskId)
    return (message: Data): boolean =>
      action.stream._tag === "everything" && message._tag === "TaskOutput"
        ? !sharedOutputs.has(message.taskId)
        : admitsElement({ _tag: "Data", epoch: 0, message })
  }

  const join = (action: Join): Effect.Effect<void> =>
    Effect.gen(function* () {
      yield* reference.update
      const own = yield* Scope.fork(scope)
      const refusedBefore = yield* refusals
      const [stream, interest] = streamOf(client, action)
      const isEverything = action.stream._tag === "everything"
      const consumer = yield* Consumer.make({
        name: `consumer ${++joined} (${action.stream._tag})`,
        stream,
        admits: admits(action, interest),
        only: wantsOf(action, interest),
        discovers: isEverything,
        ...(isEverything ? { ignores: isOutput } : {}),
        reference,
        joinsLate: true,
        isEmpty: () => Interest.isEmpty(interest),
        ...(action.again ? { onFailure: Effect.suspend(() => join({ ...action, again: false })) } : {})
      }).pipe(Scope.provide(own))
      const judgeOutputs = discoveredOutputs(consumer, reference)
      members = [...members, { consumer, scope: own, join: action, interest, refusedBefore, judgeOutputs }]
    })

  const leave = (member: Member) =>
    Effect.suspend(() => {
      members = members.filter((other) => other !== member)
      return Scope.close(member.scope, Exit.void)
    })

  const self: Consumers = {
    members: () => members,
    join,
    leave,
    demand: () => Interest.union(...members.map(demandOf)),
    judge: Effect.fnUntraced(function* (moment) {
      const refused = yield* refusals
      let hasLeft = false
      for (const member of members) {
        const wrong = judgeMember(member, moment, refused)
        if (wrong !== undefined) return { wrong, hasLeft }
        if (member.consumer.exit() === undefined) continue
        hasLeft = true
        yield* leave(member)
      }
      return { wrong: undefined, hasLeft }
    })
  }
  return self
})

/** The stream of a consumer, and the interest that it stands for. */
const streamOf = (
  client: MeshClient.Service,
  { capacity, overflow, stream }: Join
): readonly [Stream.Stream<MeshEvent, MeshError>, Interest.Interest] => {
  const options = { capacity, overflow }
  switch (stream._tag) {
    case "events": {
      const interest = Interests.toInterest(stream.wants)
      return [client.events(interest, options), interest]
    }
    case "updates":
      return [client.updates(undefined, options), Interest.all]
    case "output": {
      const taskId = Interests.taskOf(stream.task)
      return [client.output(taskId, options), Interest.output(taskId)]
    }
    case "task": {
      const taskId = Interests.taskOf(stream.task)
      return [client.task(taskId, options), Interest.task(taskId)]
    }
    case "everything":
      // The output that is wanted depends on the events that the consumer saw, so its queue may lose none.
      return [client.everything({ capacity, overflow: "suspend" }), Interest.all]
  }
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

const demandOf = ({ consumer, interest, join }: Member): Interest.Interest =>
  join.stream._tag === "everything"
    ? Interest.union(interest, Interest.output(discoveredBy(consumer.events)))
    : interest

const judgeMember = (member: Member, moment: Moment, refused: number): string | undefined => {
  const { consumer, join, judgeOutputs } = member
  // A consumer that has ended does not have to see the rest.
  const ended = consumer.exit() !== undefined
  const wrong =
    consumer.judge() ??
    judgeEnd(member, refused) ??
    (join.stream._tag === "everything" ? judgeOutputs(ended ? "step" : moment) : undefined)
  if (wrong !== undefined) return wrong
  // Events in its queue, those it is handling, and a batch in the router; the connection's end may follow them.
  const bound = 2 * join.capacity + Consumer.maxPull + 1
  // A fatal refusal ends it too, even while it is stalled and has not seen the end.
  const isFed = !ended && refused === member.refusedBefore
  const behind = overflowOf(join) === "suspend" && isFed ? consumer.behind() : 0
  return behind > bound ? `${consumer.name} is ${behind} events behind, with a queue of ${join.capacity}` : undefined
}

const judgeEnd = ({ consumer, join, refusedBefore }: Member, refused: number): string | undefined => {
  const failure = Consumer.failureOf(consumer)
  if (failure !== undefined && Backoff.isFatal(failure.reason) && refused <= refusedBefore) {
    return `${consumer.name} ended with an error from before it joined`
  }
  return Consumer.judgeEnd(
    consumer,
    ({ reason }) => Backoff.isFatal(reason) || (overflowOf(join) === "fail" && reason._tag === "ConsumerOverflow")
  )
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
