/**
 * The reducer of `CostLedger`, event by event.
 *
 * Sums are exact (see `exactSum.ts`): `total` is always the sum of the entries'
 * `costUsd` and of `rolled`, rounded once when it is read.
 */
import type * as Duration from "effect/Duration"
import * as HashMap from "effect/HashMap"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import * as Schema from "effect/Schema"
import * as SchemaTransformation from "effect/SchemaTransformation"
import type { MeshEvent, Restated, Resync } from "../../MeshEvent.ts"
import { toPredicate } from "../operators.ts"
import type { Selector } from "../../operators/options.ts"
import type { TaskOutput, TaskUpdated } from "../../ServerMessage.ts"
import { TaskId } from "../../TaskId.ts"
import * as TaskStatus from "../../TaskStatus.ts"
import { atLeast } from "../bounds.ts"
import * as Bounded from "./bounded.ts"
import * as Completeness from "./completeness.ts"
import * as ExactSum from "./exactSum.ts"
import * as Results from "./results.ts"
import * as Roster from "./roster.ts"
import { closesGaps, isSame, SavedVersions } from "./taskState.ts"
import * as Versions from "./versions.ts"

/** The key of the internal data of a ledger and its entries. */
export const contents: unique symbol = Symbol.for("@makima-stream/core/ledger")

export interface Options {
  readonly terminal?: Selector<string> | undefined
  readonly endedTimeToLive?: Duration.Input | undefined
  readonly maxEnded?: number | undefined
  readonly maxTasks?: number | undefined
  readonly restartAfter?: number | undefined
}

interface Settings extends Roster.Limits {
  readonly isTerminal: (status: string) => boolean
  readonly restartAfter: number
}

export interface TaskContents {
  readonly results: Results.Results
  readonly versions?: Versions.Versions
  /** Which kinds a `Subscribed` of this task opened. */
  readonly openedUpdates: boolean
  readonly openedOutput: boolean
  /** The value of `Contents.openings` when the entry was made. */
  readonly openings: number
}

export interface Entry extends Roster.Entry {
  readonly costUsd: number
  readonly durationMs: number
  readonly runs: number
  readonly status?: string
  readonly version?: number
  readonly [contents]: TaskContents
}

export interface Contents {
  readonly order: Roster.Order
  readonly options: Options
  readonly settings: Settings
  readonly total: ExactSum.ExactSum
  readonly rolled: ExactSum.ExactSum
  /** The number of marks that opened a stretch for all tasks. */
  readonly openings: number
  /** The number of marks of a new connection. */
  readonly connections: number
}

export interface Ledger {
  readonly totalUsd: number
  readonly tasks: HashMap.HashMap<TaskId, Entry>
  readonly rolledUsd: number
  readonly rolledTasks: number
  readonly updateGaps: number
  readonly outputGaps: number
  readonly [contents]: Contents
}

const settingsOf = (options: Options): Settings => ({
  isTerminal: toPredicate(options.terminal ?? TaskStatus.defaultTerminal),
  restartAfter: atLeast(1, options.restartAfter ?? Versions.defaultRestartAfter),
  ...Roster.limitsOf({
    endedTimeToLive: options.endedTimeToLive ?? "1 day",
    maxEnded: options.maxEnded ?? 10_000,
    maxTasks: options.maxTasks ?? 10_000
  })
})

export const make = (options: Options = {}): Ledger => ({
  totalUsd: 0,
  tasks: HashMap.empty(),
  rolledUsd: 0,
  rolledTasks: 0,
  updateGaps: 0,
  outputGaps: 0,
  [contents]: {
    order: Roster.emptyOrder,
    options,
    settings: settingsOf(options),
    total: 0n,
    rolled: 0n,
    openings: 0,
    connections: 0
  }
})

/** The ledger with other options. The given options replace those of the ledger. */
export const withOptions = (self: Ledger, given: Options): Ledger => {
  const changed = Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined))
  if (Object.keys(changed).length === 0) return self
  const options: Options = { ...self[contents].options, ...changed }
  return { ...self, [contents]: { ...self[contents], options, settings: settingsOf(options) } }
}

const rosterOf = (self: Ledger): Roster.Roster<Entry> => ({ tasks: self.tasks, order: self[contents].order })

export const step = (self: Ledger, event: MeshEvent, at: number): Ledger => {
  const updated =
    event._tag === "TaskUpdated" || event._tag === "Restated"
      ? onTask(self, event.taskId, (task) => onUpdate(task, event, at, self[contents]))
      : event._tag === "TaskOutput" && Results.isResult(event)
        ? onTask(self, event.taskId, (task) => onResult(task, event, at))
        : event._tag === "Resync"
          ? onMark(self, event)
          : event._tag === "Repaired" && closesGaps(event) && self.updateGaps > 0
            ? { ...self, updateGaps: 0 }
            : self
  return rollUp(updated, at, "taskId" in event ? event.taskId : undefined)
}

