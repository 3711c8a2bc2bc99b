/**
 * The reducer of `TaskState`, event by event. `TaskState` runs it for one task,
 * and `TaskBoard` for many.
 */
import * as Predicate from "effect/Predicate"
import * as Schema from "effect/Schema"
import * as SchemaTransformation from "effect/SchemaTransformation"
import { type MeshEvent, type Resync, ResyncReason } from "../../MeshEvent.ts"
import { toPredicate } from "../../operators/options.ts"
import type { Selector } from "../../operators/options.ts"
import * as ServerMessage from "../../ServerMessage.ts"
import { TaskId } from "../../TaskId.ts"
import * as TaskStatus from "../../TaskStatus.ts"
import { atLeast } from "../bounds.ts"
import * as Bounded from "./bounded.ts"
import * as Completeness from "./completeness.ts"
import * as Results from "./results.ts"
import * as Versions from "./versions.ts"

/**
 * The key of what a projection needs besides its public data. A symbol, so it
 * neither shows up in completions nor in `JSON.stringify`, and is copied by a spread.
 */
export const bookkeeping: unique symbol = Symbol.for("@makima-stream/core/bookkeeping")

export interface Bookkeeping {
  readonly results: Results.Results
  readonly versions?: Versions.Versions
  /** How many marks of a new connection came. */
  readonly connections: number
  readonly known: Completeness.Known
}

/**
 * What is known of one task.
 *
 * **Details**
 *
 * A *run* is what happens between two ends of a task: a new one begins when the
 * status goes from a terminal one to another. All times are those of the fold, in
 * milliseconds since 1970, and not the server's. What is not known is absent.
 *
 * It is complete from `updatesCompleteSince` and `outputCompleteSince` on: the
 * state has every update, or every output, that the server sent from there on, as
 * far as the feed subscribes to them. By these events:
 *
 * - `Disconnected` ends both.
 * - `Started`, `Reconnected` and `JoinedLate` open both. `Subscribed` opens its
 *   kind.
 * - A mark with `unconfirmed` keys ends what it names and opens nothing, because it
 *   does not say which keys are unconfirmed.
 * - After `BadFrame`, `Overflow` and `VersionGap` a complete stretch begins anew.
 *   `VersionGap` concerns updates only.
 *
 * `updateGaps` and `outputGaps` count the marks before which something may be
 * missing. A mark counts for a kind if an event of that kind came before it, or if
 * that kind was complete before. `Started` and `Subscribed` count only if both are
 * so: not in a projection that starts empty, but in one that was restored. A mark
 * that names no task counts until the task ends.
 *
 * Strings have a bound: `status` is cut after 256 characters, and `lastOutput` by
 * the option `maxOutputChars`.
 *
 * **Gotchas**
 *
 * - A mark that names no task names the interest of the feed, which is not in the
 *   mark. If the feed does not subscribe to the output of the task, ignore
 *   `outputCompleteSince` and `outputGaps`.
 * - A state also has hidden bookkeeping. Make states with `make` and `codec`, not by
 *   hand.
 *
 * @category models
 * @since 0.1.0
 */
export interface TaskState {
  readonly taskId: TaskId
  /** The newest status. */
  readonly status?: string
  /** The newest version. */
  readonly version?: number
  /** The newest output that is not partial. */
  readonly lastOutput?: ServerMessage.TaskOutput
  /** `true` if `lastOutput` was cut. Absent otherwise. */
  readonly lastOutputTruncated?: true
  /** When the first event named the task. */
  readonly firstEventAt?: number
  /** When the last update or output of the task came. */
  readonly lastEventAt?: number
  /** When this run was first seen at work: by an output, or by an update to a status that is not a waiting one. */
  readonly startedAt?: number
  /** When this run was first seen to have ended. */
  readonly endedAt?: number
  /** The number of runs seen, this one included. */
  readonly runs: number
  /** The sum of the costs in the results of all runs, in US dollars, each counted once. */
  readonly costUsd: number
  /** The sum of the durations in the results of all runs, in milliseconds, each counted once. */
  readonly durationMs: number
  /**
   * The number of outputs of each message type, without partial ones. At most 64
   * types of at most 256 characters are counted separately, all others under `*`.
   */
  readonly counts: ReadonlyMap<string, number>
  /** The number of partial outputs. */
  readonly partials: number
  /** From when every update is known. Absent while updates may be missing. */
  readonly updatesCompleteSince?: number
  /** From when every output is known. Absent while outputs may be missing. */
  readonly outputCompleteSince?: number
  /** How many times updates may have been missed. */
  readonly updateGaps: number
  /** How many times outputs may have been missed. */
  readonly outputGaps: number
  /** The reason of the last gap, of either kind. */
  readonly lastGap?: ResyncReason
  /** What the reducer needs besides the members above. Saved by the codec. */
  readonly [bookkeeping]: Bookkeeping
}

