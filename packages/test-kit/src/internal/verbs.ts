/**
 * The state that the verbs of a server change, and the verbs that both servers
 * have in common.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type { MeshServer } from "../MeshServer.ts"
import * as Bounds from "./bounds.ts"
import type { MessageFaults } from "./messageFaults.ts"
import type { Settings } from "./requestHandler.ts"

/** The outcome of a dial that does not become a connection. */
export type DialFault =
  | { readonly _tag: "Stall" }
  | { readonly _tag: "Refuse"; readonly status: number; readonly headers: Readonly<Record<string, string>> }

/** The faults of the next dials. */
export interface Dials {
  /** Oldest first: each dial uses the first fault. `left` is the number of dials that it applies to; may be `Infinity`. */
  faults: Array<{ readonly fault: DialFault; left: number }>
  delayMillis: number
}

/** The parts of a server that the common verbs change. */
export interface Target {
  readonly settings: Settings
  readonly dials: Dials
  readonly messages: MessageFaults
  /** Sends the next `n` acknowledgements that `manual` retains, on each connection. */
  readonly acknowledge: (n: number) => void
  /** Thaws every connection and ends all delays on it. */
  readonly healConnections: () => void
}

/** Takes the oldest fault of a dial, if any. */
export const takeFault = (dials: Dials): DialFault | undefined => {
  const head = dials.faults[0]
  if (head === undefined) return undefined
  head.left--
  if (head.left === 0) dials.faults.shift()
  return head.fault
}

/** A duration in milliseconds. A negative one counts as 0. */
export const toMillis = (duration: Duration.Input): number => Bounds.notNegative(Duration.toMillis(duration))

type Common =
  | "acknowledge"
  | "setAcknowledge"
  | "setNameTasks"
  | "delayAcknowledgements"
  | "delayRequests"
  | "limitRequests"
  | "refuse"
  | "stallDial"
  | "delayDial"
  | "dropNext"
  | "duplicateNext"
  | "reorder"
  | "heal"

const acknowledgeModes = ["auto", "manual", "never"] as const

/** The initial settings of a server. */
export const toSettings = (options: {
  readonly acknowledge?: Settings["acknowledge"]
  readonly nameTasks?: boolean
  readonly acknowledgementDelay?: Duration.Input
  readonly requestDelay?: Duration.Input
  readonly requestLimit?: Settings["limit"]
}): Settings => ({
  acknowledge: Bounds.oneOf("acknowledge", options.acknowledge, acknowledgeModes),
  nameTasks: options.nameTasks ?? true,
  acknowledgementDelayMillis: toMillis(options.acknowledgementDelay ?? 0),
  requestDelayMillis: toMillis(options.requestDelay ?? 0),
  limit: toLimit(options.requestLimit)
})

const toLimit = (limit: Settings["limit"]): Settings["limit"] =>
  limit === undefined ? undefined : { ...limit, perSecond: Bounds.atLeast(1, limit.perSecond) }

/** The verbs that both servers have in common. */
export const make = ({ acknowledge, dials, healConnections, messages, settings }: Target): Pick<MeshServer, Common> => {
  const { nameTasks } = settings
  const addFaults = (n: number, fault: DialFault): void => {
    const left = Bounds.atLeast(0, n)
    if (left > 0) dials.faults.push({ fault, left })
  }
  return {
    acknowledge: (n = Number.POSITIVE_INFINITY) => Effect.sync(() => acknowledge(Bounds.atLeast(0, n))),
    setAcknowledge: (mode) =>
      Effect.sync(() => {
        settings.acknowledge = Bounds.oneOf("acknowledge", mode, acknowledgeModes)
      }),
    setNameTasks: (named) =>
      Effect.sync(() => {
        settings.nameTasks = named
      }),
    delayAcknowledgements: (duration) =>
      Effect.sync(() => {
        settings.acknowledgementDelayMillis = toMillis(duration)
      }),
    delayRequests: (duration) =>
      Effect.sync(() => {
        settings.requestDelayMillis = toMillis(duration)
      }),
    limitRequests: (limit) =>
      Effect.sync(() => {
        settings.limit = toLimit(limit)
      }),
    refuse: (n, status, headers = {}) => Effect.sync(() => addFaults(n, { _tag: "Refuse", status, headers })),
    stallDial: (n) => Effect.sync(() => addFaults(n, { _tag: "Stall" })),
    delayDial: (duration) =>
      Effect.sync(() => {
        dials.delayMillis = toMillis(duration)
      }),
    dropNext: (n) => Effect.sync(() => messages.dropNext(Bounds.atLeast(0, n))),
    duplicateNext: (n) => Effect.sync(() => messages.duplicateNext(Bounds.atLeast(0, n))),
    reorder: (n) => Effect.sync(() => messages.reorder(Bounds.atLeast(0, n))),
    heal: Effect.sync(() => {
      dials.faults = []
      dials.delayMillis = 0
      settings.requestDelayMillis = 0
      settings.acknowledgementDelayMillis = 0
      settings.limit = undefined
      settings.nameTasks = nameTasks
      settings.acknowledge = "auto"
      healConnections()
      messages.heal()
      acknowledge(Number.POSITIVE_INFINITY)
    })
  }
}
