import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import type { LogError } from "@makima-stream/log/LogError"
import * as MemoryLog from "@makima-stream/log/MemoryLog"
import * as MeshLog from "@makima-stream/log/MeshLog"
import * as Relay from "@makima-stream/log/Relay"
import type * as Scope from "effect/Scope"

describe("an option that makes no sense", () => {
  type Call = (log: MeshLog.Service) => Effect.Effect<unknown, LogError, Scope.Scope | MeshLog.MeshLog>
  const cases: ReadonlyArray<readonly [name: string, option: string, call: Call]> = [
    ["lease", "timeToLive", (log) => log.lease("a", { timeToLive: 999 })],
    ["lease", "name", (log) => log.lease("")],
    ["consumer", "capacity", (log) => log.consumer("a", { capacity: 0 })],
    ["consumer", "partitions", (log) => log.consumer("a", { partitions: 257 })],
    ["consumer", "member", (log) => log.consumer("a", { member: "" })],
    ["Relay.run", "skew", () => Relay.run(Stream.never, { skew: Number.NaN })],
    ["Relay.run", "capacity", () => Relay.run(Stream.never, { capacity: 1.5 })],
    ["Relay.run", "lease", () => Relay.run(Stream.never, { lease: "" })]
  ]
  for (const [name, option, call] of cases) {
    it.effect(`fails ${name} with the name of the option ${option}`, () =>
      Effect.gen(function* () {
        const { reason } = yield* Effect.flip(Effect.flatMap(MeshLog.MeshLog, call))
        assert.isTrue(reason._tag === "InvalidOption" && reason.option === option)
      }).pipe(Effect.scoped, Effect.provide(MemoryLog.layer()))
    )
  }
})
