/**
 * Decodes the frames of one connection into elements, a batch at a time, and counts
 * them. It keeps the order: the marks that an acknowledgement causes take the place
 * of the acknowledgement among the data.
 */
import type * as Context from "effect/Context"
import type { NonEmptyReadonlyArray } from "effect/Array"
import { DecodeError } from "../../DecodeError.ts"
import * as MeshError from "../../MeshError.ts"
import type { Data } from "../../MeshEvent.ts"
import * as MeshMetrics from "../../MeshMetrics.ts"
import type * as ServerMessage from "../../ServerMessage.ts"
import type { MayBeWanted } from "../wire/decodeText.ts"
import * as ServerFrame from "../wire/serverFrame.ts"
import * as TaskIds from "../wire/taskIds.ts"
import type { Settings } from "./options.ts"

export interface Options<A> {
  readonly settings: Settings
  readonly context: Context.Context<never>
  /** Which messages must be decoded. Defaults to all. The others are only validated and counted. */
  readonly mayBeWanted: MayBeWanted | undefined
  /** Returns the element that replaces a frame that cannot be decoded. */
  readonly toBad: (error: DecodeError) => A
  /** Decodes a message of a type that the protocol does not define; `undefined` keeps it as it is. */
  readonly extend?: ((message: ServerMessage.UnknownMessage, size: number) => A | DecodeError | undefined) | undefined
  /** Handles an acknowledgement, and appends what it causes to `out`. */
  readonly onAcknowledgement: (message: ServerMessage.Acknowledgement, out: Array<A | Data>) => void
}

export interface Decoder<A> {
  readonly decode: (frames: NonEmptyReadonlyArray<string | Uint8Array>) => Array<A | Data>
  /** How many messages were decoded or skipped, acknowledgements included. */
  readonly received: () => number
  /** The reason for which the connection must end after the decoded elements, if there is one. */
  readonly failure: () => MeshError.MeshError | undefined
}

export const make = <A>(options: Options<A>): Decoder<A> => {
  const { context, extend, mayBeWanted, onAcknowledgement, toBad } = options
  const { failOnBadFrame, maxBadFrames } = options.settings
  // Without a filter, nothing looks up a task here.
  const intern = mayBeWanted === undefined ? undefined : TaskIds.make()
  let received = 0
  let consecutiveBad = 0
  let failure: MeshError.MeshError | undefined

  /** Counts a frame that cannot be decoded. Returns the element for its place, unless it ends the connection at once. */
  const onBad = (error: DecodeError, out: Array<A | Data>): void => {
    consecutiveBad++
    if (failOnBadFrame) {
      failure = new MeshError.MeshError({ reason: new MeshError.BadFrame({ error }) })
      return
    }
    out.push(toBad(error))
    if (consecutiveBad >= maxBadFrames) {
      failure = new MeshError.MeshError({
        reason: new MeshError.TooManyBadFrames({ count: consecutiveBad, last: error })
      })
    }
  }

  const decode = (frames: NonEmptyReadonlyArray<string | Uint8Array>): Array<A | Data> => {
    const out: Array<A | Data> = []
    let bytes = 0
    let bad = 0
    let updates = 0
    let outputs = 0
    for (const frame of frames) {
      bytes += frame.length
      const decoded = ServerFrame.decode(frame, mayBeWanted, intern)
      if (typeof decoded === "string") {
        received++
        consecutiveBad = 0
        if (decoded === "TaskOutput") outputs++
        else updates++
        continue
      }
      let message: ServerMessage.ServerMessage | DecodeError = decoded
      if (extend !== undefined && message._tag === "UnknownMessage") {
        const extended = extend(message, frame.length)
        if (extended instanceof DecodeError) message = extended
        else if (extended !== undefined) {
          received++
          consecutiveBad = 0
          out.push(extended)
          continue
        }
      }
      if (message._tag === "DecodeError") {
        bad++
        onBad(message, out)
        if (failure !== undefined) break
        continue
      }
      received++
      consecutiveBad = 0
      switch (message._tag) {
        case "TaskUpdated":
          updates++
          out.push(message)
          break
        case "TaskOutput":
          outputs++
          out.push(message)
          break
        case "ServerError":
        case "UnknownMessage":
          MeshMetrics.recordEvents(message._tag, 1, context)
          out.push(message)
          break
        default:
          onAcknowledgement(message, out)
      }
    }
    // Once for each batch, so that metrics cost nothing for each message.
    MeshMetrics.framesReceived.updateUnsafe(frames.length, context)
    MeshMetrics.bytesReceived.updateUnsafe(bytes, context)
    MeshMetrics.recordEvents("TaskUpdated", updates, context)
    MeshMetrics.recordEvents("TaskOutput", outputs, context)
    if (bad > 0) {
      MeshMetrics.decodeFailures.updateUnsafe(bad, context)
      MeshMetrics.recordGap("BadFrame", context, bad)
    }
    return out
  }

  return { decode, received: () => received, failure: () => failure }
}
