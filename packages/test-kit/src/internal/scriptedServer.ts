/**
 * The server of a scripted mesh, without Effect: its connections (`scriptedLink`), its
 * faults, its log. `scriptedSocket` is the client's end of it.
 *
 * Invariants:
 *
 * 1. Each dial takes the oldest fault of dials.
 * 2. Every change calls the watchers, after it has been made.
 */
import type { Clock } from "effect/Clock"
import type { ServerMessage } from "@makima-stream/core/ServerMessage"
import type { Received } from "../MeshServer.ts"
import type * as DelayLine from "./delayLine.ts"
import * as MessageFaults from "./messageFaults.ts"
import * as Recorder from "./recorder.ts"
import type * as RequestHandler from "./requestHandler.ts"
import { Link, type Frame, type Host, type Sent } from "./scriptedLink.ts"
import * as Verbs from "./verbs.ts"

export interface Options {
  readonly clock: Clock
  readonly schedule: DelayLine.Schedule
  readonly settings: RequestHandler.Settings
}

export class ScriptedServer {
  readonly #clock: Clock
  readonly #recorder: Recorder.Recorder
  readonly #host: Host
  #emissions = 0
  /** All connections, open or ended. */
  readonly links: Array<Link> = []
  /** Faults of the next emitted messages. */
  readonly messages = MessageFaults.make((message) => this.#broadcast(message))
  /** Faults of the next dials. */
  readonly dials: Verbs.Dials = { faults: [], delayMillis: 0 }
  /** The time of each dial. */
  readonly dialTimes: Array<number> = []
  readonly received: Array<Received> = []
  readonly sent: Array<Sent> = []
  readonly pulled: Array<Sent> = []
  /** Called after each change. */
  readonly watchers = new Set<() => void>()

  constructor({ clock, schedule, settings }: Options) {
    this.#clock = clock
    this.#recorder = Recorder.make({ clock, keepMessages: true })
    this.#host = {
      clock,
      schedule,
      settings,
      recorder: this.#recorder,
      nextEmission: () => ++this.#emissions,
      onSent: (sent) => this.sent.push(sent),
      onReceived: (connection, message) => {
        this.received.push({ connection, message })
        this.#changed()
      },
      changed: () => this.#changed()
    }
  }

  #changed(): void {
    for (const watcher of this.watchers) watcher()
  }

  // ---------------------------------------------------------------------------
  // called by a test
  // ---------------------------------------------------------------------------

  readonly log = () => this.#recorder.snapshot()

  /** The open connections, or one of them by its number. */
  open(id?: number): ReadonlyArray<Link> {
    return this.links.filter((link) => link.open && (id === undefined || link.id === id))
  }

  newestOpen(): Link | undefined {
    return this.open().at(-1)
  }

  /** Sends a frame to every open connection. Returns their number. */
  emitRaw(frame: Frame): number {
    const emission = ++this.#emissions
    const links = this.open()
    for (const link of links) link.deliver(frame, emission)
    return links.length
  }

  #broadcast(message: ServerMessage): number {
    const emission = ++this.#emissions
    const subscribed = this.open().filter((link) => link.requests.feed.wants(message))
    if (subscribed.length === 0) this.#recorder.append({ _tag: "Unheard", emission, message })
    for (const link of subscribed) link.send(message, emission)
    return subscribed.length
  }

  /** Sends the next `n` acknowledgements that `manual` retains, on each connection. */
  acknowledge(n: number): void {
    for (const link of this.open()) link.requests.acknowledge(n)
  }

  /** Thaws every connection and ends all delays of requests. */
  healConnections(): void {
    for (const link of this.open()) link.thaw()
    for (const link of this.open()) link.requests.flush()
  }

  // ---------------------------------------------------------------------------
  // called by the client's end
  // ---------------------------------------------------------------------------

  /** A dial begins. */
  dial(): void {
    this.dialTimes.push(this.#clock.currentTimeMillisUnsafe())
    this.#changed()
  }

  /** Takes the fault of this dial, if there is one. */
  nextDialFault(): Verbs.DialFault | undefined {
    const fault = Verbs.takeFault(this.dials)
    if (fault?._tag === "Stall") this.stalled()
    if (fault?._tag === "Refuse") this.#recorder.append({ _tag: "Refused", status: fault.status })
    return fault
  }

  /** A dial will not be answered. */
  stalled(): void {
    this.#recorder.append({ _tag: "Stalled" })
  }

  /** A dial becomes a connection. */
  accept(): Link {
    const link = new Link(this.links.length + 1, this.#host)
    this.links.push(link)
    this.#recorder.append({ _tag: "Opened", connection: link.id })
    this.#changed()
    return link
  }

  /** Takes what has arrived on a connection, `n` frames at most. */
  take(link: Link, n: number): ReadonlyArray<Frame> {
    const batch = link.take(n)
    if (link.released) return []
    this.pulled.push(...batch)
    this.#changed()
    return batch.map(({ frame }) => frame)
  }
}
