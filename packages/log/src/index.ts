/**
 * The kept feed: a durable log of events in memory and in SQLite, and the relay that fills it.
 *
 * @since 0.2.0
 */
export type { MeshEvent } from "@makima-stream/core/MeshEvent"
