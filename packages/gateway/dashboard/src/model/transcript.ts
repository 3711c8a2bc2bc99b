/**
 * What the tasks said, in order, with a bound for each task and for all of them.
 *
 * It is folded from the joined feed (core's `joinPartials`), so a message is one item. The pieces of messages that are not
 * complete yet come from the feed itself, and are shown after the items.
 */
import type { MeshEvent, Restated } from "@makima-stream/core/MeshEvent"
import type { JoinedOutput } from "@makima-stream/core/MeshStream"
import type { TaskOutput, TaskUpdated } from "@makima-stream/core/ServerMessage"
import type { TaskId } from "@makima-stream/core/TaskId"
import * as TaskStatus from "@makima-stream/core/TaskStatus"

/** The result of a tool. */
export interface ToolResult {
  readonly content: string
  readonly isError: boolean
  readonly at: number
}

/** One item of a transcript. `id` grows with each item of a task; `at` is when it arrived. */
export type Item = { readonly id: number; readonly at: number } & (
  | {
      readonly kind: "message"
      readonly messageType: string
      readonly content: string
      readonly isError: boolean
      /** Present if the rest of the message is missing. */
      readonly unfinished?: string
    }
  | {
      readonly kind: "tool"
      readonly name: string
      readonly input: unknown
      readonly content: string
      readonly result?: ToolResult
    }
  /** A result without its call. */
  | { readonly kind: "toolResult"; readonly name: string; readonly result: ToolResult }
  | {
      readonly kind: "runEnd"
      readonly content: string
      readonly isError: boolean
      readonly costUsd?: number
      readonly durationMs?: number
    }
  | { readonly kind: "status"; readonly status: string; readonly by: string; readonly isRestated: boolean }
  | { readonly kind: "gap"; readonly gapId: number }
)

/** A message that is not complete yet. */
export interface Pending {
  readonly messageType: string
  readonly text: string
}

/** The transcript of one task. */
export interface Transcript {
  readonly taskId: string
  /** Oldest first. The same array as long as nothing changes. */
  readonly items: ReadonlyArray<Item>
  /** How many older items were dropped. */
  readonly dropped: number
  readonly pending: ReadonlyArray<Pending>
}

/** Bounds. Characters are UTF-16 code units. */
export interface Options {
  /** The most items of one task. Defaults to 20,000. */
  readonly maxItems?: number
  /** The most characters of all tasks. Defaults to 64 million. */
  readonly maxChars?: number
  /** The most items of all tasks. Defaults to 400,000. */
  readonly maxTotalItems?: number
}

export interface Transcripts {
  /** Folds a batch of the feed itself: the pieces of messages. */
  readonly pieces: (batch: ReadonlyArray<MeshEvent>) => void
  /** Folds a batch of the joined feed, which arrived at `at`. */
  readonly fold: (batch: ReadonlyArray<MeshEvent>, at: number) => void
  /** Puts a gap into the transcript of one task, or of all live ones. */
  readonly gap: (gapId: number, taskId: TaskId | undefined, at: number) => void
  readonly get: (taskId: string) => Transcript
  /** The message that a task is writing; empty if there is none. */
  readonly pendingText: (taskId: string) => string
  /** Grows with each change of a task's transcript. */
  readonly version: (taskId: string) => number
  /** Keeps this transcript whole while others are shortened. */
  readonly open: (taskId: string | undefined) => void
}

interface State {
  items: Array<Item>
  nextId: number
  chars: number
  dropped: number
  status: string | undefined
  pending: Map<string, string>
  version: number
  /** The calls that wait for their results, by their places among the ids. */
  calls: Array<{ readonly id: number; readonly name: string }>
  snapshot: Transcript | undefined
}

/** The longest message that is not complete yet, and the most calls that wait. */
const maxPending = 100_000
const maxCalls = 64

const none: Omit<Transcript, "taskId"> = { items: [], dropped: 0, pending: [] }

/** `Omit` for each member of a union. */
type DistributiveOmit<A, K extends PropertyKey> = A extends unknown ? Omit<A, K> : never

/** How many characters an item keeps. */
const sizeOf = (item: Item): number => {
  switch (item.kind) {
    case "message":
    case "runEnd":
      return item.content.length + 64
    case "tool":
      return item.content.length + (item.result?.content.length ?? 0) + 256
    case "toolResult":
      return item.result.content.length + 64
    default:
      return 64
  }
}

