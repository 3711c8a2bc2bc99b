import { afterEach, assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { vi } from "vitest"
import * as Interest from "@makima-stream/core/Interest"
import * as MeshStream from "@makima-stream/core/MeshStream"
import * as NodeMeshSocket from "@makima-stream/node/NodeMeshSocket"
import * as MockMeshServer from "../src/MockMeshServer.ts"
import * as ScriptedMesh from "../src/ScriptedMesh.ts"

afterEach(() => {
  vi.useRealTimers()
})

const first = MeshStream.connect({ interest: Interest.all }).pipe(Stream.take(2), Stream.runCollect)

const scripted = first.pipe(Effect.provide(ScriptedMesh.layer()))

const mock = Effect.flatMap(MockMeshServer.make(), ({ url }) =>
  Effect.provide(first, NodeMeshSocket.layer({ url }))
).pipe(Effect.scoped)

describe("fake timers", () => {
  for (const [name, program] of [
    ["ScriptedMesh", scripted],
    ["MockMeshServer", mock]
  ] as const) {
    it(`${name} runs while Vitest fakes the date`, async () => {
      vi.useFakeTimers({ toFake: ["Date"] })
      assert.strictEqual((await Effect.runPromise(program)).length, 2)
    })
    it(`${name} runs while Vitest fakes every timer but setImmediate`, async () => {
      vi.useFakeTimers({ toNotFake: ["setImmediate", "clearImmediate"] })
      assert.strictEqual((await Effect.runPromise(program)).length, 2)
    })
  }
})
