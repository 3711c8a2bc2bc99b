/**
 * The kept feed: a durable log of events in memory and in SQLite, and the relay that fills it.
 *
 * @since 0.2.0
 */
export * as LogEngine from "./LogEngine.ts"
export * as LogError from "./LogError.ts"
export * as MemoryLog from "./MemoryLog.ts"
export * as MeshLog from "./MeshLog.ts"
export * as Relay from "./Relay.ts"
export * as RepairLog from "./RepairLog.ts"
export * as SqliteLog from "./SqliteLog.ts"
