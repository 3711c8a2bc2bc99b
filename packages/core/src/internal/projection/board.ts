/**
 * The reducer of `TaskBoard`, event by event.
 *
 * A *hole* is a mark or a `Disconnected` that names no task. Invariant: the state in
 * an entry lacks only the holes since the task's last event (`Contents.holes` minus
 * `Entry.holes`, and whether there was a `Disconnected`). They are applied when the
 * task is read or updated, so that a hole costs no time for each task. A mark that
 * opens a complete stretch for all tasks is applied to each at once: it is rare, and
 * its effect depends on the state of each task.
 */
import type * as Duration from "effect/Duration"
import * as HashMap from "effect/HashMap"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import * as Schema from "effect/Schema"
import * as SchemaTransformation from "effect/SchemaTransformation"
import { type MeshEvent, type Repaired, type Resync, ResyncReason } from "../../MeshEvent.ts"
import { TaskId } from "../../TaskId.ts"
import { atLeast } from "../bounds.ts"
import * as Bounded from "./bounded.ts"
import * as Completeness from "./completeness.ts"
import * as Line from "./line.ts"
import * as Roster from "./roster.ts"
import * as State from "./taskState.ts"

/** The key of a board's internal data. */
export const contents: unique symbol = Symbol.for("@makima-stream/core/board")

export interface Options extends State.Options {
  readonly endedTimeToLive?: Duration.Input | undefined
  readonly maxEnded?: number | undefined
  readonly maxTasks?: number | undefined
  readonly maxTotalOutputChars?: number | undefined
}

interface Settings extends Roster.Limits, State.StatusRules {
  readonly maxTotalOutputChars: number
}

export interface Entry extends Roster.Entry {
  readonly state: State.TaskState
  /** The number of holes that `state` includes. */
  readonly holes: number
  /** The number of `Disconnected` elements that `state` includes. */
  readonly disconnects: number
  /** The time of the last output, and the number of its characters that are kept. */
  readonly outputAt: number
  readonly outputChars: number
}

export interface Contents extends Roster.Roster<Entry> {
  readonly options: Options
  readonly settings: Settings
  readonly holes: number
  readonly disconnects: number
  readonly lastHole: State.Holes["last"]
  /** The tasks with a kept output, approximately in the order of their outputs, with the time of the output at insertion. */
  readonly outputs: Line.Line
  readonly outputChars: number
}

export interface Board {
  readonly size: number
  readonly evicted: number
  readonly forgotten: number
  readonly updatesCompleteSince?: number
  readonly [contents]: Contents
}

const settingsOf = (options: Options): Settings => ({
  ...State.rulesOf(options),
  ...Roster.limitsOf({
    endedTimeToLive: options.endedTimeToLive ?? "1 hour",
    maxEnded: options.maxEnded ?? 1000,
    maxTasks: options.maxTasks ?? 10_000
  }),
  maxTotalOutputChars: atLeast(0, options.maxTotalOutputChars ?? 8_388_608)
})

const withTable = (self: Board, changes: Partial<Contents>): Board => {
  const next = { ...self[contents], ...changes }
  return { ...self, size: HashMap.size(next.tasks), [contents]: next }
}

export const make = (options: Options = {}): Board => ({
  size: 0,
  evicted: 0,
  forgotten: 0,
  [contents]: {
    tasks: HashMap.empty(),
    order: Roster.emptyOrder,
    options,
    settings: settingsOf(options),
    holes: 0,
    disconnects: 0,
    lastHole: undefined,
    outputs: Line.empty,
    outputChars: 0
  }
})

/** The board with other options. The given options replace those of the board. */
export const withOptions = (self: Board, given: Options): Board => {
  const changed = Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined))
  if (Object.keys(changed).length === 0) return self
  const options: Options = { ...self[contents].options, ...changed }
  return withTable(self, { options, settings: settingsOf(options) })
}

/** The state of an entry, with all holes applied. */
export const stateOf = ({ holes, disconnects, lastHole }: Contents, entry: Entry): State.TaskState =>
  holes === entry.holes && disconnects === entry.disconnects
    ? entry.state
    : State.afterHoles(entry.state, {
        count: holes - entry.holes,
        disconnected: disconnects !== entry.disconnects,
        last: lastHole
      })

