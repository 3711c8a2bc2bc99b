/** Decodes the messages of the stream: the entry of an event, and the parts of a large one. */
import * as Result from "effect/Result"
import { decodeEvent } from "@makima-stream/log/LogEngine"
import { Damaged, LogError } from "@makima-stream/log/LogError"
import type { Entry } from "@makima-stream/log/MeshLog"
import type { JetStreamManager, JsMsg } from "@nats-io/jetstream"
import { lastPartMark, marksHeader, partsHeader } from "./message.ts"
import type { Subjects } from "./subjects.ts"

/** A message, and its entry if it holds an event. */
export interface Stored {
  readonly position: number
  readonly message: JsMsg
  readonly entry: Entry | undefined
}

/** Returns the number of marks without a task, up to and including a message. */
export const marksOf = ({ message }: Stored): number => Number(message.headers?.get(marksHeader) ?? "")

/** Makes the function that decodes messages. It fetches the parts of large events. */
export const decoder = (options: {
  readonly jsm: JetStreamManager
  readonly stream: string
  readonly subjects: Subjects
}): ((messages: ReadonlyArray<JsMsg>) => ReadonlyArray<Stored> | Promise<ReadonlyArray<Stored>>) => {
  const { jsm, stream, subjects } = options
  const fences = subjects.fence("").slice(0, -1)

  /** Returns the text of an event in parts; `undefined` if retention has removed one of them. */
  const join = async (parts: ReadonlyArray<number>, last: Uint8Array): Promise<string | undefined> => {
    const found = await Promise.all(parts.map((seq) => jsm.streams.getMessage(stream, { seq })))
    const data = found.map((part) => part?.data)
    if (data.some((part) => part === undefined)) return undefined
    return Buffer.concat([...data.filter((part) => part !== undefined), last]).toString()
  }

  const toStored = (message: JsMsg): Stored | Promise<Stored> => {
    const { data, subject } = message
    const { streamSequence: position, timestampNanos } = message.info
    if (subject === subjects.parts || subject.startsWith(fences)) return { position, message, entry: undefined }
    const at = Math.floor(timestampNanos / 1e6)
    // Headers are decoded only where they are needed, because decoding them takes as long as the rest.
    if (data[0] !== lastPartMark) return { position, message, entry: toEntry(position, at, message.string()) }
    const parts = (message.headers?.get(partsHeader) ?? "").split(",").map(Number)
    return join(parts, data.subarray(1)).then((text) => ({
      position,
      message,
      entry: text === undefined ? undefined : toEntry(position, at, text)
    }))
  }

  return (messages) => {
    const stored = messages.map(toStored)
    return isComplete(stored) ? stored : Promise.all(stored)
  }
}

const isComplete = (stored: ReadonlyArray<Stored | Promise<Stored>>): stored is ReadonlyArray<Stored> =>
  !stored.some((found) => found instanceof Promise)

const toEntry = (position: number, at: number, text: string): Entry => {
  const event = decodeEvent(text)
  if (Result.isFailure(event)) throw new LogError({ reason: new Damaged({ position, cause: event.failure }) })
  return { position, at, event: event.success }
}
