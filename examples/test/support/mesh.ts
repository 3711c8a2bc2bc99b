/** Helpers for the tests of the examples on the scripted mesh. */
import * as TaskId from "@makima-stream/core/TaskId"
import type * as ScriptedMesh from "@makima-stream/test-kit/ScriptedMesh"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Stream from "effect/Stream"
import type * as Scope from "effect/Scope"
import * as TestClock from "effect/testing/TestClock"
import { turns } from "../../../packages/test-kit/src/internal/turns.ts"

export { result, said, update } from "../../../packages/test-kit/test/support/messages.ts"

type Mesh = ScriptedMesh.ScriptedMesh["Service"]

export const a = TaskId.make("a")
export const b = TaskId.make("b")

/** Runs a stream in a fiber of the scope, and collects its elements. */
export const gather = <A, E, R>(
  stream: Stream.Stream<A, E, R>
): Effect.Effect<
  { readonly got: ReadonlyArray<A>; readonly exit: Effect.Effect<Exit.Exit<void, E>> },
  never,
  R | Scope.Scope
> =>
  Effect.gen(function* () {
    const got: Array<A> = []
    const fiber = yield* stream.pipe(
      Stream.runForEach((element) => Effect.sync(() => got.push(element))),
      Effect.forkScoped
    )
    return { got, exit: Fiber.await(fiber) }
  })

/** Runs every fiber until all of them wait. */
export const settle: Effect.Effect<void> = turns(50)

/** Waits until the program has sent a request on its n-th connection. */
export const awaitRequest = (mesh: Mesh, n: number) =>
  Effect.andThen(
    mesh.awaitReceived(({ connection }) => connection === n),
    settle
  )

/** Waits until the program has subscribed to the output of a task on its n-th connection. */
export const awaitOutput = (mesh: Mesh, taskId: TaskId.TaskId, n = 1) =>
  Effect.andThen(
    mesh.awaitReceived(
      ({ connection, message }) => connection === n && message._tag === "SubscribeOutput" && message.taskId === taskId
    ),
    settle
  )

/** Advances the clock second by second, and runs every fiber after each. */
export const pass = (seconds: number): Effect.Effect<void> =>
  TestClock.adjust("1 second").pipe(Effect.andThen(settle), Effect.repeat({ times: seconds - 1 }), Effect.asVoid)

/** Kills the connection, and advances the clock until the program has its n-th one. */
export const reconnect = (mesh: Mesh, n: number) =>
  Effect.gen(function* () {
    yield* mesh.kill()
    yield* settle
    yield* pass(2)
    yield* awaitRequest(mesh, n)
  })
