/**
 * A misspelt option is a type error at its name, for each public function with options. Nothing here runs: the file is its
 * own test, as long as it compiles. Each line has one mistake, the name of the option.
 */
import type * as Config from "effect/Config"
import type * as Stream from "effect/Stream"
import type { MeshEvent } from "@makima-stream/core/MeshEvent"
import * as LogEngine from "@makima-stream/log/LogEngine"
import * as MemoryLog from "@makima-stream/log/MemoryLog"
import type * as MeshLog from "@makima-stream/log/MeshLog"
import * as Relay from "@makima-stream/log/Relay"
import * as SqliteLog from "@makima-stream/log/SqliteLog"

declare const log: MeshLog.Service
declare const feed: Stream.Stream<MeshEvent>
declare const lease: MeshLog.Lease
declare const filename: Config.Config<string>
declare const number: Config.Config<number>

export const misspelt = () => [
  // @ts-expect-error lease is misspelt
  log.append([], { leese: lease }),
  // @ts-expect-error follow is misspelt
  log.read({ folow: true }),
  // @ts-expect-error keep is misspelt
  log.read({ filter: { keap: "resync" } }),
  // @ts-expect-error capacity is misspelt
  log.consumer("a", { capasity: 1 }),
  // @ts-expect-error timeToLive is misspelt
  log.lease("a", { timeToLeave: 1 }),
  // @ts-expect-error retention is misspelt
  MemoryLog.make({ retension: {} }),
  // @ts-expect-error store is misspelt
  MemoryLog.makeEngine({ stor: MemoryLog.makeStore() }),
  // @ts-expect-error maxEntries is misspelt
  MemoryLog.layer({ retention: { maxEntry: 1 } }),
  // @ts-expect-error maxBytes is misspelt
  MemoryLog.layerConfig({ retention: { maxBites: number } }),
  // @ts-expect-error pollInterval is misspelt
  SqliteLog.make({ filename: "a", pollIntervall: 1 }),
  // @ts-expect-error busyTimeout is misspelt
  SqliteLog.makeEngine({ filename: "a", busyTimeOut: 1 }),
  // @ts-expect-error onLoss is misspelt
  SqliteLog.layer({ filename: "a", onLos: "mark" }),
  // @ts-expect-error pollInterval is misspelt
  SqliteLog.layerConfig({ filename, poll: number }),
  // @ts-expect-error skew is misspelt
  Relay.run(feed, { skuw: 1 }),
  // @ts-expect-error maxAge is misspelt
  LogEngine.fromRetention({ maxAges: 1 })
]
