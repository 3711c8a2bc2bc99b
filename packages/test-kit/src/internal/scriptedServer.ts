/**
 * The server of a scripted mesh, without Effect: its connections, its faults, its
 * log. `scriptedSocket` is the client's end of it.
 *
 * Invariants:
 *
 * 1. Sends and requests on a frozen connection are retained and take effect at the
 *    thaw, in order. A cut, and a close by the client, take effect at once.
 * 2. A connection ends once, and nothing is sent on it afterwards. Frames that
 *    arrived before the end can still be taken, until the client releases it.
 * 3. Each dial takes the oldest fault of dials.
 * 4. Every change calls the watchers, after it has been made.
 */
import type { Clock } from "effect/Clock"
import * as Result from "effect/Result"
import type { SocketError } from "effect/socket/Socket"
import * as ServerMessage from "@makima-stream/core/ServerMessage"
import type { Connection, Received, Sent } from "../ScriptedMesh.ts"
import type * as DelayLine from "./delayLine.ts"
import * as MessageFaults from "./messageFaults.ts"
import * as Recorder from "./recorder.ts"
import * as RequestHandler from "./requestHandler.ts"
import * as SocketErrors from "./socketErrors.ts"
import * as Verbs from "./verbs.ts"

type Frame = string | Uint8Array

export interface Options {
  readonly clock: Clock
  readonly schedule: DelayLine.Schedule
  readonly settings: RequestHandler.Settings
}

/** A connection, open or ended. */
export interface Link {
  readonly id: number
  readonly requests: RequestHandler.RequestHandler
  /** Frames that have arrived and have not been pulled. */
  inbox: Array<Sent>
  frozen: boolean
  /** Actions that run at the thaw. */
  retained: Array<() => void>
  /** The places in the log of the frames that a freeze retains. */
  retainedPlaces: Array<number>
  open: boolean
  /** Whether the program has released it. */
  released: boolean
  endedBy: Connection["endedBy"]
  closeCode: number | undefined
  error: SocketError | undefined
  /** Resumes the suspended pull, if there is one. */
  notify: (() => void) | undefined
}

export interface ScriptedServer {
  // Called by a test.
  /** Faults of the next emitted messages. */
  readonly messages: MessageFaults.MessageFaults
  /** Sends a frame to every open connection. Returns their number. */
  readonly emitRaw: (frame: Frame) => number
  readonly acknowledge: (n: number) => void
  readonly close: (id: number | undefined, code: number, reason: string | undefined) => void
  readonly kill: (id: number | undefined, drop: boolean) => void
  readonly freeze: (id: number | undefined) => void
  readonly thaw: (id: number | undefined) => void
  /** Thaws every connection and ends all delays of requests. */
  readonly healConnections: () => void
  /** Faults of the next dials. */
  readonly dials: Verbs.Dials

  // Called by the client's end.
  /** A dial begins. */
  readonly dial: () => void
  /** Takes the fault of this dial, if there is one. */
  readonly nextDialFault: () => Verbs.DialFault | undefined
  /** A dial will not be answered. */
  readonly stalled: () => void
  readonly accept: () => Link
  readonly receive: (link: Link, frame: Frame) => void
  readonly hangUp: (link: Link, code: number, reason: string | undefined) => void
  /** The client abandons the connection after its heartbeat failed. */
  readonly abandon: (link: Link, error: SocketError) => void
  readonly release: (link: Link) => void
  /** Takes what has arrived, `n` frames at most. */
  readonly take: (link: Link, n: number) => ReadonlyArray<Frame>

  // Read by a test.
  readonly links: ReadonlyArray<Link>
  readonly newestOpen: () => Link | undefined
  /** The time of each dial. */
  readonly dialTimes: ReadonlyArray<number>
  readonly received: ReadonlyArray<Received>
  readonly sent: ReadonlyArray<Sent>
  readonly pulled: ReadonlyArray<Sent>
  readonly log: Recorder.Recorder["snapshot"]
  readonly watchers: Set<() => void>
}

