/**
 * The reducer of `TaskState`, event by event. `TaskState` runs it for one task,
 * and `TaskBoard` for many.
 */
import * as Predicate from "effect/Predicate"
import * as Schema from "effect/Schema"
import * as SchemaTransformation from "effect/SchemaTransformation"
import { type MeshEvent, type Repaired, type Restated, type Resync, ResyncReason } from "../../MeshEvent.ts"
import { toPredicate } from "../operators.ts"
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
 * The key of a projection's internal data. A symbol, so that it does not appear in
 * completions and in `JSON.stringify`, but is copied by a spread.
 */
export const bookkeeping: unique symbol = Symbol.for("@makima-stream/core/bookkeeping")

export interface Bookkeeping {
  readonly results: Results.Results
  readonly versions?: Versions.Versions
  /** The number of marks of a new connection. */
  readonly connections: number
  readonly known: Completeness.Known
}

/**
 * The known state of one task.
 *
 * **Details**
 *
 * A *run* is the time between two ends of a task: a new run begins when the status
 * changes from a terminal to a non-terminal one. All times are those at which the
 * event was folded, in milliseconds since 1970, not the server's. Unknown members are
 * absent.
 *
 * The state is complete from `updatesCompleteSince` and `outputCompleteSince` on: it
 * includes every update, or every output, that the server sent from then on, if the
 * feed subscribes to them. These events change it:
 *
 * - `Disconnected` ends both stretches.
 * - `Started`, `Reconnected` and `JoinedLate` open both. `Subscribed` opens that of
 *   its kind.
 * - A mark with `unconfirmed` keys ends the stretches that it names and opens none,
 *   because it does not say which keys are unconfirmed.
 * - `BadFrame`, `Overflow` and `VersionGap` restart a complete stretch.
 *   `VersionGap` concerns updates only.
 *
 * `updateGaps` and `outputGaps` count the marks before which events may be missing. A
 * mark counts for a kind if an event of that kind came before it, or if that kind was
 * complete before. `Started` and `Subscribed` count only if both are true, so they
 * count in a restored projection, but not in one that starts empty. A mark that names
 * no task does not count after the task has ended.
 *
 * A snapshot of a `Repair` (`Restated`) counts as an update. A `costUsd` in it replaces a
 * lower sum. `Repaired` sets `updateGaps` to 0 if the snapshot left nothing open. Output
 * cannot be repaired, so `outputGaps` stays.
 *
 * Strings have a bound: `status` is cut after 256 characters, and `lastOutput` by
 * the option `maxOutputChars`.
 *
 * **Gotchas**
 *
 * - A mark without a task applies to the whole interest of the feed, and the mark
 *   does not contain that interest. If the feed does not subscribe to the output of
 *   the task, ignore `outputCompleteSince` and `outputGaps`.
 * - A state has internal data too. Create states with `make` and `codec`, not by hand.
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
  /** When the last update or output of the task was folded. */
  readonly lastEventAt?: number
  /** When this run was first seen to work: at its first output, or at an update to a status that is not a waiting one. */
  readonly startedAt?: number
  /** When this run was first seen to have ended, or the task to be gone. */
  readonly endedAt?: number
  /** `true` if a snapshot said that the task does not exist any more. Absent otherwise. */
  readonly gone?: true
  /** The number of observed runs, including the current one. */
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
  /** The time from which every update is known. Absent while updates may be missing. */
  readonly updatesCompleteSince?: number
  /** The time from which every output is known. Absent while outputs may be missing. */
  readonly outputCompleteSince?: number
  /** How many times updates may have been missed, since the last repair. */
  readonly updateGaps: number
  /** How many times outputs may have been missed. */
  readonly outputGaps: number
  /** The reason of the last gap, of either kind. */
  readonly lastGap?: ResyncReason
  /** Internal data of the reducer. The codec saves it. */
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
   * `toolInput` that exceeds the rest is omitted, and `lastOutputTruncated` is set.
   * Negative values and `NaN` count as 0. Defaults to 4096.
   */
  readonly maxOutputChars?: number | undefined
  /**
   * How many consecutive updates show that a server was restored from a backup, and
   * continues from a lower version. Normally, an update with a version below the
   * highest one is late and is ignored. But if, after a mark of a new connection
   * (`Started`, `Reconnected`, `JoinedLate`), this many consecutive updates of a task
   * have lower versions that grow, then the last of them becomes the newest.
   * `Infinity` always ignores lower versions. Values below 1 and `NaN` count as 1.
   * Defaults to 3.
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

/** The state of a task without an update, of which every update since `at` would be known. */
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
    case "Restated":
      return event.taskId === self.taskId ? onUpdate(self, event, at, rules) : self
    case "Repaired":
      return onRepaired(self, event)
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

/** Whether two records of a task's versions are equal. */
export const isSame = (before: Versions.Versions | undefined, after: Versions.Versions): boolean =>
  before === after ||
  (before?.highest === after.highest && before.connections === after.connections && before.lower === after.lower)

const onUpdate = (
  self: TaskState,
  event: ServerMessage.TaskUpdated | Restated,
  at: number,
  rules: StatusRules
): TaskState => {
  const { status, version } = event
  if (event._tag === "Restated" && event.gone === true) return onGone(self, at)
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
  if (self.gone === true) clearGone(draft, rules)
  if (event._tag === "Restated" && event.costUsd !== undefined) {
    const hasEnded = status === undefined ? draft.endedAt !== undefined : rules.isTerminal(status)
    const results = Results.restate(draft[bookkeeping].results, event.costUsd, hasEnded)
    draft[bookkeeping] = { ...draft[bookkeeping], results }
    draft.costUsd = results.costUsd
  }
  if (status === undefined) return draft
  draft.status = Bounded.name(status)
  const ends = rules.isTerminal(status)
  if (!ends && draft.endedAt !== undefined) {
    draft.runs++
    draft[bookkeeping] = { ...draft[bookkeeping], results: Results.beginRun(draft[bookkeeping].results) }
    delete draft.startedAt
    delete draft.endedAt
  }
  if (ends) draft.endedAt ??= at
  else if (!rules.isWaiting(status)) draft.startedAt ??= at
  return draft
}

/** The task does not exist any more. The version stays, so a late update is not taken for a new one. */
const onGone = (self: TaskState, at: number): TaskState =>
  self.gone === true
    ? self
    : { ...self, firstEventAt: self.firstEventAt ?? at, endedAt: self.endedAt ?? at, gone: true }

/** The task exists again. Removes its end too, unless its status is terminal: only the snapshot had ended it. */
const clearGone = (draft: Draft, { isTerminal }: StatusRules): void => {
  delete draft.gone
  if (draft.status === undefined || !isTerminal(draft.status)) delete draft.endedAt
}

/** Whether a repair closes every gap of updates before it. */
export const closesGaps = ({ absent, open }: Repaired): boolean => open === 0 && absent === 0

const onRepaired = (self: TaskState, event: Repaired): TaskState => {
  if (self.updateGaps === 0 || !closesGaps(event)) return self
  const draft: Draft = { ...self, updateGaps: 0 }
  if (self.outputGaps === 0) delete draft.lastGap
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

/** Holes (see `board.ts`) that have not been applied to a task yet. */
export interface Holes {
  /** The number of holes. */
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
  gone: optional(Schema.Literal(true)),
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
