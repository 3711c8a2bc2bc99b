import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Stream from "effect/Stream"
import * as ChaosProxy from "@makima-stream/test-kit/ChaosProxy"
import * as MockMeshServer from "@makima-stream/test-kit/MockMeshServer"
import * as Recording from "@makima-stream/test-kit/Recording"
import * as ScriptedMesh from "@makima-stream/test-kit/ScriptedMesh"
import type * as Scope from "effect/Scope"

/** A value that a test in JavaScript may pass. */
const misspelt = <A>(value: string): A => value as A

const programs: ReadonlyArray<readonly [string, string, Effect.Effect<unknown, unknown, Scope.Scope>]> = [
  ["acknowledge", "ScriptedMesh", ScriptedMesh.make({ acknowledge: misspelt("none") })],
  ["acknowledge", "MockMeshServer", MockMeshServer.make({ acknowledge: misspelt("none") })],
  [
    "acknowledge",
    "setAcknowledge",
    Effect.flatMap(ScriptedMesh.make(), (mesh) => mesh.setAcknowledge(misspelt("none")))
  ],
  [
    "as",
    "MockMeshServer.emit",
    Effect.flatMap(MockMeshServer.make(), (server) =>
      server.emit({ _tag: "ServerError", code: "X", message: "" }, { as: misspelt("blob") })
    )
  ],
  ["timing", "Recording.replay", Recording.replay(Stream.empty, { timing: misspelt("paced") })],
  [
    "direction",
    "ChaosProxy.shape",
    Effect.flatMap(ChaosProxy.make({ target: 1 }), (proxy) => proxy.shape({}, misspelt("up")))
  ]
]

describe("a misspelt value of an option", () => {
  for (const [option, where, program] of programs) {
    it.live(`is a defect that names the option: ${option} of ${where}`, () =>
      Effect.gen(function* () {
        const exit = yield* Effect.exit(program)
        assert.include(Exit.isFailure(exit) ? Cause.pretty(exit.cause) : "success", `The option "${option}" must be "`)
      })
    )
  }
})
