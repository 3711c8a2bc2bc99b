import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Metric from "effect/Metric"
import type * as Scope from "effect/Scope"
import type * as ScriptedMesh from "@makima-stream/test-kit/ScriptedMesh"
import { settle } from "./follow.ts"

/**
 * A test with its own scope. It fails if a fiber still runs after the scope has
 * closed.
 */
export const itLeavesNothing = <A, E>(name: string, body: () => Effect.Effect<A, E, Scope.Scope>): void =>
  it.effect(name, () =>
    Effect.gen(function* () {
      let running = 0
      yield* body().pipe(
        Effect.scoped,
        Effect.provideService(Metric.FiberRuntimeMetrics, {
          recordFiberStart: () => {
            running++
          },
          recordFiberEnd: () => {
            running--
          }
        })
      )
      yield* settle
      assert.strictEqual(running, 0, "fibers that still run after the scope was closed")
    })
  )

/** Asserts that no connection is open on the mesh when the scope closes, after everything that was made in it later. */
export const closesEverything = (mesh: ScriptedMesh.ScriptedMesh["Service"]): Effect.Effect<void, never, Scope.Scope> =>
  Effect.addFinalizer(() =>
    Effect.map(mesh.connections, (connections) =>
      assert.deepStrictEqual(
        connections.filter(({ open }) => open).map(({ id }) => id),
        [],
        "connections that are still open after the scope was closed"
      )
    )
  )
