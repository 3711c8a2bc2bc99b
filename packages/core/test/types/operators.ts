/**
 * What the operators make of types. Nothing here runs: the file is its own test,
 * as long as it compiles.
 */
import type * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import type * as Socket from "effect/socket/Socket"
import * as CostLedger from "@makima-stream/core/CostLedger"
import * as Interest from "@makima-stream/core/Interest"
import * as MeshStream from "@makima-stream/core/MeshStream"
import * as TaskBoard from "@makima-stream/core/TaskBoard"
import * as TaskId from "@makima-stream/core/TaskId"
import type * as MeshError from "@makima-stream/core/MeshError"
import type * as MeshEvent from "@makima-stream/core/MeshEvent"
import type * as ServerMessage from "@makima-stream/core/ServerMessage"

type Equal<X, Y> = (<T>() => T extends X ? 1 : 2) extends <T>() => T extends Y ? 1 : 2 ? true : false

/** Compiles only where both types are the same: neither wider nor narrower, and not `any`. */
declare const same: <X, Y>(..._: Equal<X, Y> extends true ? [] : ["these types differ"]) => void

type Feed<A> = Stream.Stream<A, MeshError.MeshError, Socket.Socket>
type Resync = MeshEvent.Resync | MeshEvent.Repaired | MeshEvent.RepairFailed
type Updated = ServerMessage.TaskUpdated | MeshEvent.Restated
type Status = MeshStream.StatusUpdated | MeshStream.StatusRestated

declare const perhaps: "resync" | undefined
declare const needy: Schema.Codec<string, string, Socket.Socket>
declare const bare: Stream.Stream<MeshEvent.MeshEvent>
const feed = MeshStream.connect({ interest: Interest.all })
const id = TaskId.make("7f1c")

// Bare in a pipe, called, with options, data-first: the same narrowed type, with E and R kept.

const bareOutput = feed.pipe(MeshStream.outputOnly)
const calledOutput = feed.pipe(MeshStream.outputOnly())
const firstOutput = MeshStream.outputOnly(feed)
const offOutput = feed.pipe(MeshStream.outputOnly({ keep: undefined }))
same<typeof bareOutput, Feed<ServerMessage.TaskOutput>>()
same<typeof calledOutput, Feed<ServerMessage.TaskOutput>>()
same<typeof firstOutput, Feed<ServerMessage.TaskOutput>>()
same<typeof offOutput, Feed<ServerMessage.TaskOutput>>()

const markedOutput = feed.pipe(MeshStream.outputOnly({ keep: "resync" }))
const firstMarkedOutput = MeshStream.outputOnly(feed, { keep: "resync" })
const perhapsOutput = feed.pipe(MeshStream.outputOnly({ keep: perhaps }))
const lifecycleOutput = feed.pipe(MeshStream.outputOnly({ keep: "lifecycle" }))
same<typeof markedOutput, Feed<ServerMessage.TaskOutput | Resync>>()
same<typeof firstMarkedOutput, Feed<ServerMessage.TaskOutput | Resync>>()
// An option that is known at run time only may keep it.
same<typeof perhapsOutput, Feed<ServerMessage.TaskOutput | Resync>>()
same<typeof lifecycleOutput, Feed<ServerMessage.TaskOutput | MeshEvent.Lifecycle>>()

const updates = feed.pipe(MeshStream.updatesOnly)
const markedUpdates = feed.pipe(MeshStream.updatesOnly({ keep: "resync" }))
const errors = feed.pipe(MeshStream.serverErrors)
const markedErrors = MeshStream.serverErrors(feed, { keep: "resync" })
const data = feed.pipe(MeshStream.dataOnly)
const markedData = feed.pipe(MeshStream.dataOnly({ keep: "resync" }))
const lifecycle = feed.pipe(MeshStream.lifecycleOnly)
same<typeof updates, Feed<Updated>>()
same<typeof markedUpdates, Feed<Updated | Resync>>()
same<typeof errors, Feed<ServerMessage.ServerError>>()
same<typeof markedErrors, Feed<ServerMessage.ServerError | Resync>>()
same<typeof data, Feed<MeshEvent.Data | MeshEvent.Restated>>()
same<typeof markedData, Feed<MeshEvent.Data | MeshEvent.Restated | Resync>>()
same<typeof lifecycle, Feed<MeshEvent.Lifecycle>>()

// One after another: what was taken out of the type stays out.

const composed = feed.pipe(
  Stream.take(10),
  MeshStream.dedupeUpdates,
  MeshStream.filterTask(id),
  MeshStream.dataOnly,
  MeshStream.outputOnly({ keep: "resync" }),
  MeshStream.filterMessageType("result", { keep: "resync" })
)
same<typeof composed, Feed<ServerMessage.TaskOutput>>()
const nothing = feed.pipe(MeshStream.updatesOnly, MeshStream.outputOnly)
same<typeof nothing, Feed<never>>()
const pure = bare.pipe(MeshStream.updatesOnly)
same<typeof pure, Stream.Stream<Updated>>()

