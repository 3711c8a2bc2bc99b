/**
 * Streams whose displayed types `display.test.ts` reads: what the compiler
 * writes into a declaration file is what an editor shows.
 */
import * as Schema from "effect/Schema"
import * as Interest from "@makima-stream/core/Interest"
import * as MeshStream from "@makima-stream/core/MeshStream"
import * as TaskId from "@makima-stream/core/TaskId"

const feed = MeshStream.connect({ interest: Interest.all })
const id = TaskId.make("7f1c")

export const outputOnly = feed.pipe(MeshStream.outputOnly)
export const outputWithResync = feed.pipe(MeshStream.outputOnly({ keep: "resync" }))
export const ofTask = feed.pipe(MeshStream.filterTask(id), MeshStream.updatesOnly)
export const dedupeUpdates = feed.pipe(MeshStream.dedupeUpdates)
export const markGaps = feed.pipe(MeshStream.markGaps)
export const statusChanges = feed.pipe(MeshStream.statusChanges)
export const untilTerminal = feed.pipe(MeshStream.untilTerminal(id))
export const takeResult = feed.pipe(MeshStream.takeResult(id))
export const joinPartials = feed.pipe(MeshStream.outputOnly, MeshStream.joinPartials)
export const text = feed.pipe(MeshStream.text)
export const lines = feed.pipe(MeshStream.lines({ keep: "resync" }))
export const toolUse = feed.pipe(MeshStream.toolUse({ Bash: Schema.Struct({ command: Schema.String }) }))
