/**
 * The state of the demo: a board of tasks, a ledger of costs, and counts. Pure, so that
 * every view shows the same.
 */
import * as CostLedger from "@makima-stream/core/CostLedger"
import * as TaskBoard from "@makima-stream/core/TaskBoard"
import type * as MeshEvent from "@makima-stream/core/MeshEvent"

export interface Tally {
  readonly board: TaskBoard.TaskBoard
  readonly ledger: CostLedger.CostLedger
  readonly online: boolean
  /** The state of the connection, in words. */
  readonly connection: string
  /** Data messages of the server. */
  readonly events: number
  readonly updates: number
  readonly outputs: number
  readonly connections: number
  /** `Resync` elements. */
  readonly resyncs: number
  /** The number of `Resync` elements, by reason. */
  readonly marks: ReadonlyMap<string, number>
}

export const empty: Tally = {
  board: TaskBoard.make(),
  ledger: CostLedger.make(),
  online: false,
  connection: "connecting",
  events: 0,
  updates: 0,
  outputs: 0,
  connections: 0,
  resyncs: 0,
  marks: new Map()
}

/** The tally after a batch of events that arrived at `at`. */
export const add = (self: Tally, batch: ReadonlyArray<MeshEvent.MeshEvent>, at: number): Tally => {
  let { connection, connections, events, marks, online, outputs, resyncs, updates } = self
  for (const event of batch) {
    switch (event._tag) {
      case "Connected":
        connections++
        online = true
        connection = `online, epoch ${event.epoch}`
        break
      case "Disconnected":
        online = false
        connection = `offline: ${event.reason.message}`
        break
      case "Resync": {
        resyncs++
        const { _tag } = event.reason
        marks = new Map(marks).set(_tag, (marks.get(_tag) ?? 0) + 1)
        break
      }
      case "TaskUpdated":
        updates++
        events++
        break
      case "TaskOutput":
        outputs++
        events++
        break
      case "ServerError":
      case "UnknownMessage":
        events++
        break
    }
  }
  return {
    board: TaskBoard.fold(self.board, batch, at),
    ledger: CostLedger.fold(self.ledger, batch, at),
    connection,
    connections,
    events,
    marks,
    online,
    outputs,
    resyncs,
    updates
  }
}

/** How many different tasks were seen. */
export const tasks = ({ board }: Tally): number =>
  TaskBoard.live(board).length + TaskBoard.ended(board).length + board.evicted + board.forgotten

/** How many of them were seen to end. */
export const ended = ({ board }: Tally): number => TaskBoard.ended(board).length + board.evicted

/** How many tasks have each status; `unknown` if no update with a status was seen. */
export const statuses = ({ board }: Tally): ReadonlyMap<string, number> => {
  const counts = new Map<string, number>()
  for (const task of [...TaskBoard.ended(board), ...TaskBoard.live(board)]) {
    const status = task.status ?? "unknown"
    counts.set(status, (counts.get(status) ?? 0) + 1)
  }
  return counts
}