/** Moves the cost of evicted entries to `rolled`. The total stays the same. */
const rollUp = (self: Ledger, at: number, newest: TaskId | undefined): Ledger => {
  const hidden = self[contents]
  const before = rosterOf(self)
  let { rolled } = hidden
  let { rolledTasks } = self
  const after = Roster.trim(before, hidden.settings, at, newest, ({ costUsd }) => {
    rolled += ExactSum.fromNumber(costUsd)
    rolledTasks++
  })
  return after === before
    ? self
    : {
        ...self,
        tasks: after.tasks,
        rolledTasks,
        rolledUsd: ExactSum.toNumber(rolled),
        [contents]: { ...hidden, order: after.order, rolled }
      }
}

const entryOf = (taskId: TaskId, { openings }: Contents): Entry => ({
  taskId,
  costUsd: 0,
  durationMs: 0,
  runs: 1,
  [contents]: {
    results: Results.none,
    openedUpdates: false,
    openedOutput: false,
    openings
  }
})

const onTask = (self: Ledger, taskId: TaskId, f: (task: Entry) => Entry): Ledger => {
  const hidden = self[contents]
  const known = Option.getOrUndefined(HashMap.get(self.tasks, taskId))
  const before = known ?? entryOf(taskId, hidden)
  const after = f(before)
  if (after === before) return self
  const { tasks, order } = Roster.set(rosterOf(self), known, after)
  if (after.costUsd === before.costUsd) return { ...self, tasks, [contents]: { ...hidden, order } }
  const total = hidden.total + ExactSum.fromNumber(after.costUsd) - ExactSum.fromNumber(before.costUsd)
  return { ...self, tasks, totalUsd: ExactSum.toNumber(total), [contents]: { ...hidden, order, total } }
}

type Draft = { -readonly [K in keyof Entry]: Entry[K] }

const onUpdate = (
  self: Entry,
  event: TaskUpdated | Restated,
  at: number,
  { connections, settings }: Contents
): Entry => {
  const { status, version } = event
  if (event._tag === "Restated" && event.gone === true) {
    return self.endedAt === undefined ? { ...self, lastEventAt: at, endedAt: at } : self
  }
  const { versions: before } = self[contents]
  const versions = version === undefined ? before : Versions.next(before, version, connections, settings.restartAfter)
  if (version !== undefined && versions !== undefined && !Versions.isNewer(before, versions)) {
    return isSame(before, versions) ? self : { ...self, [contents]: { ...self[contents], versions } }
  }
  const draft: Draft = { ...self, lastEventAt: at }
  if (version !== undefined && versions !== undefined) {
    draft.version = version
    draft[contents] = { ...self[contents], versions }
  }
  if (event._tag === "Restated" && event.costUsd !== undefined) {
    const hasEnded = status === undefined ? self.endedAt !== undefined : settings.isTerminal(status)
    const results = Results.restate(draft[contents].results, event.costUsd, hasEnded)
    draft[contents] = { ...draft[contents], results }
    draft.costUsd = results.costUsd
  }
  if (status === undefined) return draft
  draft.status = Bounded.name(status)
  const ends = settings.isTerminal(status)
  if (ends) draft.endedAt ??= at
  else if (self.endedAt !== undefined) {
    draft.runs++
    draft[contents] = { ...draft[contents], results: Results.beginRun(draft[contents].results) }
    delete draft.endedAt
  }
  return draft
}

const onResult = (self: Entry, output: TaskOutput, at: number): Entry => {
  const results = Results.add(self[contents].results, output)
  return results === self[contents].results
    ? self
    : {
        ...self,
        lastEventAt: at,
        costUsd: results.costUsd,
        durationMs: results.durationMs,
        [contents]: { ...self[contents], results }
      }
}

