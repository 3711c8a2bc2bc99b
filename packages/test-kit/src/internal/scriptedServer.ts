/**
 * The server behind a scripted mesh, without Effect: its connections, its
 * faults, its log. `scriptedSocket` is the client's end of it.
 *
 * Invariants:
 *
 * 1. What happens to a frozen connection from either side is held, in its order,
 *    and happens at the thaw; only a cut, and what the client does to its own
 *    end, does not wait.
 * 2. A connection ends once, and nothing is sent on it afterwards. What had
 *    arrived by then can still be taken, until the client lets go of it.
 * 3. Dials take the faults that are set up for them in the order in which those
 *    were set up.
 * 4. Every change calls the watchers, after it has been made.
 */
import type { Clock } from "effect/Clock"
import * as Result from "effect/Result"
import type { SocketError } from "effect/socket/Socket"
import * as ClientMessage from "@makima-stream/core/ClientMessage"
import * as ServerMessage from "@makima-stream/core/ServerMessage"
import type { Connection, Received, Sent } from "../ScriptedMesh.ts"
import * as Feed from "./feed.ts"
import * as Recorder from "./recorder.ts"
import * as SocketErrors from "./socketErrors.ts"

type Frame = string | Uint8Array

export type AcknowledgeMode = "auto" | "manual" | "never"

export interface Options {
  readonly clock: Clock
  readonly acknowledge: AcknowledgeMode
  readonly nameTasks: boolean
}

/** A connection, also after its end. */
export interface Link {
  readonly id: number
  readonly feed: Feed.Feed
  /** Frames at the program's side, not pulled yet. */
  inbox: Array<Sent>
  frozen: boolean
  /** What happens once the connection thaws. */
  held: Array<() => void>
  /** Where in the log the frames are that a freeze holds back. */
  heldPlaces: Array<number>
  open: boolean
  /** Whether the program has let go of it. */
  released: boolean
  endedBy: Connection["endedBy"]
  closeCode: number | undefined
  error: SocketError | undefined
  /** Resumes the pull that is suspended, if one is. */
  notify: (() => void) | undefined
  /** Requests whose acknowledgement the test gives by hand. */
  unacknowledged: Array<ServerMessage.Acknowledgement>
}

export type DialFault =
  | { readonly _tag: "Stall" }
  | { readonly _tag: "Refuse"; readonly status: number; readonly retryAfter: string | undefined }

export interface ScriptedServer {
  // What a test does.
  readonly emit: (message: ServerMessage.ServerMessage) => void
  readonly emitRaw: (frame: Frame) => void
  readonly acknowledge: (n: number) => void
  readonly close: (id: number | undefined, code: number, reason: string | undefined) => void
  readonly kill: (id: number | undefined, drop: boolean) => void
  readonly freeze: (id: number | undefined) => void
  readonly thaw: (id: number | undefined) => void
  readonly heal: () => void
  readonly addDialFaults: (n: number, fault: DialFault) => void
  acknowledgeMode: AcknowledgeMode
  /** How long a dial takes, in milliseconds. */
  dialDelay: number
  toDrop: number
  toDuplicate: number
  toReorder: number

  // What the client's end does.
  /** A dial begins. */
  readonly dial: () => void
  /** The fault that this dial has to take, if there is one. */
  readonly nextDialFault: () => DialFault | undefined
  /** A dial will not be answered. */
  readonly stalled: () => void
  readonly accept: () => Link
  readonly receive: (link: Link, frame: Frame) => void
  readonly hangUp: (link: Link, code: number, reason: string | undefined) => void
  /** The client gives the connection up as dead. */
  readonly abandon: (link: Link, error: SocketError) => void
  readonly release: (link: Link) => void
  /** Takes what has arrived, `n` frames at most. */
  readonly take: (link: Link, n: number) => ReadonlyArray<Frame>

  // What there is to see.
  readonly links: ReadonlyArray<Link>
  readonly newestOpen: () => Link | undefined
  readonly dials: ReadonlyArray<number>
  readonly received: ReadonlyArray<Received>
  readonly sent: ReadonlyArray<Sent>
  readonly pulled: ReadonlyArray<Sent>
  readonly log: Recorder.Recorder["snapshot"]
  readonly watchers: Set<() => void>
}

