/**
 * Faults of the next messages that a server emits: they are dropped, sent twice, or
 * retained and sent in reverse.
 *
 * Invariant: a message takes one fault, in this order: drop, reorder, duplicate.
 */
import type { ServerMessage } from "@makima-stream/core/ServerMessage"

export interface MessageFaults {
  readonly dropNext: (n: number) => void
  readonly duplicateNext: (n: number) => void
  readonly reorder: (n: number) => void
  /** Emits a message and applies the next fault to it. Returns the number of sends. */
  readonly emit: (message: ServerMessage) => number
  /** Removes all faults, and sends what `reorder` retains. */
  readonly heal: () => void
}

export const make = (broadcast: (message: ServerMessage) => number): MessageFaults => {
  let toDrop = 0
  let toDuplicate = 0
  let toReorder = 0
  let retained: Array<ServerMessage> = []

  const sendRetained = (): number => {
    const reversed = retained.toReversed()
    retained = []
    return reversed.reduce((sum, message) => sum + broadcast(message), 0)
  }

  return {
    dropNext(n) {
      toDrop += n
    },
    duplicateNext(n) {
      toDuplicate += n
    },
    reorder(n) {
      toReorder += n
    },
    emit(message) {
      if (toDrop > 0) {
        toDrop--
        return 0
      }
      if (toReorder > 0) {
        retained.push(message)
        return --toReorder === 0 ? sendRetained() : 0
      }
      const count = broadcast(message)
      if (toDuplicate === 0) return count
      toDuplicate--
      return count + broadcast(message)
    },
    heal() {
      toDrop = 0
      toDuplicate = 0
      toReorder = 0
      sendRetained()
    }
  }
}
