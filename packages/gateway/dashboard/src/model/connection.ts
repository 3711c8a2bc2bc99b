/** The state of the connection in words. */
import type * as MeshClient from "@makima-stream/core/MeshClient"
import { oneLine } from "./text.ts"

/** What is known of the connection. */
export interface Facts {
  readonly status: MeshClient.Status
  /** Whether the gateway reported the state: it lost the server, and the page did not lose the gateway. */
  readonly isUpstream: boolean
  /** Whether the gateway accepts this browser. */
  readonly isSignedIn: boolean
  /** When the connection was lost, in milliseconds since 1970. */
  readonly offlineSince: number | undefined
}

/** How the state is shown. */
export type Tone = "good" | "busy" | "bad"

/** The state for a person. */
export interface Connection {
  readonly tone: Tone
  /** One or two words for the header. */
  readonly label: string
  /** A sentence; empty if there is nothing to say. */
  readonly title: string
  /** The reason; empty if there is none. */
  readonly detail: string
  readonly offlineSince: number | undefined
  /** When the next attempt is, in milliseconds since 1970. */
  readonly retryAt: number | undefined
  /** Whether a person can ask for an attempt now. */
  readonly canRetry: boolean
}

const quiet = { title: "", detail: "", offlineSince: undefined, retryAt: undefined, canRetry: false }

/** Returns the state for a person. */
export const describe = ({ isSignedIn, isUpstream, offlineSince, status }: Facts): Connection => {
  if (!isSignedIn) {
    return {
      tone: "bad",
      label: "Sign-in needed",
      title: "The gateway does not know this browser.",
      detail:
        "Open a new link of the gateway in this browser: it prints one when it starts. This page then continues by itself.",
      offlineSince,
      retryAt: undefined,
      canRetry: true
    }
  }
  switch (status._tag) {
    case "Idle":
    case "Connecting":
      return offlineSince === undefined
        ? { ...quiet, tone: "busy", label: "Connecting" }
        : { ...quiet, tone: "busy", label: "Reconnecting", title: "Connecting again.", offlineSince, canRetry: false }
    case "Online":
      return { ...quiet, tone: "good", label: "Online" }
    case "Offline":
      return {
        tone: "bad",
        label: isUpstream ? "Server offline" : "Offline",
        title: isUpstream ? "The gateway has lost the server." : "This page has lost the gateway.",
        detail: oneLine(status.reason.message),
        offlineSince,
        retryAt: status.retryAt,
        // The gateway connects by its own schedule.
        canRetry: !isUpstream
      }
    case "Failed":
      return {
        tone: "bad",
        label: "Failed",
        title: "The connection failed, and is not tried again.",
        detail: oneLine(status.error.message),
        offlineSince,
        retryAt: undefined,
        canRetry: true
      }
  }
}
