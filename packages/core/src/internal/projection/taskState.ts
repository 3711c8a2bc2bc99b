/**
 * The reducer of `TaskState`, event by event, for that module and for
 * `TaskBoard`, which runs it for many tasks at once.
 */
import type { MeshEvent, Resync } from "../../MeshEvent.ts"
import type { TaskOutput, TaskUpdated } from "../../ServerMessage.ts"
import type { TaskId } from "../../TaskId.ts"
import type { Options, TaskState } from "../../TaskState.ts"
import * as TaskStatus from "../../TaskStatus.ts"
import { toPredicate } from "../../operators/options.ts"
import * as Results from "./results.ts"

/** `Options`, read once. */
export interface Meaning {
  readonly isTerminal: (status: string) => boolean
  readonly isWaiting: (status: string) => boolean
}

const isPending = toPredicate("pending")
const defaults: Meaning = { isTerminal: TaskStatus.isTerminal, isWaiting: isPending }

export const meaningOf = (options: Options | undefined): Meaning =>
  options === undefined
    ? defaults
    : {
        isTerminal: toPredicate(options.terminal ?? TaskStatus.defaultTerminal),
        isWaiting: options.waiting === undefined ? isPending : toPredicate(options.waiting)
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
  gaps: 0,
  results: Results.none
})

export const isLive = (self: TaskState): boolean => self.firstEventAt !== undefined && self.endedAt === undefined

export const fold = (self: TaskState, events: ReadonlyArray<MeshEvent>, at: number, meaning: Meaning): TaskState => {
  let state = self
  for (const event of events) state = step(state, event, at, meaning)
  return state
}

export const step = (self: TaskState, event: MeshEvent, at: number, meaning: Meaning): TaskState => {
  switch (event._tag) {
    case "TaskUpdated":
      return event.taskId === self.taskId ? onUpdate(self, event, at, meaning) : self
    case "TaskOutput":
      return event.taskId === self.taskId ? onOutput(self, event, at) : self
    case "Resync":
      return (event.taskId === undefined ? isLive(self) : event.taskId === self.taskId)
        ? onResync(self, event, at)
        : self
    default:
      return self
  }
}

const heard = (self: TaskState, at: number): Draft => ({
  ...self,
  firstEventAt: self.firstEventAt ?? at,
  lastEventAt: at
})

const onUpdate = (self: TaskState, update: TaskUpdated, at: number, meaning: Meaning): TaskState => {
  const change = Results.read(self, update, meaning.isTerminal)
  if (change === undefined) return self
  const draft = heard(self, at)
  if (update.version !== undefined) draft.version = update.version
  if (change.status === undefined) return draft
  draft.status = change.status
  if (change.beginsRun) {
    draft.runs++
    draft.results = Results.beginRun(self.results)
    delete draft.startedAt
    delete draft.endedAt
  }
  if (change.isTerminal) draft.endedAt ??= at
  else if (!meaning.isWaiting(change.status)) draft.startedAt ??= at
  return draft
}

const onOutput = (self: TaskState, output: TaskOutput, at: number): TaskState => {
  const draft = heard(self, at)
  if (draft.endedAt === undefined) draft.startedAt ??= at
  if (output.isPartial === true) {
    draft.partials++
    return draft
  }
  draft.lastOutput = output
  draft.counts = counted(self.counts, output.messageType)
  if (Results.isResult(output)) {
    draft.results = Results.add(self.results, output)
    draft.costUsd = draft.results.costUsd
    draft.durationMs = draft.results.durationMs
  }
  return draft
}

const onResync = (self: TaskState, { reason }: Resync, at: number): TaskState => ({
  ...self,
  firstEventAt: self.firstEventAt ?? at,
  gaps: self.gaps + 1,
  lastGap: reason
})

const counted = (counts: ReadonlyMap<string, number>, messageType: string): ReadonlyMap<string, number> => {
  const key = counts.has(messageType) || counts.size < maxTypes ? messageType : otherTypes
  return new Map(counts).set(key, (counts.get(key) ?? 0) + 1)
}
