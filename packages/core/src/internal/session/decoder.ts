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
import * as ServerFrame from "../wire/serverFrame.ts"
import * as TaskIds from "../wire/taskIds.ts"
import type * as Session from "./session.ts"

/** The options of a session that its decoder uses. */
type Options<Bad, Extra> = Pick<
  Session.Options<Bad, Extra>,
  "epoch" | "extension" | "mayBeWanted" | "settings" | "toBad"
>

export interface Decoder<A> {
  readonly decode: (frames: NonEmptyReadonlyArray<string | Uint8Array>) => Array<A>
  /** How many messages were decoded or skipped, acknowledgements included. */
  readonly received: () => number
  /** The reason for which the connection must end after the decoded elements, if there is one. */
  readonly failure: () => MeshError.ConnectionReason | undefined
}

/** `onAcknowledgement` handles an acknowledgement, and appends what it causes to `out`. */
export const make = <Bad, Extra, Mark>(
  { epoch, extension, mayBeWanted, settings, toBad }: Options<Bad, Extra>,
  context: Context.Context<never>,
  onAcknowledgement: (message: ServerMessage.Acknowledgement, out: Array<Data | Bad | Extra | Mark>) => void
): Decoder<Data | Bad | Extra | Mark> => {
  // Without a filter, nothing looks up a task here.
  const intern = mayBeWanted === undefined ? undefined : TaskIds.make()
  let frameCount = 0
  // The frames that could not be decoded: all, those in a row at the end, and the number of the last one.
  let bad = 0
  let consecutiveBad = 0
  let lastBad = 0
  let failure: MeshError.ConnectionReason | undefined

  /** Counts a frame that cannot be decoded, and appends the element for its place, unless it ends the connection at once. */
  const onBad = (error: DecodeError, out: Array<Data | Bad | Extra | Mark>): void => {
    bad++
    MeshMetrics.decodeFailures.updateUnsafe(1, context)
    MeshMetrics.recordGap("BadFrame", context)
    consecutiveBad = lastBad === frameCount - 1 ? consecutiveBad + 1 : 1
    lastBad = frameCount
    if (settings.failOnBadFrame) {
      failure = new MeshError.BadFrame({ error })
      return
    }
    out.push(toBad(error))
    if (consecutiveBad >= settings.maxBadFrames) {
      failure = new MeshError.TooManyBadFrames({ count: consecutiveBad, last: error })
    }
  }

  const decode = (frames: NonEmptyReadonlyArray<string | Uint8Array>): Array<Data | Bad | Extra | Mark> => {
    const out: Array<Data | Bad | Extra | Mark> = []
    let bytes = 0
    let updates = 0
    let outputs = 0
    for (const frame of frames) {
      frameCount++
      bytes += frame.length
      const message = ServerFrame.decode(frame, mayBeWanted, intern)
      if (typeof message === "string") {
        if (message === "TaskOutput") outputs++
        else updates++
        continue
      }
      switch (message._tag) {
        case "TaskUpdated":
          updates++
          out.push(message)
          break
        case "TaskOutput":
          outputs++
          out.push(message)
          break
        case "DecodeError":
          onBad(message, out)
          break
        case "ServerError":
        case "UnknownMessage": {
          const extended =
            message._tag === "UnknownMessage" ? extension?.decode(message.raw, epoch, frame.length) : undefined
          if (extended instanceof DecodeError) onBad(extended, out)
          else out.push(extended ?? message)
          if (extended === undefined) MeshMetrics.recordEvents(message._tag, 1, context)
          break
        }
        default:
          onAcknowledgement(message, out)
      }
      if (failure !== undefined) break
    }
    // Once for each batch, so that metrics cost nothing for each message.
    MeshMetrics.framesReceived.updateUnsafe(frames.length, context)
    MeshMetrics.bytesReceived.updateUnsafe(bytes, context)
    MeshMetrics.recordEvents("TaskUpdated", updates, context)
    MeshMetrics.recordEvents("TaskOutput", outputs, context)
    return out
  }

  return { decode, received: () => frameCount - bad, failure: () => failure }
}
