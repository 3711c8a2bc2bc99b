/**
 * The files of the processes of a chaos run: a line of JSON for each entry of the
 * server's log, for each event of the consumer, and for each dial. A line is written
 * before the process continues, so it survives a SIGKILL.
 */
import * as MeshEvent from "@makima-stream/core/MeshEvent"
import type * as ServerLog from "@makima-stream/test-kit/ServerLog"
import * as Schema from "effect/Schema"
import { existsSync, readFileSync, writeSync } from "node:fs"

const encodeEvent = Schema.encodeSync(MeshEvent.MeshEvent)
const decodeEvent = Schema.decodeUnknownSync(MeshEvent.MeshEvent)

export const writeEntry = (file: number, entry: ServerLog.Entry): void => {
  writeSync(file, `${JSON.stringify(entry)}\n`)
}

export const writeEvents = (file: number, events: ReadonlyArray<MeshEvent.MeshEvent>): void => {
  // Data is JSON as it stands; only the reasons in the lifecycle are not.
  const lines = events.map((event) => JSON.stringify(MeshEvent.isLifecycle(event) ? encodeEvent(event) : event))
  writeSync(file, `${lines.join("\n")}\n`)
}

const parse = (path: string): ReadonlyArray<unknown> =>
  existsSync(path)
    ? readFileSync(path, "utf8")
        .split("\n")
        .filter((line) => line !== "")
        .map((line): unknown => JSON.parse(line))
    : []

// Both files were written above, and nothing else writes them.
export const readLog = (path: string): ServerLog.ServerLog => parse(path) as ServerLog.ServerLog

/** A dial, and the connection of the server or the epoch of the client that it became. Dials are numbered from 1. */
export interface Dial {
  readonly dial: number
  /** The number of the connection, or the epoch. */
  readonly is: number
}

/** The path of the file with the dials that belongs to another file. */
export const dialsOf = (path: string): string => `${path}.dials`

export const writeDial = (file: number, dial: Dial): void => {
  writeSync(file, `${JSON.stringify(dial)}\n`)
}

// As above.
export const readDials = (path: string): ReadonlyArray<Dial> => parse(dialsOf(path)) as ReadonlyArray<Dial>

/** The number of completely written events. */
export const countEvents = (path: string): number => readFileSync(path, "utf8").split("\n").length - 1

const lifecycle = new Set<unknown>(["Connected", "Disconnected", "Resync"])

export const readEvents = (path: string): ReadonlyArray<MeshEvent.MeshEvent> =>
  parse(path).map((value) => {
    // As above.
    const event = value as MeshEvent.MeshEvent
    return lifecycle.has(event._tag) ? decodeEvent(event) : event
  })
