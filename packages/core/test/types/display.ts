/**
 * Values whose displayed types `display.test.ts` reads: the compiler writes the same
 * types into a declaration file as an editor shows.
 */
import * as Schema from "effect/Schema"
import * as Interest from "@makima-stream/core/Interest"
import * as CostLedger from "@makima-stream/core/CostLedger"
import * as MeshClient from "@makima-stream/core/MeshClient"
import * as MeshStream from "@makima-stream/core/MeshStream"
import * as TaskBoard from "@makima-stream/core/TaskBoard"
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
export const filterTask = feed.pipe(MeshStream.filterTask(id))
export const groupByTask = feed.pipe(MeshStream.groupByTask)
export const filterStatus = feed.pipe(MeshStream.filterStatus("failed"))
export const filterMessageType = feed.pipe(MeshStream.filterMessageType("result"))
export const fieldsChanged = feed.pipe(MeshStream.fieldsChanged("plan", { keep: "resync" }))
export const dataOnly = feed.pipe(MeshStream.dataOnly)
export const lifecycleOnly = feed.pipe(MeshStream.lifecycleOnly)
export const serverErrors = feed.pipe(MeshStream.serverErrors)
export const conflateUpdates = feed.pipe(MeshStream.updatesOnly, MeshStream.conflateUpdates)
export const boards = feed.pipe(TaskBoard.scan)
export const ledger = feed.pipe(CostLedger.run)
export const client = MeshClient.make()
export const layer = MeshClient.layer()
