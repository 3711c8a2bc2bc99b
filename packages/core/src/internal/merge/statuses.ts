/** The status of each connection of a feed, as `MeshClient.status` shows it. */
import type { MeshError } from "../../MeshError.ts"
import type { Connected, Disconnected } from "../../MeshEvent.ts"
import type { ConnectionStatus } from "../session/connections.ts"

export class Statuses {
  readonly #all: Array<ConnectionStatus>

  constructor(count: number) {
    this.#all = Array.from({ length: count }, () => ({ _tag: "Connecting", attempt: 0 }))
  }

  dialled(connection: number, attempt: number): void {
    this.#all[connection] = { _tag: "Connecting", attempt }
  }

  connected(connection: number, { at, epoch }: Connected): void {
    this.#all[connection] = { _tag: "Online", epoch, since: at, isAligned: false }
  }

  /** A connection has ended. Its status changes only if it is dialled again. */
  disconnected(connection: number, { at, attempt, reason, retryInMillis }: Disconnected): void {
    if (retryInMillis === undefined) return
    this.#all[connection] = { _tag: "Offline", attempt, reason, retryAt: at + retryInMillis }
  }

  failed(connection: number, error: MeshError): void {
    this.#all[connection] = { _tag: "Failed", error }
  }

  /** Updates which connections are aligned. Returns all statuses, and the number of aligned connections. */
  refresh(isAligned: (connection: number) => boolean): {
    readonly statuses: ReadonlyArray<ConnectionStatus>
    readonly aligned: number
  } {
    let aligned = 0
    this.#all.forEach((status, i) => {
      if (status._tag !== "Online") return
      const now = isAligned(i)
      if (now) aligned++
      if (now !== status.isAligned) this.#all[i] = { ...status, isAligned: now }
    })
    return { statuses: [...this.#all], aligned }
  }
}
