/**
 * The elements that a program with one connection at a time must see, derived from
 * the mesh: the outcome of each dial and each pulled frame, in order. Marks are not
 * part of it: `Audit` judges them by the server's log.
 *
 * Invariants: elements are only appended; the elements of a connection are between
 * its `Connected` and its `Disconnected`; if the program did not end a connection
 * itself, its `Disconnected` follows after everything that arrived was pulled.
 */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import type { Data, MeshEvent } from "@makima-stream/core/MeshEvent"
import * as ServerMessage from "@makima-stream/core/ServerMessage"
import type { ScriptedMesh, Sent } from "../../ScriptedMesh.ts"
import type { Opened, Refused, Stalled } from "../../ServerLog.ts"

export type Element =
  | { readonly _tag: "Connected"; readonly epoch: number }
  | { readonly _tag: "Disconnected"; readonly epoch: number; readonly opened: boolean }
  | { readonly _tag: "BadFrame"; readonly epoch: number }
  | { readonly _tag: "Data"; readonly epoch: number; readonly message: Data }

export interface Reference {
  readonly elements: ReadonlyArray<Element>
  /** How many elements there were when the first acknowledgement of each epoch was pulled. */
  readonly confirmedAt: ReadonlyMap<number, number>
  /** How many messages, acknowledgements included, were pulled in each epoch. */
  readonly messages: ReadonlyMap<number, number>
  /** The server's number of the connection of each epoch. */
  readonly connectionOf: ReadonlyMap<number, number>
  /** The program abandons its connection and the frames that have arrived on it. */
  readonly abandon: Effect.Effect<void>
  /** Reads what has happened since the last call. Returns what is wrong. */
  readonly update: Effect.Effect<string | undefined>
}

type Outcome = Opened | Refused | Stalled

/** A reference for a program that starts now. */
export const make = (mesh: ScriptedMesh["Service"]): Effect.Effect<Reference> =>
  Effect.gen(function* () {
    const elements: Array<Element> = []
    const messages = new Map<number, number>()
    const confirmedAt = new Map<number, number>()
    const connectionOf = new Map<number, number>()
    let logged = (yield* mesh.log).length
    let pulled = (yield* mesh.pulled).length
    const outcomes: Array<Outcome> = []
    let epoch = 0
    let current: number | undefined
    let abandoned: number | undefined

    const add = ({ frame, message }: Sent): void => {
      const decoded = message === undefined ? ServerMessage.decodeFrame(frame) : Result.succeed(message)
      if (Result.isFailure(decoded)) {
        elements.push({ _tag: "BadFrame", epoch })
        return
      }
      messages.set(epoch, (messages.get(epoch) ?? 0) + 1)
      if (isData(decoded.success)) elements.push({ _tag: "Data", epoch, message: decoded.success })
      else if (!confirmedAt.has(epoch)) confirmedAt.set(epoch, elements.length)
    }

    // One synchronous step, so that a scheduler that yields cannot interleave two updates.
    const update = Effect.sync((): string | undefined => {
      const log = Effect.runSync(mesh.log)
      for (const entry of log.slice(logged)) {
        if (entry._tag === "Opened" || entry._tag === "Refused" || entry._tag === "Stalled") outcomes.push(entry)
      }
      logged = log.length
      const frames = Effect.runSync(mesh.pulled)
      const connections = Effect.runSync(mesh.connections)
      for (;;) {
        for (let frame = frames[pulled]; frame !== undefined && frame.connection === current; frame = frames[pulled]) {
          pulled++
          add(frame)
        }
        const connection = current === undefined ? undefined : connections[current - 1]
        if (connection !== undefined) {
          if (connection.open) return undefined
          if (connection.endedBy !== "client" && connection.unread > 0 && connection.id !== abandoned) {
            return outcomes.length === 0
              ? undefined
              : `connection ${connection.id} was left with ${connection.unread} frames that had arrived before its end`
          }
          elements.push({ _tag: "Disconnected", epoch, opened: true })
          current = undefined
        }
        const outcome = outcomes.shift()
        if (outcome === undefined) return undefined
        if (outcome._tag === "Opened") {
          current = outcome.connection
          epoch++
          elements.push({ _tag: "Connected", epoch })
          connectionOf.set(epoch, outcome.connection)
        } else {
          elements.push({ _tag: "Disconnected", epoch, opened: false })
        }
      }
    })

    const abandon = Effect.map(mesh.connections, (connections) => {
      abandoned = connections.length
    })

    return { elements, messages, confirmedAt, connectionOf, abandon, update }
  })

const isData = (message: ServerMessage.ServerMessage): message is Data =>
  message._tag === "TaskUpdated" ||
  message._tag === "TaskOutput" ||
  message._tag === "ServerError" ||
  message._tag === "UnknownMessage"

/** Returns the unique number of a simulated message. */
export const identity = (event: MeshEvent | ServerMessage.ServerMessage): string | undefined => {
  switch (event._tag) {
    case "TaskUpdated":
      return event.updatedBy
    case "TaskOutput":
      return event.content
    case "ServerError":
      return event.message
    default:
      return undefined
  }
}

/** Whether an event is the one that an element stands for. */
export const matches = (element: Element, event: MeshEvent): boolean => {
  switch (element._tag) {
    case "Connected":
      return event._tag === "Connected" && event.epoch === element.epoch
    case "Disconnected":
      return event._tag === "Disconnected" && event.epoch === element.epoch && event.opened === element.opened
    case "BadFrame":
      return event._tag === "Resync" && event.reason._tag === "BadFrame" && event.epoch === element.epoch
    case "Data":
      return event._tag === element.message._tag && identity(event) === identity(element.message)
  }
}

export const show = (element: Element): string => {
  switch (element._tag) {
    case "Data":
      return `${element.message._tag} ${identity(element.message) ?? ""} of epoch ${element.epoch}`
    case "Disconnected":
      return `Disconnected ${element.opened ? "from" : "after"} epoch ${element.epoch}`
    case "Connected":
      return `Connected to epoch ${element.epoch}`
    case "BadFrame":
      return `Resync (BadFrame) in epoch ${element.epoch}`
  }
}