export const make = (options: Options): ScriptedServer => {
  const { clock, nameTasks } = options
  const links: Array<Link> = []
  const dials: Array<number> = []
  const received: Array<Received> = []
  const sent: Array<Sent> = []
  const pulled: Array<Sent> = []
  const recorder = Recorder.make({ clock, keepMessages: true })
  const watchers = new Set<() => void>()
  let emissions = 0
  let dialFaults: Array<DialFault> = []
  let reordering: Array<ServerMessage.ServerMessage> = []

  const changed = (): void => {
    for (const watcher of watchers) watcher()
  }

  const open = (id?: number): ReadonlyArray<Link> =>
    links.filter((link) => link.open && (id === undefined || link.id === id))

  const whenThawed = (link: Link, happen: () => void): void => {
    if (link.frozen) link.held.push(happen)
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
    if (link.frozen && place !== undefined) link.heldPlaces.push(place)
    whenThawed(link, () => {
      link.inbox.push(what)
      link.notify?.()
    })
    changed()
  }

  const send = (link: Link, message: ServerMessage.ServerMessage, emission: number = ++emissions): void =>
    deliver(link, Result.getOrThrow(ServerMessage.encodeFrame(message)), emission, message)

  const broadcast = (message: ServerMessage.ServerMessage): void => {
    const emission = ++emissions
    const wanting = open().filter((link) => link.feed.wants(message))
    if (wanting.length === 0) recorder.append({ _tag: "Unheard", emission, message })
    for (const link of wanting) send(link, message, emission)
  }

  const sendReordered = (): void => {
    const reversed = reordering.toReversed()
    reordering = []
    for (const held of reversed) broadcast(held)
  }

  const acknowledge = (n: number): void => {
    for (const link of open()) {
      for (const acknowledgement of link.unacknowledged.splice(0, n)) send(link, acknowledgement)
    }
  }

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
    link.held = []
    link.unacknowledged = []
    link.notify?.()
    changed()
  }

  const thaw = (link: Link): void => {
    if (!link.frozen) return
    link.frozen = false
    recorder.append({ _tag: "Thawed", connection: link.id })
    recorder.deliver(link.heldPlaces.splice(0))
    for (const happen of link.held.splice(0)) if (link.open) happen()
    changed()
  }

  // ---------------------------------------------------------------------------
  // client to server
  // ---------------------------------------------------------------------------

  const carryOut = (link: Link, frame: Frame): void => {
    const message = ClientMessage.decodeFrame(frame)
    if (Result.isFailure(message)) {
      recorder.append({ _tag: "Unreadable", connection: link.id, error: message.failure })
      return send(link, { _tag: "ServerError", code: "BAD_REQUEST", message: message.failure.message })
    }
    received.push({ connection: link.id, message: message.success })
    recorder.append({ _tag: "Received", connection: link.id, message: message.success })
    const acknowledgements = link.feed
      .handle(message.success)
      .map((acknowledgement) => (nameTasks ? acknowledgement : { _tag: acknowledgement._tag }))
    if (self.acknowledgeMode === "auto") for (const acknowledgement of acknowledgements) send(link, acknowledgement)
    if (self.acknowledgeMode === "manual") link.unacknowledged.push(...acknowledgements)
    changed()
  }

  const self: ScriptedServer = {
    emit(message) {
      if (self.toDrop > 0) {
        self.toDrop--
      } else if (self.toReorder > 0) {
        reordering.push(message)
        if (--self.toReorder === 0) sendReordered()
      } else {
        broadcast(message)
        if (self.toDuplicate > 0) {
          self.toDuplicate--
          broadcast(message)
        }
      }
    },
    emitRaw(frame) {
      const emission = ++emissions
      for (const link of open()) deliver(link, frame, emission)
    },
    acknowledge,
    close(id, code, reason) {
      for (const link of open(id)) {
        whenThawed(link, () => end(link, "close", SocketErrors.closed(code, reason), code, reason))
      }
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
    heal() {
      open().forEach(thaw)
      dialFaults = []
      self.dialDelay = 0
      self.toDrop = 0
      self.toDuplicate = 0
      self.toReorder = 0
      sendReordered()
      self.acknowledgeMode = "auto"
      acknowledge(Number.POSITIVE_INFINITY)
    },
    addDialFaults(n, fault) {
      for (let i = 0; i < n; i++) dialFaults.push(fault)
    },
    acknowledgeMode: options.acknowledge,
    dialDelay: 0,
    toDrop: 0,
    toDuplicate: 0,
    toReorder: 0,

    dial() {
      dials.push(clock.currentTimeMillisUnsafe())
      changed()
    },
    nextDialFault() {
      const fault = dialFaults.shift()
      if (fault?._tag === "Stall") self.stalled()
      if (fault?._tag === "Refuse") recorder.append({ _tag: "Refused", status: fault.status })
      return fault
    },
    stalled: () => recorder.append({ _tag: "Stalled" }),
    accept() {
      const link: Link = {
        id: links.length + 1,
        feed: Feed.make(),
        inbox: [],
        frozen: false,
        held: [],
        heldPlaces: [],
        open: true,
        released: false,
        endedBy: undefined,
        closeCode: undefined,
        error: undefined,
        notify: undefined,
        unacknowledged: []
      }
      links.push(link)
      recorder.append({ _tag: "Opened", connection: link.id })
      changed()
      return link
    },
    receive: (link, frame) => whenThawed(link, () => carryOut(link, frame)),
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
    dials,
    received,
    sent,
    pulled,
    log: recorder.snapshot,
    watchers
  }
  return self
}