/**
 * Options of a task's state.
 *
 * @category options
 * @since 0.1.0
 */
export interface Options {
  /** The statuses that end a task. Defaults to `TaskStatus.defaultTerminal`. */
  readonly terminal?: Selector<string> | undefined
  /** The statuses of a task that is not at work yet. Defaults to `pending`. */
  readonly waiting?: Selector<string> | undefined
  /**
   * How many characters of the last output are kept. A longer `content` is cut, a
   * `toolInput` that does not fit besides it is left out, and
   * `lastOutputTruncated` is set. Negative values and `NaN` count as 0. Defaults to
   * 4096.
   */
  readonly maxOutputChars?: number | undefined
  /**
   * An update with a version below the highest one is late, and is ignored. A server
   * that was restored from a backup counts from a lower version again: after a mark
   * of a new connection (`Started`, `Reconnected`, `JoinedLate`), this many
   * consecutive updates of a task with lower versions that grow are taken for that,
   * and the last of them counts. `Infinity` ignores lower versions always. Values
   * below 1 and `NaN` count as 1. Defaults to 3.
   */
  readonly restartAfter?: number | undefined
}

/** `Options`, normalised. */
export interface StatusRules {
  readonly isTerminal: (status: string) => boolean
  readonly isWaiting: (status: string) => boolean
  readonly maxOutputChars: number
  readonly restartAfter: number
}

const isPending = toPredicate("pending")

const defaults: StatusRules = {
  isTerminal: TaskStatus.isTerminal,
  isWaiting: isPending,
  maxOutputChars: 4096,
  restartAfter: Versions.defaultRestartAfter
}

export const rulesOf = (options: Options | undefined): StatusRules =>
  options === undefined
    ? defaults
    : {
        isTerminal: options.terminal === undefined ? defaults.isTerminal : toPredicate(options.terminal),
        isWaiting: options.waiting === undefined ? isPending : toPredicate(options.waiting),
        maxOutputChars: atLeast(0, options.maxOutputChars ?? defaults.maxOutputChars),
        restartAfter: atLeast(1, options.restartAfter ?? defaults.restartAfter)
      }

const maxTypes = 64
const otherTypes = "*"

type Draft = { -readonly [K in keyof TaskState]: TaskState[K] }

export const make = (taskId: TaskId): TaskState => ({
  taskId,
  runs: 1,
  costUsd: 0,
  durationMs: 0,
  counts: new Map(),
  partials: 0,
  updateGaps: 0,
  outputGaps: 0,
  [bookkeeping]: { results: Results.none, connections: 0, known: Completeness.nothing }
})

/** The state of a task of which every update is known since `at`, although none has come. */
export const makeComplete = (taskId: TaskId, at: number): TaskState => {
  const state = make(taskId)
  return {
    ...state,
    updatesCompleteSince: at,
    [bookkeeping]: { ...state[bookkeeping], known: { ...Completeness.nothing, updates: { seen: false, opened: true } } }
  }
}

export const isLive = (self: TaskState): boolean => self.firstEventAt !== undefined && self.endedAt === undefined

export const fold = (self: TaskState, events: ReadonlyArray<MeshEvent>, at: number, rules: StatusRules): TaskState => {
  let state = self
  for (const event of events) state = step(state, event, at, rules)
  return state
}

export const step = (self: TaskState, event: MeshEvent, at: number, rules: StatusRules): TaskState => {
  switch (event._tag) {
    case "TaskUpdated":
      return event.taskId === self.taskId ? onUpdate(self, event, at, rules) : self
    case "TaskOutput":
      return event.taskId === self.taskId ? onOutput(self, event, at, rules) : self
    case "Resync":
      return event.taskId === undefined || event.taskId === self.taskId ? onResync(self, event, at) : self
    case "Disconnected":
      return onDisconnected(self)
    default:
      return self
  }
}

