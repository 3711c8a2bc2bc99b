/**
 * How a server handles the requests of one connection: the rate limit, the delays,
 * the acknowledgements. Both servers use it, so that they behave the same.
 *
 * Invariants: requests take effect in the order in which they arrived, and are
 * acknowledged in that order. Nothing happens after the connection has ended.
 */
import type { Clock } from "effect/Clock"
import * as Result from "effect/Result"
import * as ClientMessage from "@makima-stream/core/ClientMessage"
import type * as ServerMessage from "@makima-stream/core/ServerMessage"
import type { AcknowledgeMode, RequestLimit } from "../MeshServer.ts"
import * as DelayLine from "./delayLine.ts"
import * as Feed from "./feed.ts"
import * as Monotonic from "./monotonic.ts"
import type { Recorder } from "./recorder.ts"

/** The settings that the verbs change. All connections of a server share them. */
export interface Settings {
  acknowledge: AcknowledgeMode
  nameTasks: boolean
  requestDelayMillis: number
  acknowledgementDelayMillis: number
  limit: RequestLimit | undefined
}

export interface Options {
  readonly connection: number
  readonly clock: Clock
  readonly schedule: DelayLine.Schedule
  readonly settings: Settings
  readonly recorder: Recorder
  readonly isOpen: () => boolean
  readonly send: (message: ServerMessage.ServerMessage) => void
  readonly close: (code: number, reason: string) => void
  /** Called after a request has taken effect. */
  readonly onReceived: (message: ClientMessage.ClientMessage) => void
}

export interface RequestHandler {
  readonly feed: Feed.Feed
  /** Handles a frame of the client. */
  readonly receive: (frame: string | Uint8Array) => void
  /** Sends the first `n` acknowledgements that `manual` retains. */
  readonly acknowledge: (n: number) => void
  /** Ends all delays: requests take effect and acknowledgements leave now. */
  readonly flush: () => void
}

export const make = (options: Options): RequestHandler => {
  const { clock, close, connection, isOpen, onReceived, recorder, schedule, send, settings } = options
  const feed = Feed.make()
  const requests = DelayLine.make(clock, schedule)
  const acknowledgements = DelayLine.make(clock, schedule)
  let retained: Array<ServerMessage.Acknowledgement> = []
  /** The arrival times of the latest requests, at most as many as the limit allows. */
  let arrivals: Array<number> = []

  const isOverLimit = (limit: RequestLimit): boolean => {
    const now = Monotonic.millis(clock)
    arrivals = arrivals.filter((at) => now - at < 1000)
    arrivals.push(now)
    return arrivals.length > limit.perSecond
  }

  const answer = (acknowledgement: ServerMessage.Acknowledgement): void => {
    const message = settings.nameTasks ? acknowledgement : { _tag: acknowledgement._tag }
    if (settings.acknowledge === "manual") retained.push(message)
    if (settings.acknowledge === "auto") {
      acknowledgements.add(settings.acknowledgementDelayMillis, () => {
        if (isOpen()) send(message)
      })
    }
  }

  const carryOut = (frame: string | Uint8Array): void => {
    if (!isOpen()) return
    const decoded = ClientMessage.decodeFrame(frame)
    if (Result.isFailure(decoded)) {
      recorder.append({ _tag: "Unreadable", connection, error: decoded.failure })
      return send({ _tag: "ServerError", code: "BAD_REQUEST", message: decoded.failure.message })
    }
    const answers = feed.handle(decoded.success)
    // A test that waits for the request resumes after the acknowledgement, so that it cannot emit between the two.
    recorder.together(() => {
      recorder.append({ _tag: "Received", connection, message: decoded.success })
      for (const acknowledgement of answers) answer(acknowledgement)
    })
    onReceived(decoded.success)
  }

  return {
    feed,
    receive(frame) {
      if (!isOpen()) return
      const { limit } = settings
      if (limit !== undefined && isOverLimit(limit)) return close(limit.code ?? 1008, "Too many requests")
      requests.add(settings.requestDelayMillis, () => carryOut(frame))
    },
    acknowledge(n) {
      for (const acknowledgement of retained.splice(0, n)) if (isOpen()) send(acknowledgement)
    },
    flush() {
      requests.flush()
      acknowledgements.flush()
    }
  }
}