const entryOf = (
  { holes, disconnects }: Contents,
  state: State.TaskState,
  outputAt: number,
  outputChars: number
): Entry => {
  const { taskId, lastEventAt, endedAt } = state
  return {
    taskId,
    ...(lastEventAt === undefined ? {} : { lastEventAt }),
    ...(endedAt === undefined ? {} : { endedAt }),
    state,
    holes,
    disconnects,
    outputAt,
    outputChars
  }
}

export const step = (self: Board, event: MeshEvent, at: number): Board => {
  const taskId = "taskId" in event ? event.taskId : undefined
  const updated =
    taskId !== undefined
      ? onTask(self, taskId, event, at)
      : event._tag === "Resync"
        ? onMark(self, event, at)
        : event._tag === "Disconnected"
          ? onDisconnected(self)
          : event._tag === "Repaired"
            ? onRepaired(self, event, at)
            : self
  return evict(limitOutputs(updated, taskId), at, taskId)
}

const onTask = (self: Board, taskId: TaskId, event: MeshEvent, at: number): Board => {
  const table = self[contents]
  const known = Option.getOrUndefined(HashMap.get(table.tasks, taskId))
  const before =
    known !== undefined
      ? stateOf(table, known)
      : self.updatesCompleteSince === undefined
        ? State.make(taskId)
        : State.makeComplete(taskId, self.updatesCompleteSince)
  const state = State.step(before, event, at, table.settings)
  if (state === before) return self
  const hasOutput = state.lastOutput !== before.lastOutput
  const charsBefore = known?.outputChars ?? 0
  const chars = hasOutput && state.lastOutput !== undefined ? Bounded.charsOf(state.lastOutput) : charsBefore
  const outputAt = hasOutput ? at : (known?.outputAt ?? at)
  const roster = Roster.set(table, known, entryOf(table, state, outputAt, chars))
  if (chars === charsBefore) return withTable(self, roster)
  return withTable(self, {
    ...roster,
    outputChars: table.outputChars + chars - charsBefore,
    outputs:
      charsBefore === 0
        ? Line.append(table.outputs, taskId, outputAt)
        : chars === 0
          ? Line.remove(table.outputs, taskId)
          : table.outputs
  })
}

const isSmallHole = ({ _tag }: ResyncReason): boolean => _tag === "BadFrame" || _tag === "Overflow"

/** A `Resync` that names no task. */
const onMark = (self: Board, event: Resync, at: number): Board => {
  const table = self[contents]
  const mark = Completeness.read(event)
  const since = mark.updates ? Completeness.since(self.updatesCompleteSince, mark, at) : self.updatesCompleteSince
  const { updatesCompleteSince: _, ...rest } = self
  const opened: Board = since === undefined ? rest : { ...rest, updatesCompleteSince: since }
  if (isSmallHole(event.reason)) {
    return withTable(opened, { holes: table.holes + 1, lastHole: { reason: event.reason, at } })
  }
  const tasks = HashMap.map(table.tasks, (entry) =>
    entryOf(table, State.step(stateOf(table, entry), event, at, table.settings), entry.outputAt, entry.outputChars)
  )
  return withTable(opened, { tasks })
}

/** Clears the gaps of updates of every task. */
const onRepaired = (self: Board, event: Repaired, at: number): Board => {
  if (!State.closesGaps(event)) return self
  const table = self[contents]
  const tasks = HashMap.map(table.tasks, (entry) => {
    const state = stateOf(table, entry)
    const repaired = State.step(state, event, at, table.settings)
    return repaired === state ? entry : entryOf(table, repaired, entry.outputAt, entry.outputChars)
  })
  return withTable(self, { tasks })
}

const onDisconnected = (self: Board): Board => {
  const table = self[contents]
  const { updatesCompleteSince: _, ...rest } = self
  return self.size === 0 && self.updatesCompleteSince === undefined
    ? self
    : withTable(rest, { disconnects: table.disconnects + 1 })
}