/** The state as a draft, after an event of one kind. */
const onEvent = (self: TaskState, kind: keyof Completeness.Known, at: number): Draft => {
  const { known } = self[bookkeeping]
  return {
    ...self,
    firstEventAt: self.firstEventAt ?? at,
    lastEventAt: at,
    [bookkeeping]: known[kind].seen
      ? self[bookkeeping]
      : { ...self[bookkeeping], known: { ...known, [kind]: Completeness.afterEvent(known[kind]) } }
  }
}

/** Whether nothing was learned of a task's versions. */
export const isSame = (before: Versions.Versions | undefined, after: Versions.Versions): boolean =>
  before === after ||
  (before?.highest === after.highest && before.connections === after.connections && before.lower === after.lower)

const onUpdate = (
  self: TaskState,
  { status, version }: ServerMessage.TaskUpdated,
  at: number,
  rules: StatusRules
): TaskState => {
  const { connections, versions: before } = self[bookkeeping]
  const versions = version === undefined ? before : Versions.next(before, version, connections, rules.restartAfter)
  if (version !== undefined && versions !== undefined && !Versions.isNewer(before, versions)) {
    return isSame(before, versions) ? self : { ...self, [bookkeeping]: { ...self[bookkeeping], versions } }
  }
  const draft = onEvent(self, "updates", at)
  if (version !== undefined && versions !== undefined) {
    draft.version = version
    draft[bookkeeping] = { ...draft[bookkeeping], versions }
  }
  if (status === undefined) return draft
  draft.status = Bounded.name(status)
  const ends = rules.isTerminal(status)
  if (!ends && self.endedAt !== undefined) {
    draft.runs++
    draft[bookkeeping] = { ...draft[bookkeeping], results: Results.beginRun(self[bookkeeping].results) }
    delete draft.startedAt
    delete draft.endedAt
  }
  if (ends) draft.endedAt ??= at
  else if (!rules.isWaiting(status)) draft.startedAt ??= at
  return draft
}

const onOutput = (
  self: TaskState,
  output: ServerMessage.TaskOutput,
  at: number,
  { maxOutputChars }: StatusRules
): TaskState => {
  const draft = onEvent(self, "output", at)
  if (draft.endedAt === undefined) draft.startedAt ??= at
  if (output.isPartial === true) {
    draft.partials++
    return draft
  }
  draft.lastOutput = Bounded.output(output, maxOutputChars)
  if (draft.lastOutput !== output) draft.lastOutputTruncated = true
  else if (draft.lastOutputTruncated === true) delete draft.lastOutputTruncated
  draft.counts = counted(self.counts, output.messageType)
  if (Results.isResult(output)) {
    const results = Results.add(self[bookkeeping].results, output)
    draft[bookkeeping] = { ...draft[bookkeeping], results }
    draft.costUsd = results.costUsd
    draft.durationMs = results.durationMs
  }
  return draft
}

const setSince = (
  draft: Draft,
  member: "updatesCompleteSince" | "outputCompleteSince",
  since: number | undefined
): void => {
  if (since !== undefined) draft[member] = since
  else if (draft[member] !== undefined) delete draft[member]
}

const onDisconnected = (self: TaskState): TaskState => {
  if (self.updatesCompleteSince === undefined && self.outputCompleteSince === undefined) return self
  const draft: Draft = { ...self }
  setSince(draft, "updatesCompleteSince", undefined)
  setSince(draft, "outputCompleteSince", undefined)
  return draft
}

const onResync = (self: TaskState, event: Resync, at: number): TaskState => {
  const mark = Completeness.read(event)
  const { known } = self[bookkeeping]
  const counts = event.taskId !== undefined || self.endedAt === undefined
  const draft: Draft = { ...self }
  if (event.taskId !== undefined) draft.firstEventAt = self.firstEventAt ?? at
  if (mark.updates) {
    if (counts && Completeness.isGap(known.updates, mark.isFirst)) {
      draft.updateGaps++
      draft.lastGap = event.reason
    }
    setSince(draft, "updatesCompleteSince", Completeness.since(self.updatesCompleteSince, mark, at))
  }
  if (mark.output) {
    if (counts && Completeness.isGap(known.output, mark.isFirst)) {
      draft.outputGaps++
      draft.lastGap = event.reason
    }
    setSince(draft, "outputCompleteSince", Completeness.since(self.outputCompleteSince, mark, at))
  }
  draft[bookkeeping] = {
    ...self[bookkeeping],
    connections: self[bookkeeping].connections + (Versions.isNewConnection(event) ? 1 : 0),
    known: {
      updates: mark.updates ? Completeness.after(known.updates, mark) : known.updates,
      output: mark.output ? Completeness.after(known.output, mark) : known.output
    }
  }
  return draft
}

