import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import * as ScriptedMesh from "@makima-stream/test-kit/ScriptedMesh"
import * as Interest from "../src/Interest.ts"
import * as MeshClient from "../src/MeshClient.ts"
import type { MeshEvent } from "../src/MeshEvent.ts"
import * as MeshSession from "../src/MeshSession.ts"
import * as MeshStream from "../src/MeshStream.ts"
import * as Repair from "../src/Repair.ts"

/** A value that a program in JavaScript, or from configuration, may pass. */
const misspelt = <A>(value: string): A => value as A

const feed: Stream.Stream<MeshEvent> = Stream.empty

/** What each option does with a misspelt value when the operator is applied. */
const applied: Record<string, () => unknown> = {
  keep: () => MeshStream.outputOnly(feed, { keep: misspelt("resyncs") }),
  pieces: () => MeshStream.joinPartials(feed, { pieces: misspelt("snapshots") }),
  closing: () => MeshStream.joinPartials(feed, { closing: misspelt("pieces") }),
  ends: () => MeshStream.lines(feed, { ends: misspelt("newlines") }),
  onFailure: () => Repair.repair(feed, { fetch: () => Effect.succeed([]), onFailure: misspelt("fails") })
}

/** What each option does with a misspelt value in a program. */
const run: Record<string, Effect.Effect<unknown, unknown, MeshClient.MeshClient>> = {
  overflow: Effect.flatMap(MeshClient.MeshClient, (client) =>
    Stream.runDrain(client.updates(undefined, { overflow: misspelt("drop") }))
  ),
  output: Effect.flatMap(MeshClient.MeshClient, (client) =>
    Stream.runDrain(client.everything({ output: misspelt("all") }))
  ),
  onBadFrame: Effect.scoped(
    Effect.provide(MeshSession.make(Interest.all, { onBadFrame: misspelt("skip") }), ScriptedMesh.layer())
  )
}

const layer = Layer.provide(MeshClient.layer(), ScriptedMesh.layer())

describe("a misspelt value of an option", () => {
  for (const [option, apply] of Object.entries(applied)) {
    it(`is refused where it is passed: ${option}`, () => {
      assert.throws(apply, TypeError, `The option "${option}" must be "`)
    })
  }

  for (const [option, program] of Object.entries(run)) {
    it.effect(`is a defect that names the option: ${option}`, () =>
      Effect.gen(function* () {
        const exit = yield* Effect.exit(Effect.provide(program, layer))
        assert.include(Exit.isFailure(exit) ? Cause.pretty(exit.cause) : "success", `The option "${option}" must be "`)
      })
    )
  }
})
