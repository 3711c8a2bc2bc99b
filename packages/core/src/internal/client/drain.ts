/**
 * Consumers whose streams end when the effect that runs them is interrupted, so that
 * they can handle their queued events: see `MeshClient.drainOnInterrupt`.
 */
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import type { Consumer } from "./consumer.ts"

/** The consumers that an effect runs; `undefined` once their streams have ended or end at once. */
export interface Drain {
  consumers: Set<Consumer> | undefined
}

export const make = (): Drain => ({ consumers: new Set() })

export const add = ({ consumers }: Drain, consumer: Consumer): void => {
  if (consumers === undefined) consumer.end(Cause.done())
  else consumers.add(consumer)
}

/** Ends the stream of each consumer, also of those that are added later. */
export const start = (drain: Drain): void => {
  const { consumers = [] } = drain
  drain.consumers = undefined
  for (const consumer of consumers) consumer.end(Cause.done())
}

/** The drain of the effect that runs a consumer, if it has one. */
export const Current: Context.Reference<Drain | undefined> = Context.Reference<Drain | undefined>(
  "@makima-stream/core/MeshClient/Drain",
  { defaultValue: () => undefined }
)