export const make = (options: Options): ScriptedServer => {
  const { clock } = options
  const links: Array<Link> = []
  const dialTimes: Array<number> = []
  const dials: Verbs.Dials = { faults: [], delayMillis: 0 }
  const received: Array<Received> = []
  const sent: Array<Sent> = []
  const pulled: Array<Sent> = []
  const recorder = Recorder.make({ clock, keepMessages: true })
  const watchers = new Set<() => void>()
  let emissions = 0

  const changed = (): void => {
    for (const watcher of watchers) watcher()
  }

  const open = (id?: number): ReadonlyArray<Link> =>
    links.filter((link) => link.open && (id === undefined || link.id === id))

  const whenThawed = (link: Link, happen: () => void): void => {
    if (link.frozen) link.retained.push(happen)
    else happen()
  }

  // ---------------------------------------------------------------------------
  // server to client
  // ---------------------------------------------------------------------------

  const deliver = (link: Link, frame: Frame, emission: number, message?: ServerMessage.ServerMessage): void => {
    if (!link.open) return
    const what: Sent = { connection: link.id, message, frame }
    sent.push(what)
    const body = {
      connection: link.id,
      emission,
      as: typeof frame === "string" ? "text" : "binary",
      delivered: !link.frozen
    } as const
    const place = recorder.append(
      message === undefined ? { _tag: "SentRaw", ...body, raw: frame } : { _tag: "Sent", ...body, message }
    )
    if (link.frozen && place !== undefined) link.retainedPlaces.push(place)
    whenThawed(link, () => {
      link.inbox.push(what)
      link.notify?.()
    })
    changed()
  }

  const send = (link: Link, message: ServerMessage.ServerMessage, emission: number = ++emissions): void =>
    deliver(link, Result.getOrThrow(ServerMessage.encodeFrame(message)), emission, message)

  const broadcast = (message: ServerMessage.ServerMessage): number => {
    const emission = ++emissions
    const wanting = open().filter((link) => link.requests.feed.wants(message))
    if (wanting.length === 0) recorder.append({ _tag: "Unheard", emission, message })
    for (const link of wanting) send(link, message, emission)
    return wanting.length
  }
  const messages = MessageFaults.make(broadcast)

  const end = (
    link: Link,
    endedBy: Exclude<Connection["endedBy"], undefined>,
    error: SocketError,
    code = 1006,
    reason = ""
  ): void => {
    if (!link.open) return
    recorder.append(
      endedBy === "kill"
        ? { _tag: "Killed", connection: link.id }
        : { _tag: "Closed", connection: link.id, by: endedBy === "close" ? "server" : "client", code, reason }
    )
    link.open = false
    link.endedBy = endedBy
    link.error = error
    link.retained = []
    link.notify?.()
    changed()
  }

  const thaw = (link: Link): void => {
    if (!link.frozen) return
    link.frozen = false
    recorder.append({ _tag: "Thawed", connection: link.id })
    recorder.deliver(link.retainedPlaces.splice(0))
    for (const happen of link.retained.splice(0)) if (link.open) happen()
    changed()
  }

  const closeLink = (link: Link, code: number, reason: string | undefined): void =>
    whenThawed(link, () => end(link, "close", SocketErrors.closed(code, reason), code, reason))

  const self: ScriptedServer = {
    messages,
    emitRaw(frame) {
      const emission = ++emissions
      const links = open()
      for (const link of links) deliver(link, frame, emission)
      return links.length
    },
    acknowledge(n) {
      for (const link of open()) link.requests.acknowledge(n)
    },
    close(id, code, reason) {
      for (const link of open(id)) closeLink(link, code, reason)
    },
    kill(id, drop) {
      for (const link of open(id)) {
        if (drop) link.inbox = []
        end(link, "kill", SocketErrors.closed(1006))
      }
    },
    freeze(id) {
      for (const link of open(id)) {
        if (link.frozen) continue
        link.frozen = true
        recorder.append({ _tag: "Frozen", connection: link.id })
        changed()
      }
    },
    thaw(id) {
      open(id).forEach(thaw)
    },
    healConnections() {
      open().forEach(thaw)
      for (const link of open()) link.requests.flush()
    },
    dials,

    dial() {
      dialTimes.push(clock.currentTimeMillisUnsafe())
      changed()
    },
    nextDialFault() {
      const fault = Verbs.takeFault(dials)
      if (fault?._tag === "Stall") self.stalled()
      if (fault?._tag === "Refuse") recorder.append({ _tag: "Refused", status: fault.status })
      return fault
    },
    stalled: () => recorder.append({ _tag: "Stalled" }),
    accept() {
      const id = links.length + 1
      const link: Link = {
        id,
        requests: RequestHandler.make({
          connection: id,
          clock,
          schedule: options.schedule,
          settings: options.settings,
          recorder,
          isOpen: () => link.open,
          send: (message) => send(link, message),
          close: (code, reason) => closeLink(link, code, reason),
          onReceived(message) {
            received.push({ connection: id, message })
            changed()
          }
        }),
        inbox: [],
        frozen: false,
        retained: [],
        retainedPlaces: [],
        open: true,
        released: false,
        endedBy: undefined,
        closeCode: undefined,
        error: undefined,
        notify: undefined
      }
      links.push(link)
      recorder.append({ _tag: "Opened", connection: link.id })
      changed()
      return link
    },
    receive: (link, frame) => whenThawed(link, () => link.requests.receive(frame)),
    hangUp(link, code, reason) {
      if (link.open) link.closeCode = code
      end(link, "client", SocketErrors.closed(code, reason), code, reason)
    },
    abandon: (link, error) => end(link, "heartbeat", error),
    release(link) {
      self.hangUp(link, 1000, undefined)
      link.released = true
      link.notify?.()
    },
    take(link, n) {
      if (link.released) return []
      const batch = link.inbox.slice(0, n)
      link.inbox = link.inbox.slice(batch.length)
      pulled.push(...batch)
      changed()
      return batch.map(({ frame }) => frame)
    },

    links,
    newestOpen: () => open().at(-1),
    dialTimes,
    received,
    sent,
    pulled,
    log: recorder.snapshot,
    watchers
  }
  return self
}
