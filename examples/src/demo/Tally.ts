/**
 * What the demo keeps of the feed while it runs: a board of tasks, a ledger of
 * costs, and counts. Pure, so that every view shows the same.
 */
import * as CostLedger from "@makima-stream/core/CostLedger"
import * as TaskBoard from "@makima-stream/core/TaskBoard"
import type * as MeshEvent from "@makima-stream/core/MeshEvent"

export interface Tally {
  readonly board: TaskBoard.TaskBoard
  readonly ledger: CostLedger.CostLedger
  /** The state of the connection, in words. */
  readonly connection: string
  readonly events: number
  readonly updates: number
  readonly outputs: number
  readonly connections: number
  readonly resyncs: number
}

export const empty: Tally = {
  board: TaskBoard.make(),
  ledger: CostLedger.make(),
  connection: "connecting",
  events: 0,
  updates: 0,
  outputs: 0,
  connections: 0,
  resyncs: 0
}

/** The tally after a batch of events that came at `at`. */
export const add = (self: Tally, batch: ReadonlyArray<MeshEvent.MeshEvent>, at: number): Tally => {
  let { connection, connections, events, outputs, resyncs, updates } = self
  for (const event of batch) {
    switch (event._tag) {
      case "Connected":
        connections++
        connection = `online, epoch ${event.epoch}`
        break
      case "Disconnected":
        connection = `offline: ${event.reason.message}`
        break
      case "Resync":
        resyncs++
        break
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