/** Holes in everything that a board has not applied to a task yet. */
export interface Holes {
  /** How many. */
  readonly count: number
  /** Whether a `Disconnected` was among them. */
  readonly disconnected: boolean
  /** The last one. Absent if there is none. */
  readonly last?: { readonly reason: ResyncReason; readonly at: number } | undefined
}

/** The state after `BadFrame`, `Overflow` and `Disconnected` that name no task, any number of them at once. */
export const afterHoles = (self: TaskState, { count, disconnected, last }: Holes): TaskState => {
  const state = disconnected ? onDisconnected(self) : self
  if (count === 0 || last === undefined) return state
  const { updates, output } = self[bookkeeping].known
  const draft: Draft = { ...state }
  if (self.endedAt === undefined) {
    const updatesMissed = Completeness.isGap(updates, false)
    const outputMissed = Completeness.isGap(output, false)
    if (updatesMissed) draft.updateGaps += count
    if (outputMissed) draft.outputGaps += count
    if (updatesMissed || outputMissed) draft.lastGap = last.reason
  }
  if (draft.updatesCompleteSince !== undefined) draft.updatesCompleteSince = last.at
  if (draft.outputCompleteSince !== undefined) draft.outputCompleteSince = last.at
  return draft
}

/** The state without the text of its last output. */
export const withoutOutput = (self: TaskState): TaskState =>
  self.lastOutput === undefined
    ? self
    : { ...self, lastOutput: Bounded.output(self.lastOutput, 0), lastOutputTruncated: true }

const counted = (counts: ReadonlyMap<string, number>, messageType: string): ReadonlyMap<string, number> => {
  const isKept = messageType.length <= Bounded.maxNameChars && (counts.has(messageType) || counts.size < maxTypes)
  const key = isKept ? messageType : otherTypes
  return new Map(counts).set(key, (counts.get(key) ?? 0) + 1)
}

const optional = Schema.optionalKey

const Knowledge = Schema.Struct({ seen: Schema.Boolean, opened: Schema.Boolean })

/** `Versions`, as saved with a state and with the entry of a ledger. */
export const SavedVersions = optional(
  Schema.Struct({
    highest: Schema.Int,
    connections: Schema.Int,
    lower: optional(Schema.Struct({ last: Schema.Int, count: Schema.Int }))
  })
)

const Saved = Schema.Struct({
  taskId: TaskId,
  status: optional(Schema.String),
  version: optional(Schema.Int),
  lastOutput: optional(Schema.toType(ServerMessage.TaskOutput)),
  lastOutputTruncated: optional(Schema.Literal(true)),
  firstEventAt: optional(Schema.Finite),
  lastEventAt: optional(Schema.Finite),
  startedAt: optional(Schema.Finite),
  endedAt: optional(Schema.Finite),
  runs: Schema.Int,
  costUsd: Schema.Finite,
  durationMs: Schema.Finite,
  counts: Schema.Array(Schema.Tuple([Schema.String, Schema.Int])),
  partials: Schema.Int,
  updatesCompleteSince: optional(Schema.Finite),
  outputCompleteSince: optional(Schema.Finite),
  updateGaps: Schema.Int,
  outputGaps: Schema.Int,
  lastGap: optional(ResyncReason),
  bookkeeping: Schema.Struct({
    results: Results.Results,
    versions: SavedVersions,
    connections: Schema.Int,
    known: Schema.Struct({ updates: Knowledge, output: Knowledge })
  })
})

/**
 * A state as JSON. Its members may change with the version of this package.
 *
 * @category schemas
 * @since 0.2.0
 */
export type Encoded = typeof Saved.Encoded

const isTaskState = (value: unknown): value is TaskState =>
  Predicate.hasProperty(value, bookkeeping) && Predicate.hasProperty(value, "partials")

export const codec: Schema.Codec<TaskState, Encoded> = Saved.pipe(
  Schema.decodeTo(
    Schema.declare(isTaskState, { title: "TaskState" }),
    SchemaTransformation.transform({
      decode: ({ bookkeeping: hidden, counts, ...rest }: typeof Saved.Type): TaskState => ({
        ...rest,
        counts: new Map(counts),
        [bookkeeping]: hidden
      }),
      encode: ({ [bookkeeping]: hidden, counts, ...rest }: TaskState): typeof Saved.Type => ({
        ...rest,
        counts: [...counts],
        bookkeeping: hidden
      })
    })
  )
)