export const make = (options: Options = {}): Transcripts => {
  const { maxChars = 64_000_000, maxItems = 20_000, maxTotalItems = 400_000 } = options
  const states = new Map<string, State>()
  let opened: string | undefined
  let chars = 0
  let total = 0

  const stateOf = (taskId: string): State => {
    const known = states.get(taskId)
    if (known !== undefined) return known
    const made: State = {
      items: [],
      nextId: 1,
      chars: 0,
      dropped: 0,
      status: undefined,
      pending: new Map(),
      version: 0,
      calls: [],
      snapshot: undefined
    }
    states.set(taskId, made)
    return made
  }

  const touch = (state: State): void => {
    state.version++
    state.snapshot = undefined
  }

  /** Drops the oldest items of a task. */
  const drop = (state: State, count: number): void => {
    const dropped = state.items.slice(0, count)
    state.items = state.items.slice(count)
    state.dropped += dropped.length
    const size = dropped.reduce((sum, item) => sum + sizeOf(item), 0)
    state.chars -= size
    chars -= size
    total -= dropped.length
    const [oldest] = state.items
    state.calls = state.calls.filter(({ id }) => oldest !== undefined && id >= oldest.id)
    touch(state)
  }

  /** Halves the largest transcripts until all of them are within the bounds. The open one comes last. */
  const isFull = (): boolean => chars > maxChars || total > maxTotalItems
  const shrink = (): void => {
    while (isFull()) {
      let largest: State | undefined
      const weight = ({ chars: own, items }: State): number => own / maxChars + items.length / maxTotalItems
      for (const [taskId, state] of states) {
        if (state.items.length === 0 || (taskId === opened && states.size > 1)) continue
        if (largest === undefined || weight(state) > weight(largest)) largest = state
      }
      largest ??= opened === undefined ? undefined : states.get(opened)
      if (largest === undefined || largest.items.length === 0) return
      drop(largest, Math.ceil(largest.items.length / 2))
    }
  }

  const account = (state: State, size: number, items: number): void => {
    state.chars += size
    chars += size
    total += items
    // A tenth at a time, so that a long task does not copy its items at each event.
    if (state.items.length > maxItems) drop(state, state.items.length - Math.floor(maxItems * 0.9))
    if (isFull()) shrink()
  }

  const push = (state: State, item: DistributiveOmit<Item, "id">): number => {
    const id = state.nextId++
    const made = { id, ...item }
    state.items.push(made)
    touch(state)
    account(state, sizeOf(made), 1)
    return id
  }

  /** Adds a result to the first call that waits for one of this tool. Returns `false` if there is none. */
  const answer = (state: State, name: string | undefined, result: ToolResult): boolean => {
    const index = state.calls.findIndex((call) => name === undefined || name === call.name)
    const [call] = index === -1 ? [] : state.calls.splice(index, 1)
    const [oldest] = state.items
    if (call === undefined || oldest === undefined) return false
    const place = call.id - oldest.id
    const item = state.items[place]
    if (item?.kind !== "tool") return false
    state.items[place] = { ...item, result }
    touch(state)
    account(state, result.content.length, 0)
    return true
  }

  const onOutput = (output: JoinedOutput, at: number): void => {
    const state = stateOf(output.taskId)
    const { content, messageType, toolName: name } = output
    const isError = output.isError === true
    if (messageType === "tool_use" && output.unfinished !== true) {
      const id = push(state, { at, kind: "tool", name: name ?? "tool", input: output.toolInput, content })
      state.calls.push({ id, name: name ?? "tool" })
      if (state.calls.length > maxCalls) state.calls.shift()
    } else if (messageType === "tool_result" && output.unfinished !== true) {
      const result = { content, isError, at }
      if (!answer(state, name, result)) push(state, { at, kind: "toolResult", name: name ?? "", result })
    } else if (messageType === "result" && output.unfinished !== true) {
      state.calls = []
      push(state, {
        at,
        kind: "runEnd",
        content,
        isError,
        ...(output.costUsd === undefined ? {} : { costUsd: output.costUsd }),
        ...(output.durationMs === undefined ? {} : { durationMs: output.durationMs })
      })
    } else {
      push(state, {
        at,
        kind: "message",
        messageType,
        content,
        isError: isError || messageType === "error",
        ...(output.unfinished === true ? { unfinished: output.why ?? "Ended" } : {})
      })
    }
  }

  const onUpdate = (update: TaskUpdated | Restated, at: number): void => {
    const { status } = update
    if (status === undefined) return
    const state = stateOf(update.taskId)
    if (state.status === status) return
    state.status = status
    const by = update._tag === "TaskUpdated" ? (update.updatedBy ?? "") : ""
    push(state, { at, kind: "status", status, by, isRestated: update._tag === "Restated" })
  }

  const onPiece = (output: TaskOutput): void => {
    const known = states.get(output.taskId)
    if (output.isPartial !== true) {
      if (known === undefined || known.pending.size === 0) return
      if (output.messageType === "result") known.pending.clear()
      else known.pending.delete(output.messageType)
      touch(known)
      return
    }
    const state = known ?? stateOf(output.taskId)
    const text = (state.pending.get(output.messageType) ?? "") + output.content
    // What is joined so far becomes an item of its own at this length.
    state.pending.set(output.messageType, text.length > maxPending ? output.content.slice(0, maxPending) : text)
    touch(state)
  }

  const clearPending = (taskId: string | undefined): void => {
    for (const [id, state] of states) {
      if ((taskId !== undefined && taskId !== id) || state.pending.size === 0) continue
      state.pending.clear()
      touch(state)
    }
  }

  return {
    pieces(batch) {
      for (const event of batch) {
        if (event._tag === "TaskOutput") onPiece(event)
        else if (event._tag === "Resync" && (event.reason._tag !== "Subscribed" || event.reason.kind === "output")) {
          clearPending(event.taskId)
        }
      }
    },
    fold(batch, at) {
      for (const event of batch) {
        if (event._tag === "TaskOutput") onOutput(event, at)
        else if (event._tag === "TaskUpdated" || event._tag === "Restated") onUpdate(event, at)
      }
    },
    gap(gapId, taskId, at) {
      if (taskId !== undefined) return void push(stateOf(taskId), { at, kind: "gap", gapId })
      for (const state of states.values()) {
        const last = state.items.at(-1)
        // A task that has ended says nothing any more, so it misses nothing.
        if (last === undefined || (state.status !== undefined && TaskStatus.isTerminal(state.status))) continue
        push(state, { at, kind: "gap", gapId })
      }
    },
    get(taskId) {
      const state = states.get(taskId)
      if (state === undefined) return { taskId, ...none }
      state.snapshot ??= {
        taskId,
        items: state.items.slice(),
        dropped: state.dropped,
        pending: Array.from(state.pending, ([messageType, text]) => ({ messageType, text }))
      }
      return state.snapshot
    },
    pendingText: (taskId) => Array.from(states.get(taskId)?.pending.values() ?? []).at(-1) ?? "",
    version: (taskId) => states.get(taskId)?.version ?? 0,
    open: (taskId) => void (opened = taskId)
  }
}
