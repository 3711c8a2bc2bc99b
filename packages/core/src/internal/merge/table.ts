/**
 * The table of subscriptions of a feed with several connections.
 *
 * Each connection has its own table, which its session uses. A key that is wanted
 * in the table of the feed is wanted in each of them. The feed's table belongs to
 * no connection: `started`, `confirmed`, `overdue` and `expire` change it.
 *
 * Invariants: a key is confirmed in the feed's table when the first connection has
 * confirmed it since the merged feed was connected; an unsubscribe is acknowledged
 * in it at once, and settled when it is on every connection.
 */
import type { Interest } from "../../Interest.ts"
import type { Acknowledgement } from "../../ServerMessage.ts"
import type { TaskId } from "../../TaskId.ts"
import * as Subscriptions from "../session/subscriptions.ts"
import type { Kind } from "./sequence.ts"

type Key = Subscriptions.Key

export interface Table {
  readonly subscriptions: Subscriptions.Subscriptions
  /** The tables of the connections. */
  readonly connections: ReadonlyArray<Subscriptions.Subscriptions>
  /** The merged feed is connected: all wanted keys are now requested. */
  readonly started: () => void
  /** A connection has confirmed a key of its own table. Returns the key of the feed's table that this confirms. */
  readonly confirmed: (key: Key) => Key | undefined
  /** A key was not confirmed in time. */
  readonly overdue: (kind: Kind, taskId: TaskId | undefined) => void
  /** Every key that is not confirmed yet was not confirmed in time. */
  readonly expire: () => void
  /** The merged feed is not connected. */
  readonly stopped: () => void
  /** Called for a task that is not wanted any more. */
  onUnwanted: (kind: Kind, taskId: TaskId) => void
  /** Whether the server has confirmed the request for a task that is wanted, on a connection. */
  readonly isConfirmed: (connection: number, kind: Kind, taskId: TaskId) => boolean
  /** Whether messages of a task are wanted. */
  readonly isWanted: (kind: Kind, taskId: TaskId) => boolean
}

export const make = (count: number, ackTimeout: number): Table => {
  const feed = Subscriptions.make(ackTimeout)
  const connections = Array.from({ length: count }, () => Subscriptions.make(ackTimeout))
  let isStarted = false
  let isAllWanted = false
  let updates = new Set<TaskId>()
  let output = new Set<TaskId>()

  /** Drops the requests of the feed's table, and acknowledges its unsubscribes at once. */
  const drain = (): void => {
    if (!isStarted) return
    for (const request of feed.take(0)) {
      switch (request.type) {
        case "unsubscribeAll":
          feed.acknowledge({ _tag: "UnsubscribedAll" })
          break
        case "unsubscribe":
          feed.acknowledge({ _tag: "Unsubscribed", taskId: request.taskId })
          self.onUnwanted("updates", request.taskId)
          break
        case "unsubscribeOutput":
          feed.acknowledge({ _tag: "OutputUnsubscribed", taskId: request.taskId })
          self.onUnwanted("output", request.taskId)
      }
    }
  }

  const noteWanted = ({ kind, taskId }: Key, wanted: boolean): void => {
    if (taskId === undefined) isAllWanted = wanted
    else if (wanted) (kind === "output" ? output : updates).add(taskId)
    else (kind === "output" ? output : updates).delete(taskId)
  }

  const setWanted = (key: Key, wanted: boolean): void => {
    if (key.wanted === wanted) return
    noteWanted(key, wanted)
    const interest = interestOf(key)
    // First, because a connection may send and receive at once when something becomes wanted.
    feed.setWanted(key, wanted)
    drain()
    for (const connection of connections) for (const own of connection.keys(interest)) connection.setWanted(own, wanted)
  }

  const isSettled = (): boolean => connections.every((connection) => connection.isSettled())

  const subscriptions: Subscriptions.Subscriptions = {
    ...feed,
    onDirty: () => {},
    onSettled: () => {},
    setWanted,
    setInterest(interest) {
      isAllWanted = interest.all
      updates = new Set(interest.updates)
      output = new Set(interest.output)
      feed.setInterest(interest)
      drain()
      for (const connection of connections) connection.setInterest(interest)
    },
    isSettled
  }
  for (const connection of connections) {
    connection.onSettled = () => {
      if (isSettled()) subscriptions.onSettled()
    }
  }

  const confirmed = (key: Key): Key | undefined => {
    const confirmation = feed.acknowledge(acknowledgementOf(key))
    // The key may have become unwanted before it was confirmed.
    drain()
    return confirmation?.key
  }

  const self: Table = {
    subscriptions,
    connections,
    onUnwanted: () => {},
    started() {
      feed.reset()
      isStarted = true
      drain()
    },
    confirmed,
    overdue(kind, taskId) {
      if (taskId !== undefined && !self.isWanted(kind, taskId)) return
      const key = { kind: taskId === undefined ? "all" : kind, taskId } as const
      for (const each of feed.keys(interestOf(key))) if (each.wanted && !each.confirmed) each.overdue = 1
    },
    expire() {
      feed.expire(Infinity)
      drain()
    },
    stopped() {
      isStarted = false
      feed.reset()
    },
    isConfirmed(connection, kind, taskId) {
      const own = connections[connection]
      if (own === undefined || !self.isWanted(kind, taskId)) return false
      for (const key of own.keys(interestOf({ kind, taskId }))) return key.wanted && key.confirmed
      return false
    },
    isWanted: (kind, taskId) => (kind === "output" ? output.has(taskId) : isAllWanted || updates.has(taskId))
  }
  return self
}

const none: ReadonlySet<TaskId> = new Set()

const interestOf = ({ kind, taskId }: Pick<Key, "kind" | "taskId">): Interest => ({
  all: kind === "all",
  updates: kind === "updates" && taskId !== undefined ? new Set([taskId]) : none,
  output: kind === "output" && taskId !== undefined ? new Set([taskId]) : none
})

const acknowledgementOf = ({ kind, taskId }: Key): Acknowledgement =>
  kind === "all" || taskId === undefined
    ? { _tag: "SubscribedAll" }
    : { _tag: kind === "output" ? "OutputSubscribed" : "Subscribed", taskId }