/** Handles a `Resync`. It is a gap by the same rule as in `TaskState`. */
const onMark = (self: Ledger, event: Resync): Ledger => {
  const hidden = self[contents]
  const mark = Completeness.read(event)
  const entry = event.taskId === undefined ? undefined : Option.getOrUndefined(HashMap.get(self.tasks, event.taskId))
  const isEmpty = self.rolledTasks === 0 && HashMap.size(self.tasks) === 0
  const wasOpened = (kind: "openedUpdates" | "openedOutput"): boolean =>
    event.taskId === undefined
      ? hidden.openings > 0 && !isEmpty
      : entry !== undefined && (entry[contents][kind] || entry[contents].openings < hidden.openings)
  const updateGap = mark.updates && (mark.isFirst ? wasOpened("openedUpdates") : !isEmpty)
  const outputGap = mark.output && (mark.isFirst ? wasOpened("openedOutput") : !isEmpty)
  const opens = mark.effect === "opens"
  const opened = opens && entry !== undefined ? withOpened(entry, mark) : undefined
  const opensAll = opens && event.taskId === undefined
  const connections = hidden.connections + (Versions.isNewConnection(event) ? 1 : 0)
  const isNew = opensAll || connections !== hidden.connections
  if (!updateGap && !outputGap && !isNew && opened === undefined) return self
  return {
    ...self,
    updateGaps: self.updateGaps + (updateGap ? 1 : 0),
    outputGaps: self.outputGaps + (outputGap ? 1 : 0),
    tasks: opened === undefined ? self.tasks : HashMap.set(self.tasks, opened.taskId, opened),
    [contents]: isNew ? { ...hidden, connections, openings: hidden.openings + (opensAll ? 1 : 0) } : hidden
  }
}

const withOpened = (entry: Entry, mark: Completeness.Mark): Entry => ({
  ...entry,
  [contents]: {
    ...entry[contents],
    openedUpdates: entry[contents].openedUpdates || mark.updates,
    openedOutput: entry[contents].openedOutput || mark.output
  }
})

const SavedEntry = Schema.Struct({
  taskId: TaskId,
  costUsd: Schema.Finite,
  durationMs: Schema.Finite,
  runs: Schema.Int,
  status: Schema.optionalKey(Schema.String),
  version: Schema.optionalKey(Schema.Int),
  lastEventAt: Schema.optionalKey(Schema.Finite),
  endedAt: Schema.optionalKey(Schema.Finite),
  bookkeeping: Schema.Struct({
    results: Results.Results,
    versions: SavedVersions,
    openedUpdates: Schema.Boolean,
    openedOutput: Schema.Boolean,
    openings: Schema.Int
  })
})

const Saved = Schema.Struct({
  version: Schema.Literal(1),
  tasks: Schema.Array(Schema.Struct({ entry: SavedEntry, orderedAt: Schema.Finite })),
  /** The exact sum of the rolled up costs, in decimal digits. */
  rolled: Schema.String.check(Schema.isPattern(/^-?\d{1,800}$/)),
  rolledTasks: Schema.Int,
  updateGaps: Schema.Int,
  outputGaps: Schema.Int,
  openings: Schema.Int,
  connections: Schema.Int
})

/** A ledger as JSON. */
export type Encoded = typeof Saved.Encoded

const save = (self: Ledger): typeof Saved.Type => ({
  version: 1,
  tasks: Roster.save(rosterOf(self)).map(([{ [contents]: hidden, ...entry }, orderedAt]) => ({
    entry: { ...entry, bookkeeping: hidden },
    orderedAt
  })),
  rolled: self[contents].rolled.toString(),
  rolledTasks: self.rolledTasks,
  updateGaps: self.updateGaps,
  outputGaps: self.outputGaps,
  openings: self[contents].openings,
  connections: self[contents].connections
})

const restore = (saved: typeof Saved.Type, options: Options | undefined): Ledger => {
  const empty = make(options)
  const entries = saved.tasks.map(({ entry: { bookkeeping, ...entry }, orderedAt }): readonly [Entry, number] => [
    { ...entry, [contents]: bookkeeping },
    orderedAt
  ])
  const { tasks, order } = Roster.restore(entries)
  const rolled = BigInt(saved.rolled)
  const total = entries.reduce((sum, [{ costUsd }]) => sum + ExactSum.fromNumber(costUsd), rolled)
  return {
    totalUsd: ExactSum.toNumber(total),
    tasks,
    rolledUsd: ExactSum.toNumber(rolled),
    rolledTasks: saved.rolledTasks,
    updateGaps: saved.updateGaps,
    outputGaps: saved.outputGaps,
    [contents]: { ...empty[contents], order, total, rolled, openings: saved.openings, connections: saved.connections }
  }
}

const isLedger = (value: unknown): value is Ledger =>
  Predicate.hasProperty(value, contents) && Predicate.hasProperty(value, "totalUsd")

export const codec = (options: Options | undefined): Schema.Codec<Ledger, Encoded> =>
  Saved.pipe(
    Schema.decodeTo(
      Schema.declare(isLedger, { title: "CostLedger" }),
      SchemaTransformation.transform({
        decode: (saved: typeof Saved.Type): Ledger => restore(saved, options),
        encode: save
      })
    )
  )
