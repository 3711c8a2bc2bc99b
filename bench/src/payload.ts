/**
 * The data that the server sends: the `Workload` mix, encoded and framed once, and sent
 * repeatedly. Every dialect contains the same events.
 */
import * as ServerMessage from "@makima-stream/core/ServerMessage"
import * as Workload from "@makima-stream/test-kit/Workload"
import * as Result from "effect/Result"

/** The protocol in which the events are wrapped. */
export type Dialect = "makima" | "graphql" | "centrifuge"

export interface Payload {
  /** Consecutive WebSocket frames, which are written to the socket unchanged. */
  readonly bytes: Buffer
  /** The same bytes in chunks of whole frames. The server may answer a ping between two chunks. */
  readonly chunks: ReadonlyArray<Buffer>
  readonly events: number
  /** The mean size of a makima frame, in bytes. */
  readonly meanFrameBytes: number
}

/** The number of events in one round of the payload. A multiple of five, because there are four outputs for each update. */
export const roundLength = (tasks: number): number => Math.max(20_000, tasks * 5)

const framesPerChunk = 1000

const wrap = (dialect: Dialect, json: string): string => {
  switch (dialect) {
    case "makima":
      return json
    case "graphql":
      return `{"id":"feed","type":"next","payload":{"data":{"feed":${json}}}}`
    case "centrifuge":
      return `{"push":{"channel":"feed","pub":{"data":${json}}}}`
  }
}

/** An unmasked, whole text frame, as a server sends it. */
const frame = (text: string): Buffer => {
  const payload = Buffer.from(text)
  const header = payload.length < 126 ? Buffer.from([0x81, payload.length]) : Buffer.from([0x81, 126, 0, 0])
  if (payload.length >= 126) header.writeUInt16BE(payload.length, 2)
  return Buffer.concat([header, payload])
}

export const make = (dialect: Dialect, tasks: number): Payload => {
  const events = roundLength(tasks)
  const frames: Array<Buffer> = []
  let size = 0
  for (const message of Workload.endless({ tasks })) {
    const json = Result.getOrThrow(ServerMessage.encodeFrame(message))
    size += Buffer.byteLength(json)
    frames.push(frame(wrap(dialect, json)))
    if (frames.length === events) break
  }
  const chunks: Array<Buffer> = []
  for (let at = 0; at < frames.length; at += framesPerChunk) {
    chunks.push(Buffer.concat(frames.slice(at, at + framesPerChunk)))
  }
  return { bytes: Buffer.concat(frames), chunks, events, meanFrameBytes: size / events }
}
