/**
 * The messages of one task of a workload, from its first update to its last, in the
 * order and with the members that `Workload.make` documents.
 *
 * Invariant: a history depends only on its random numbers, settings and start.
 */
import type { NonEmptyReadonlyArray } from "effect/Array"
import type { TaskOutput, TaskUpdated } from "@makima-stream/core/ServerMessage"
import type { TaskId } from "@makima-stream/core/TaskId"
import type * as Random from "../random.ts"
import * as Text from "./text.ts"

/**
 * A message of a workload. `Workload` exports it.
 *
 * @category models
 * @since 0.1.0
 */
export type Message = TaskUpdated | TaskOutput

/**
 * A message, and when it is sent. `Workload` exports it.
 *
 * @category models
 * @since 0.1.0
 */
export interface Entry {
  /** When it is sent, in whole milliseconds from the start of the workload. */
  readonly at: number
  /** What is sent. */
  readonly message: Message
}

/** Normalised options of a workload. */
export interface Settings {
  readonly outputs: number
  readonly partialRatio: number
  readonly toolUseRatio: number
  readonly failureRatio: number
  readonly pauseRatio: number
  readonly meanInterval: number
  readonly contentSize: number
}

/** The members of an output that depend on what the agent does. */
export type OutputBody = Omit<TaskOutput, "_tag" | "taskId">

const tools: NonEmptyReadonlyArray<readonly [name: string, field: string]> = [
  ["Bash", "command"],
  ["Read", "file_path"],
  ["Edit", "file_path"],
  ["Grep", "pattern"]
]

export const make = (
  taskId: TaskId,
  random: Random.Random,
  settings: Settings,
  start: number
): ReadonlyArray<Entry> => {
  const history = new History(taskId, random, settings, start)
  const startedAt = history.begin()
  history.work()
  history.finish(startedAt)
  return history.entries
}

class History {
  readonly entries: Array<Entry> = []
  readonly #taskId: TaskId
  readonly #random: Random.Random
  readonly #settings: Settings
  #now: number
  #version = 0
  /** The number of outputs. */
  #outputs = 0

  constructor(taskId: TaskId, random: Random.Random, settings: Settings, start: number) {
    this.#taskId = taskId
    this.#random = random
    this.#settings = settings
    this.#now = start
  }

  /** The updates until the task runs. Returns when it ran. */
  begin(): number {
    this.#update("pending", "user", "name", "plan")
    this.#update("starting", "supervisor", "daemonId")
    this.#update("running", "daemon", "startedAt")
    return this.#now
  }

  /** The outputs of the agent, and a pause between them if there is one. */
  work(): void {
    const { outputs, pauseRatio, toolUseRatio } = this.#settings
    const random = this.#random
    // The number of outputs before the task is paused or blocked, if it is.
    let pauseAfter = random.chance(pauseRatio) ? 1 + random.below(outputs - 1) : Infinity
    this.#wait()
    this.#output({ messageType: "system", content: this.#text() })
    while (this.#outputs < outputs - 1) {
      if (this.#outputs >= pauseAfter) {
        this.#pause()
        pauseAfter = Infinity
      }
      const room = outputs - 1 - this.#outputs
      if (room > 1 && random.chance(toolUseRatio)) this.#tool()
      else this.#assistant(room)
    }
    if (pauseAfter < Infinity) this.#pause()
  }

  /** The result and the last update. */
  finish(startedAt: number): void {
    const random = this.#random
    const failed = random.chance(this.#settings.failureRatio)
    this.#wait()
    this.#output({
      messageType: "result",
      content: this.#text(),
      costUsd: (1 + random.below(2048)) / 1024,
      durationMs: this.#now - startedAt,
      ...(failed ? { isError: true } : {})
    })
    const isUsual = random.chance(0.7)
    if (failed && isUsual) this.#update("failed", "daemon", "errorMessage", "completedAt")
    else if (failed) this.#update("cancelled", "user", "completedAt")
    else if (isUsual) this.#update("done", "daemon", "completedAt")
    else this.#update("merged", "supervisor", "mergedAt", "completedAt")
  }

  /** A message of the agent, in pieces if there is room for them. */
  #assistant(room: number): void {
    const { meanInterval, partialRatio } = this.#settings
    const content = this.#text()
    if (room > 2 && this.#random.chance(partialRatio)) {
      const pieces = Math.min(room - 1, 2 + this.#random.below(3))
      for (let piece = 0; piece < pieces; piece++) {
        this.#wait(meanInterval / 4)
        const [from, to] = [piece, piece + 1].map((n) => Math.floor((content.length * n) / pieces))
        this.#output({ messageType: "assistant", content: content.slice(from, to), isPartial: true })
      }
    } else {
      this.#wait()
    }
    this.#output({ messageType: "assistant", content })
  }

  /** The use of a tool, and its result. */
  #tool(): void {
    const [toolName, field] = Text.pick(this.#random, tools)
    this.#wait()
    this.#output({
      messageType: "tool_use",
      content: "",
      toolName,
      toolInput: { [field]: this.#text(), timeout: 120_000 }
    })
    this.#wait()
    const isError = this.#random.chance(0.1)
    this.#output({ messageType: "tool_result", content: this.#text(), toolName, ...(isError ? { isError } : {}) })
  }

  /** The task is paused or blocked, and runs again. */
  #pause(): void {
    if (this.#random.chance(0.5)) this.#update("paused", "user", "pausedAt")
    else this.#update("blocked", "supervisor", "blockedBy")
    this.#update("running", "daemon")
  }

  #wait(mean: number = this.#settings.meanInterval): void {
    this.#now += Math.round(this.#random.exponential(mean))
  }

  #text(): string {
    return Text.make(this.#random, this.#settings.contentSize, `${this.#outputs + 1}`)
  }

  #update(status: string, updatedBy: string, ...alsoUpdated: ReadonlyArray<string>): void {
    this.#wait()
    this.entries.push({
      at: this.#now,
      message: {
        _tag: "TaskUpdated",
        taskId: this.#taskId,
        version: ++this.#version,
        status,
        updatedFields: ["status", ...alsoUpdated],
        updatedBy
      }
    })
  }

  #output(body: OutputBody): void {
    this.#outputs++
    this.entries.push({ at: this.#now, message: { _tag: "TaskOutput", taskId: this.#taskId, ...body } })
  }
}