// By task: the data that names none is gone. Takes what other operators make.

type OfTask = Updated | ServerMessage.TaskOutput
const one = feed.pipe(MeshStream.filterTask(id))
const many = MeshStream.filterTask(feed, new Set([id]))
const some = feed.pipe(MeshStream.filterTask((id) => id.startsWith("7")))
const markedOne = feed.pipe(MeshStream.filterTask(id, { keep: "resync" }))
const wholeOne = MeshStream.filterTask(feed, id, { keep: "lifecycle" })
const lineOfTask = feed.pipe(MeshStream.lines, MeshStream.filterTask([id]))
same<typeof one, Feed<OfTask>>()
same<typeof many, Feed<OfTask>>()
same<typeof some, Feed<OfTask>>()
same<typeof markedOne, Feed<OfTask | Resync>>()
same<typeof wholeOne, Feed<OfTask | MeshEvent.Lifecycle>>()
same<typeof lineOfTask, Feed<MeshStream.TaskLine>>()

// By status, message type, field.

const failures = feed.pipe(MeshStream.filterStatus("failed"))
const markedFailures = MeshStream.filterStatus(feed, ["failed"], { keep: "resync" })
const changes = feed.pipe(MeshStream.statusChanges)
const markedChanges = feed.pipe(MeshStream.statusChanges({ keep: "resync", maxTasks: 10 }))
const firstChanges = MeshStream.statusChanges(feed, { maxTasks: 10 })
const results = feed.pipe(MeshStream.filterMessageType("result"))
const plans = MeshStream.fieldsChanged(feed, "plan", { keepUnspecified: true })
const markedPlans = feed.pipe(MeshStream.fieldsChanged("plan", { keep: "resync" }))
same<typeof failures, Feed<Status>>()
same<typeof markedFailures, Feed<Status | Resync>>()
same<typeof changes, Feed<Status>>()
same<typeof markedChanges, Feed<Status | Resync>>()
same<typeof firstChanges, Feed<Status>>()
same<typeof results, Feed<ServerMessage.TaskOutput>>()
same<typeof plans, Feed<Updated>>()
same<typeof markedPlans, Feed<Updated | Resync>>()
same<MeshStream.StatusUpdated["status"], string>()

// A predicate's parameter has its type, also beside options.

const byPredicate = feed.pipe(MeshStream.filterStatus((status) => status.startsWith("f"), { keep: "resync" }))
const taskByPredicate = feed.pipe(MeshStream.filterTask((taskId) => taskId.startsWith("f"), { keep: "resync" }))
same<typeof byPredicate, Feed<Status | Resync>>()
same<typeof taskByPredicate, Feed<OfTask | Resync>>()

// What cannot match anything has no elements.

const noStatus = feed.pipe(MeshStream.filterMessageType("result"), MeshStream.filterStatus("done"))
const noChange = feed.pipe(MeshStream.outputOnly, MeshStream.statusChanges)
const noText = feed.pipe(MeshStream.updatesOnly, MeshStream.text)
const noLines = MeshStream.lines(updates)
const noTools = feed.pipe(
  MeshStream.updatesOnly({ keep: "resync" }),
  MeshStream.toolUse(Schema.Unknown, { keep: "resync" })
)
same<typeof noStatus, Feed<never>>()
same<typeof noChange, Feed<never>>()
same<typeof noText, Feed<never>>()
same<typeof noLines, Feed<never>>()
same<typeof noTools, Feed<Resync>>()

// Tools: each name with its own input, or all with one.

const Bash = Schema.Struct({ command: Schema.String })
const Sleep = Schema.Struct({ seconds: Schema.NumberFromString })
const tools = feed.pipe(MeshStream.toolUse({ Bash, Sleep }))
const anyTool = MeshStream.toolUse(feed, Bash, { keep: "resync" })
same<
  typeof tools,
  Feed<
    | MeshStream.ToolUse<{ readonly command: string }, "Bash">
    | MeshStream.ToolUseMismatch<"Bash">
    | MeshStream.ToolUse<{ readonly seconds: number }, "Sleep">
    | MeshStream.ToolUseMismatch<"Sleep">
  >
>()
same<typeof anyTool, Feed<MeshStream.ToolUse<{ readonly command: string }> | MeshStream.ToolUseMismatch | Resync>>()

// Order: what passes keeps its type, and markGaps adds its mark.

const once = feed.pipe(MeshStream.dedupeUpdates({ maxTasks: 10 }))
const onceFirst = MeshStream.dedupeUpdates(updates)
const marked = feed.pipe(MeshStream.markGaps)
const markedUpdatesOnly = updates.pipe(MeshStream.markGaps({ maxTasks: 10 }))
same<typeof once, Feed<MeshEvent.MeshEvent>>()
same<typeof onceFirst, Feed<Updated>>()
same<typeof marked, Feed<MeshEvent.MeshEvent>>()
same<typeof markedUpdatesOnly, Feed<Updated | MeshEvent.Resync>>()

