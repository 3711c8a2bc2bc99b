/** The messages of the stream that hold events, with their headers. */
import * as Base64Url from "effect/encoding/Base64Url"
import type { MsgHdrs } from "@nats-io/transport-node"

/** The number of marks without a task, up to and including a message. */
export const marksHeader = "Makima-Marks"
/** The highest version of a task so far. Each of its updates has this header. */
export const versionHeader = "Makima-Version"
/** The sequences of the parts of an event before this message, which has the last part. */
export const partsHeader = "Makima-Parts"

/** The first byte of a message with the last part of an event. Any other event starts with `{`. */
export const lastPartMark = 0

/** A message to publish. */
export interface Message {
  readonly subject: string
  readonly payload: string | Uint8Array
  readonly id: string
  readonly headers: MsgHdrs
}

/** Returns an id in a form that a header can hold. */
export const toHeader = (id: string): string => (/^[!-<>-~][!-~]*$/.test(id) ? id : `=${Base64Url.encode(id)}`)

/** Splits the text of an event into parts of at most a number of bytes. */
export const split = (bytes: Uint8Array, limit: number): ReadonlyArray<Uint8Array> => {
  const parts: Array<Uint8Array> = []
  for (let start = 0; start < bytes.length; start += limit) parts.push(bytes.subarray(start, start + limit))
  return parts
}
