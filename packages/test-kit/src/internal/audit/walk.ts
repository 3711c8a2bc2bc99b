/**
 * What the consumer of an audit saw: its sessions, the messages that it received on
 * each of them, and its marks, matched with the connections of the server's log.
 */
import type { Data, MeshEvent, Resync } from "@makima-stream/core/MeshEvent"
import { fingerprint } from "../fingerprint.ts"
import * as Follower from "./follower.ts"
import * as Transcript from "./transcript.ts"

/** A `Resync` of the consumer. */
export interface Mark {
  readonly resync: Resync
  /** How many messages of the connection, in order, the consumer had seen before it. */
  readonly at: number
}

/** A connection of the consumer. */
export interface Session {
  readonly connection: Transcript.Connection
  readonly follower: Follower.Follower
  readonly marks: Array<Mark>
  /** The places in the log of the frames that the consumer saw in order. */
  readonly places: Array<number>
  /** Whether it begins with the mark of a consumer that joined late. */
  readonly joinedLate: boolean
  /** Whether the consumer saw the server's close frame, and so everything before it. */
  sawClose: boolean
}

export interface Walk {
  readonly sessions: ReadonlyArray<Session>
  /** Failed attempts that the consumer reported. */
  readonly failedAttempts: number
  readonly seen: ReadonlySet<string>
  readonly duplicates: number
  readonly outOfOrder: number
  readonly unexpected: number
  readonly received: number
}

/** Matches the events of the consumer with the frames of its connections. */
export const follow = (
  connections: ReadonlyMap<number, Transcript.Connection>,
  events: Iterable<MeshEvent>,
  connectionOf: (epoch: number) => number | undefined
): Walk => {
  const sessions: Array<Session> = []
  const seen = new Set<string>()
  const counts = { failedAttempts: 0, duplicates: 0, outOfOrder: 0, unexpected: 0, received: 0 }
  let epoch: number | undefined

  const enter = (next: number, joinedLate: boolean): void => {
    epoch = next
    const connection = connections.get(connectionOf(next) ?? 0) ?? Transcript.emptyConnection()
    const follower = Follower.make(connection)
    sessions.push({ connection, follower, marks: [], places: [], joinedLate, sawClose: false })
  }

  const see = (message: Data): void => {
    counts.received++
    const key = fingerprint(message)
    const session = sessions.at(-1)
    const found = session?.follower.see(key)
    if (found?._tag === "InOrder") session?.places.push(found.place)
    else if (found?._tag === "Late") counts.outOfOrder++
    // Checked before late messages: a message that was sent on two connections and seen on one is not late on the other.
    else if (seen.has(key)) counts.duplicates++
    else if (sessions.some(({ follower }) => follower.seeStraggler(key))) counts.outOfOrder++
    else counts.unexpected++
    seen.add(key)
  }

  const mark = (resync: Resync): void => {
    const joinsLate = resync.reason._tag === "JoinedLate"
    if (joinsLate && resync.epoch !== epoch) enter(resync.epoch, true)
    const session = sessions.at(-1)
    if (session === undefined) return
    if (resync.reason._tag === "BadFrame") {
      const found = session.follower.seeBadFrame()
      if (found?._tag === "InOrder") session.places.push(found.place)
      return
    }
    if (joinsLate) session.follower.joinLate()
    session.marks.push({ resync, at: session.places.length })
  }

  for (const event of events) {
    switch (event._tag) {
      case "Connected":
        enter(event.epoch, false)
        break
      case "Disconnected": {
        epoch = undefined
        const session = sessions.at(-1)
        if (!event.opened) counts.failedAttempts++
        else if (session !== undefined && event.reason._tag === "ConnectionClosed") {
          session.sawClose = event.reason.code === session.connection.closeCode
        }
        break
      }
      case "Resync":
        mark(event)
        break
      case "Restated":
      case "Repaired":
      case "RepairFailed":
        // They come from a snapshot. The feed has to be right without them.
        break
      default:
        see(event)
    }
  }
  return { sessions, seen, ...counts }
}

export const judgeUnreported = (
  connections: ReadonlyMap<number, Transcript.Connection>,
  { failedAttempts, seen, sessions }: Walk,
  isOwn: (connection: number) => boolean
): { readonly count: number; readonly lost: number } => {
  const reported = new Set(sessions.map(({ connection }) => connection))
  const [first] = sessions
  // Connections before the consumer joined do not count.
  const from = first?.joinedLate === true ? (first.connection.opened ?? 0) : Number.NEGATIVE_INFINITY
  let excused = failedAttempts
  let count = 0
  let lost = 0
  for (const [number, connection] of connections) {
    if (reported.has(connection) || !isOwn(number) || connection.requests.length === 0) continue
    if ((connection.opened ?? 0) < from) continue
    // It may have been cut before the client had sent its whole interest, which counts as a failed attempt.
    if (connection.cut && excused > 0) {
      excused--
      continue
    }
    count++
    lost += connection.slots.filter((slot) => Transcript.isMessage(slot) && !seen.has(slot.key)).length
  }
  return { count, lost }
}
