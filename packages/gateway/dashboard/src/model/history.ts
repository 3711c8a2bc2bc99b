/**
 * The transcript of one task: its items, the calls of tools that wait for a result, and the messages that are not complete.
 *
 * Invariants: the ids of the items follow each other without a hole, so an item is found by its id; `chars` is the sum of the
 * sizes of the items; a call in `calls` is one of the items.
 */
import type { JoinedOutput } from "@makima-stream/core/MeshStream"
import type { TaskOutput } from "@makima-stream/core/ServerMessage"

/** The result of a tool. */
export interface ToolResult {
  readonly content: string
  readonly isError: boolean
  readonly at: number
}

/** What an item is. */
export type Content =
  | {
      readonly kind: "message"
      readonly messageType: string
      readonly content: string
      readonly isError: boolean
      /** Present if the rest of the message is missing: why it is. */
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

/** One item. `id` grows with each item of a task; `at` is when it arrived. */
export type Item = { readonly id: number; readonly at: number } & Content

/** A message that is not complete yet. */
export interface Pending {
  readonly messageType: string
  readonly text: string
}

/** The transcript of one task. */
export interface Transcript {
  readonly taskId: string
  /** Oldest first. */
  readonly items: ReadonlyArray<Item>
  /** How many older items were dropped. */
  readonly dropped: number
  readonly pending: ReadonlyArray<Pending>
}

/** The longest message that is not complete yet, in UTF-16 code units. `joinPartials` makes an item of it at this length. */
const maxPending = 100_000

/** The most calls of a task that wait for a result. */
const maxCalls = 64

/** The approximate size of an item in characters. */
const sizeOf = (item: Content): number => {
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

export class History {
  readonly #taskId: string
  #items: Array<Item> = []
  #calls: Array<{ readonly id: number; readonly name: string }> = []
  readonly #pending = new Map<string, string>()
  #nextId = 1
  /** The newest status. */
  status: string | undefined
  #dropped = 0
  #chars = 0
  #snapshot: Transcript | undefined

  constructor(taskId: string) {
    this.#taskId = taskId
  }

  /** How many items are kept. */
  get size(): number {
    return this.#items.length
  }

  /** The approximate size of all items in characters. */
  get chars(): number {
    return this.#chars
  }

  /** The transcript. The same object until something changes. */
  get transcript(): Transcript {
    this.#snapshot ??= {
      taskId: this.#taskId,
      items: this.#items.slice(),
      dropped: this.#dropped,
      pending: Array.from(this.#pending, ([messageType, text]) => ({ messageType, text }))
    }
    return this.#snapshot
  }

  /** The newest message that is not complete; empty if there is none. */
  get pendingText(): string {
    return Array.from(this.#pending.values()).at(-1) ?? ""
  }

  /** Adds an item at its end. */
  push(content: Content, at: number): void {
    const id = this.#nextId++
    this.#items.push({ id, at, ...content })
    this.#chars += sizeOf(content)
    this.#snapshot = undefined
    if (content.kind === "runEnd") this.#calls = []
    if (content.kind !== "tool") return
    this.#calls.push({ id, name: content.name })
    if (this.#calls.length > maxCalls) this.#calls.shift()
  }

  /** Adds an output that is complete, or the unfinished beginning of one. */
  output(output: JoinedOutput, at: number): void {
    const { content, messageType, toolName } = output
    const isError = output.isError === true
    if (output.unfinished === true) {
      this.push({ kind: "message", messageType, content, isError, unfinished: output.why ?? "Ended" }, at)
    } else if (messageType === "tool_use") {
      this.push({ kind: "tool", name: toolName ?? "tool", input: output.toolInput, content }, at)
    } else if (messageType === "tool_result") {
      this.#answer(toolName, { content, isError, at })
    } else if (messageType === "result") {
      this.push({ kind: "runEnd", content, isError, ...costOf(output) }, at)
    } else {
      this.push({ kind: "message", messageType, content, isError: isError || messageType === "error" }, at)
    }
  }

  /** Adds a result to the oldest call of its tool that waits for one, or as an item of its own. */
  #answer(name: string | undefined, result: ToolResult): void {
    const index = this.#calls.findIndex((call) => name === undefined || name === call.name)
    const [call] = index === -1 ? [] : this.#calls.splice(index, 1)
    const place = (call?.id ?? 0) - (this.#items[0]?.id ?? 0)
    const item = call === undefined ? undefined : this.#items[place]
    if (item?.kind !== "tool") return this.push({ kind: "toolResult", name: name ?? "", result }, result.at)
    this.#items[place] = { ...item, result }
    this.#chars += result.content.length
    this.#snapshot = undefined
  }

  /** Takes a piece of a message, or the message that closes the pieces before it. */
  piece(output: TaskOutput): void {
    const { content, messageType } = output
    if (output.isPartial === true) {
      const text = (this.#pending.get(messageType) ?? "") + content
      this.#pending.set(messageType, text.length > maxPending ? content.slice(0, maxPending) : text)
    } else {
      if (this.#pending.size === 0) return
      if (messageType === "result") this.#pending.clear()
      else this.#pending.delete(messageType)
    }
    this.#snapshot = undefined
  }

  /** Forgets the messages that are not complete. */
  clearPending(): void {
    if (this.#pending.size === 0) return
    this.#pending.clear()
    this.#snapshot = undefined
  }

  /** Drops the oldest items. */
  drop(count: number): void {
    const dropped = this.#items.slice(0, count)
    this.#items = this.#items.slice(count)
    this.#dropped += dropped.length
    for (const item of dropped) this.#chars -= sizeOf(item)
    const oldest = this.#items[0]?.id ?? this.#nextId
    this.#calls = this.#calls.filter(({ id }) => id >= oldest)
    this.#snapshot = undefined
  }
}

const costOf = ({ costUsd, durationMs }: TaskOutput) => ({
  ...(costUsd === undefined ? {} : { costUsd }),
  ...(durationMs === undefined ? {} : { durationMs })
})