// Ends.

const until = updates.pipe(MeshStream.untilTerminal(id))
const untilFirst = MeshStream.untilTerminal(updates, [id], { terminal: "archived" })
const result = feed.pipe(MeshStream.takeResult(id))
const resultFirst = MeshStream.takeResult(bare, id, { endedTimeToLive: "1 second" })
same<typeof until, Feed<Updated>>()
same<typeof untilFirst, Feed<Updated>>()
same<
  typeof result,
  Effect.Effect<MeshStream.TaskResult, MeshError.MeshError | MeshStream.TaskFailed | MeshStream.NoResult, Socket.Socket>
>()
same<typeof resultFirst, Effect.Effect<MeshStream.TaskResult, MeshStream.TaskFailed | MeshStream.NoResult>>()

// Text.

const joined = feed.pipe(MeshStream.joinPartials)
const joinedOutput = feed.pipe(MeshStream.joinPartials({ pieces: "snapshot" }), MeshStream.outputOnly)
const joinedFirst = MeshStream.joinPartials(markedOutput, { maxLength: 10 })
const said = feed.pipe(MeshStream.text)
const markedSaid = feed.pipe(MeshStream.text({ keep: "resync" }))
const lines = feed.pipe(MeshStream.lines)
const markedLines = MeshStream.lines(feed, { keep: "resync", ends: "newline" })
same<typeof joined, Feed<Exclude<MeshEvent.MeshEvent, ServerMessage.TaskOutput> | MeshStream.JoinedOutput>>()
same<typeof joinedOutput, Feed<MeshStream.JoinedOutput>>()
same<typeof joinedFirst, Feed<MeshStream.JoinedOutput | Resync>>()
same<typeof said, Feed<string>>()
same<typeof markedSaid, Feed<string | Resync>>()
same<typeof lines, Feed<MeshStream.TaskLine>>()
same<typeof markedLines, Feed<MeshStream.TaskLine | Resync>>()

// Generic code can use them too.

export const generic = <A extends MeshEvent.MeshEvent, E, R>(self: Stream.Stream<A, E, R>) => {
  const narrowed = self.pipe(MeshStream.filterTask(id), MeshStream.dedupeUpdates, MeshStream.outputOnly)
  return narrowed.pipe(Stream.map((output: ServerMessage.TaskOutput) => output.content))
}

// What is no stream of events, or no option, is refused.

const numbers = Stream.make(1)
export const refused = [
  // @ts-expect-error numbers are no events
  numbers.pipe(MeshStream.outputOnly),
  // @ts-expect-error numbers are no events
  numbers.pipe(MeshStream.joinPartials),
  // @ts-expect-error a string is no task id
  feed.pipe(MeshStream.filterTask("7f1c")),
  // @ts-expect-error a Resync has no content
  markedOutput.pipe(Stream.map((event) => event.content)),
  // @ts-expect-error there is no such convention
  feed.pipe(MeshStream.joinPartials({ pieces: "chunks" })),
  // @ts-expect-error a schema that needs a service cannot decode on the spot
  feed.pipe(MeshStream.toolUse({ Bash: needy })),
  // @ts-expect-error a misspelled option, next to one that is right
  feed.pipe(MeshStream.statusChanges({ keep: "resync", maxTask: 5 })),
  // @ts-expect-error a misspelled option, data-first
  MeshStream.statusChanges(feed, { keep: "resync", maxTask: 5 }),
  // @ts-expect-error a misspelled option of lines
  feed.pipe(MeshStream.lines({ keep: "resync", maxLineLenght: 1 })),
  // @ts-expect-error a misspelled option of joinPartials
  feed.pipe(MeshStream.joinPartials({ maxTasks: 5, maxLenght: 1 })),
  // @ts-expect-error a misspelled option of dedupeUpdates
  feed.pipe(MeshStream.dedupeUpdates({ maxTasks: 5, maxTask: 1 })),
  // @ts-expect-error an option that updatesOnly has not
  feed.pipe(MeshStream.updatesOnly({ keep: "resync", maxTasks: 1 })),
  // @ts-expect-error an option that filterStatus has not
  feed.pipe(MeshStream.filterStatus("done", { keep: "resync", maxTasks: 1 })),
  // @ts-expect-error an option that text has not
  feed.pipe(MeshStream.text({ keep: "resync", maxTasks: 1 })),
  // @ts-expect-error a misspelled option of groupByTask
  feed.pipe(MeshStream.groupByTask({ endedTimeToLive: "1 second", capasity: 3 })),
  // @ts-expect-error an option that sheddingBuffer has not
  feed.pipe(MeshStream.sheddingBuffer({ capacity: 3, maxTasks: 1 })),
  // @ts-expect-error a misspelled option of a projection
  feed.pipe(CostLedger.scan({ maxTasks: 10, maxEnd: 1 })),
  // @ts-expect-error a misspelled option of another
  feed.pipe(TaskBoard.scan({ maxTasks: 10, endedtimeToLive: "1 day" }))
]