/** Removes the text of approximately the oldest outputs, until the rest is within the bound. */
const limitOutputs = (self: Board, newest: TaskId | undefined): Board => {
  const table = self[contents]
  const max = table.settings.maxTotalOutputChars
  if (table.outputChars <= max) return self
  let { outputs, outputChars, tasks } = table
  while (outputChars > max && outputs.first !== undefined) {
    const id = outputs.first
    const since = Line.timeOf(outputs, id) ?? 0
    const isAlone = outputs.size === 1
    outputs = Line.remove(outputs, id)
    const entry = Option.getOrUndefined(HashMap.get(tasks, id))
    if (entry === undefined) continue
    if (!isAlone && id === newest) outputs = Line.append(outputs, id, since)
    else if (!isAlone && entry.outputAt > since) outputs = Line.append(outputs, id, entry.outputAt)
    else {
      outputChars -= entry.outputChars
      tasks = HashMap.set(tasks, id, { ...entry, state: State.withoutOutput(entry.state), outputChars: 0 })
    }
  }
  return withTable(self, { tasks, outputs, outputChars })
}

/** Evicts the tasks that exceed the limits. */
const evict = (self: Board, at: number, newest: TaskId | undefined): Board => {
  const table = self[contents]
  let { evicted, forgotten } = self
  let { outputs, outputChars } = table
  const roster = Roster.trim(table, table.settings, at, newest, (entry) => {
    if (entry.endedAt === undefined) forgotten++
    else evicted++
    outputs = Line.remove(outputs, entry.taskId)
    outputChars -= entry.outputChars
  })
  return roster === table
    ? self
    : { ...withTable(self, { tasks: roster.tasks, order: roster.order, outputs, outputChars }), evicted, forgotten }
}

const Saved = Schema.Struct({
  version: Schema.Literal(1),
  evicted: Schema.Int,
  forgotten: Schema.Int,
  updatesCompleteSince: Schema.optionalKey(Schema.Finite),
  tasks: Schema.Array(Schema.Struct({ state: State.codec, orderedAt: Schema.Finite })),
  outputs: Schema.Array(Schema.Struct({ taskId: TaskId, orderedAt: Schema.Finite, at: Schema.Finite }))
})

/** A board as JSON. */
export type Encoded = typeof Saved.Encoded

const save = (self: Board): typeof Saved.Type => {
  const table = self[contents]
  return {
    version: 1,
    evicted: self.evicted,
    forgotten: self.forgotten,
    ...(self.updatesCompleteSince === undefined ? {} : { updatesCompleteSince: self.updatesCompleteSince }),
    tasks: Roster.save(table).map(([entry, orderedAt]) => ({ state: stateOf(table, entry), orderedAt })),
    outputs: Line.toArray(table.outputs).map(([taskId, orderedAt]) => ({
      taskId,
      orderedAt,
      at: Option.match(HashMap.get(table.tasks, taskId), {
        onNone: () => orderedAt,
        onSome: ({ outputAt }) => outputAt
      })
    }))
  }
}

const restore = (saved: typeof Saved.Type, options: Options | undefined): Board => {
  const empty = make(options)
  const table = empty[contents]
  const outputAt = new Map(saved.outputs.map(({ taskId, at }) => [taskId, at]))
  let outputs = Line.empty
  for (const { taskId, orderedAt } of saved.outputs) outputs = Line.append(outputs, taskId, orderedAt)
  const entries = saved.tasks.map(({ state, orderedAt }) => {
    const at = outputAt.get(state.taskId)
    const chars = at === undefined || state.lastOutput === undefined ? 0 : Bounded.charsOf(state.lastOutput)
    return [entryOf(table, state, at ?? 0, chars), orderedAt] as const
  })
  const { updatesCompleteSince } = saved
  return {
    ...withTable(empty, {
      ...Roster.restore(entries),
      outputs,
      outputChars: entries.reduce((sum, [{ outputChars }]) => sum + outputChars, 0)
    }),
    evicted: saved.evicted,
    forgotten: saved.forgotten,
    ...(updatesCompleteSince === undefined ? {} : { updatesCompleteSince })
  }
}

const isBoard = (value: unknown): value is Board => Predicate.hasProperty(value, contents)

export const codec = (options: Options | undefined): Schema.Codec<Board, Encoded> =>
  Saved.pipe(
    Schema.decodeTo(
      Schema.declare(isBoard, { title: "TaskBoard" }),
      SchemaTransformation.transform({
        decode: (saved: typeof Saved.Type): Board => restore(saved, options),
        encode: save
      })
    )
  )
