/**
 * A snapshot server that is slow, stale within a bound, failing or partial.
 *
 * It knows the newest update of each task that the mesh has sent, heard or not.
 */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type * as Repair from "@makima-stream/core/Repair"
import type { TaskId } from "@makima-stream/core/TaskId"
import type { ScriptedMesh } from "../../ScriptedMesh.ts"
import * as Interests from "./interests.ts"

/** How the snapshot server answers from now on. */
export const Serve = Schema.TaggedStruct("Serve", {
  delayMillis: Schema.Literals([0, 0, 300, 3000, 60_000]),
  /** How many of the last entries of the server's log it does not know yet. */
  stale: Schema.Literals([0, 0, 3, 20]),
  fails: Schema.Literals([false, false, true]),
  /** Whether the list leaves a task out. */
  isPartial: Schema.Boolean
})

export type Serve = typeof Serve.Type

/** The answers of a server without faults. */
export const healthy: Serve = { _tag: "Serve", delayMillis: 0, stale: 0, fails: false, isPartial: false }

/** The task that a partial list leaves out. */
const leftOut = Interests.taskOf("b")

type Versions = ReadonlyMap<TaskId, number>

/** A fetch that has returned a snapshot. */
export interface Fetched {
  /** How many events the feed had when it began. */
  readonly began: number
  /** What the server had sent when it began. Empty if the snapshot was stale. */
  readonly truth: Versions
  readonly snapshot: ReadonlyArray<Repair.TaskSnapshot>
}

/** The highest version of each task that the mesh has sent, without the last entries of its log. */
export const truthOf = (mesh: ScriptedMesh["Service"], stale: number): Effect.Effect<Versions> =>
  Effect.map(mesh.log, (log) => {
    const truth = new Map<TaskId, number>()
    for (const entry of log.slice(0, Math.max(0, log.length - stale))) {
      if (entry._tag !== "Sent" && entry._tag !== "Unheard") continue
      const { message } = entry
      if (message?._tag !== "TaskUpdated" || message.version === undefined) continue
      truth.set(message.taskId, Math.max(message.version, truth.get(message.taskId) ?? 0))
    }
    return truth
  })

/**
 * Makes the function that fetches a snapshot. `began` is the number of events that the feed had.
 *
 * The type is written out: an inferred one would name a hidden module of core in the declarations.
 */
export const make = (
  mesh: ScriptedMesh["Service"],
  serve: () => Serve
): ((ask: Repair.Ask, began: number) => Effect.Effect<Fetched, { readonly _tag: "Down" }>) =>
  Effect.fnUntraced(function* (ask: Repair.Ask, began: number) {
    const begin = yield* truthOf(mesh, 0)
    const { delayMillis, fails, isPartial, stale } = serve()
    yield* Effect.sleep(delayMillis)
    if (fails) return yield* Effect.fail({ _tag: "Down" } as const)
    const truth = yield* truthOf(mesh, stale)
    const isListed = (taskId: TaskId): boolean =>
      (!isPartial || taskId !== leftOut) && (ask._tag === "All" || ask.taskIds.includes(taskId))
    const fetched: Fetched = {
      began,
      snapshot: [...truth].flatMap(([taskId, version]) => (isListed(taskId) ? [{ taskId, version }] : [])),
      truth: stale > 0 ? new Map() : new Map([...begin].filter(([taskId]) => isListed(taskId)))
    }
    return fetched
  })
