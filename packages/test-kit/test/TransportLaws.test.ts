import { readFileSync } from "node:fs"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Socket from "effect/socket/Socket"
import * as TransportLaws from "../src/vitest/TransportLaws.ts"
import { saboteurs } from "./support/saboteurs.ts"
import { transports } from "./support/transports.ts"

for (const { name, harness, ...options } of transports) TransportLaws.suite(name, harness, options)

describe("TransportLaws", () => {
  for (const name of TransportLaws.names) {
    it.effect(`detects a socket that breaks the law: ${TransportLaws.laws[name].promise}`, () =>
      Effect.gen(function* () {
        const harness = Layer.effect(
          TransportLaws.Harness,
          Effect.map(TransportLaws.Harness, (good) => ({ ...good, socket: saboteurs[name](good.socket) }))
        ).pipe(Layer.provide(TransportLaws.layerScripted))
        const run = Effect.provide(Effect.scoped(TransportLaws.laws[name].check), harness)
        assert.strictEqual((yield* Effect.flip(run))._tag, "LawBroken")
      })
    )
  }

  it.effect("detects a socket that returns the last frame twice", () =>
    Effect.gen(function* () {
      const twice = (socket: Socket.Socket): Socket.Socket =>
        Socket.make({
          writer: socket.writer,
          reader: Effect.map(socket.reader, (reader) => {
            let last: string | Uint8Array | undefined
            const pull = Effect.tap(reader.pull, (frames) =>
              Effect.sync(() => {
                last = frames.at(-1)
              })
            )
            return {
              ...reader,
              pull: Effect.suspend(() => {
                const again = last
                last = undefined
                return again === "1999" ? Effect.succeed([again] as const) : pull
              })
            }
          })
        })
      const harness = Layer.effect(
        TransportLaws.Harness,
        Effect.map(TransportLaws.Harness, (good) => ({ ...good, socket: twice(good.socket) }))
      ).pipe(Layer.provide(TransportLaws.layerScripted))
      const run = Effect.provide(Effect.scoped(TransportLaws.laws.order.check), harness)
      assert.strictEqual((yield* Effect.flip(run))._tag, "LawBroken")
    })
  )

  it("generates the table in the documentation", () => {
    const page = readFileSync(new URL("../../../docs/transports.md", import.meta.url), "utf8")
    assert.include(page, TransportLaws.table(transports))
  })
})
