/**
 * Tests of a pipeline with the kit, from a test without a server to a simulation.
 * `docs/testing.md` and `docs/testing-faults.md` explain them, and quote every part.
 */
import { readFileSync } from "node:fs"
import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Queue from "effect/Queue"
import * as Redacted from "effect/Redacted"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import * as Interest from "@makima-stream/core/Interest"
import * as MeshClient from "@makima-stream/core/MeshClient"
import * as MeshStream from "@makima-stream/core/MeshStream"
import * as TaskId from "@makima-stream/core/TaskId"
import type * as MeshEvent from "@makima-stream/core/MeshEvent"
import * as NodeMeshClient from "@makima-stream/node/NodeMeshClient"
import * as MeshArbitrary from "@makima-stream/test-kit/MeshArbitrary"
import * as MockMeshServer from "@makima-stream/test-kit/MockMeshServer"
import * as ScriptedMesh from "@makima-stream/test-kit/ScriptedMesh"
import * as Simulation from "@makima-stream/test-kit/Simulation"

const toAlert = (event: MeshEvent.MeshEvent): string | undefined => {
  if (event._tag === "TaskUpdated" && event.status === "failed") return `task ${event.taskId} failed`
  // `Started` opens the first complete stretch. Every other mark follows a gap.
  const isGap = event._tag === "Resync" && event.reason._tag !== "Started"
  return isGap ? `something may have been missed (${event.reason._tag})` : undefined
}

const alerts = <E, R>(events: Stream.Stream<MeshEvent.MeshEvent, E, R>): Stream.Stream<string, E, R> =>
  events.pipe(
    Stream.map(toAlert),
    Stream.filter((alert) => alert !== undefined)
  )

const failed = (task: string) => ({ _tag: "TaskUpdated", taskId: TaskId.make(task), status: "failed" }) as const

describe("a pipeline", () => {
  it.effect("reports a failed task", () =>
    Effect.gen(function* () {
      const running = { ...failed("b"), status: "running" }
      const reported = yield* Stream.make(failed("a"), running).pipe(alerts, Stream.runCollect)
      assert.deepStrictEqual(reported, ["task a failed"])
    })
  )

  it.effect("reports a gap after a reconnect", () =>
    Effect.gen(function* () {
      const mesh = yield* ScriptedMesh.ScriptedMesh
      const reported = yield* Queue.unbounded<string>()
      yield* MeshStream.connect({ interest: Interest.all }).pipe(
        alerts,
        Stream.runForEach((alert) => Queue.offer(reported, alert)),
        Effect.forkScoped
      )
      yield* mesh.awaitReceived(({ message }) => message._tag === "SubscribeAll")
      yield* mesh.emit(failed("a"))
      assert.strictEqual(yield* Queue.take(reported), "task a failed")

      yield* mesh.kill()
      yield* mesh.emit(failed("b")) // No client is connected: this message is lost.
      yield* TestClock.adjust("2 seconds") // The longest delay of the first attempt.
      yield* mesh.awaitReceived(({ connection }) => connection === 2)
      yield* mesh.emit(failed("c"))
      assert.strictEqual(yield* Queue.take(reported), "something may have been missed (Reconnected)")
      assert.strictEqual(yield* Queue.take(reported), "task c failed")
    }).pipe(Effect.provide(ScriptedMesh.layer()))
  )

  it.effect.prop("reports every failure and every gap of any history", [MeshArbitrary.history], ([events]) =>
    Effect.gen(function* () {
      const reported = yield* Stream.fromIterable(events).pipe(alerts, Stream.runCollect)
      const failures = events.filter((event) => event._tag === "TaskUpdated" && event.status === "failed")
      const gaps = events.filter((event) => event._tag === "Resync" && event.reason._tag !== "Started")
      assert.strictEqual(reported.length, failures.length + gaps.length)
    })
  )

  it.live("leaves nothing behind under thirty schedules of faults", () =>
    Effect.gen(function* () {
      const program = Simulation.fromEffect("alerts", () =>
        MeshStream.connect({ interest: Interest.all }).pipe(alerts, Stream.runDrain)
      )
      for (let seed = 1; seed <= 30; seed++) {
        const outcome = yield* Simulation.check(program, seed)
        assert.strictEqual(outcome._tag, "Passed", Simulation.format(outcome))
      }
    })
  )

  it.live("reports a failed task over a real connection", () =>
    Effect.gen(function* () {
      const server = yield* MockMeshServer.make({ apiKey: Redacted.make("a key") })
      const layer = NodeMeshClient.layer({ socket: { url: server.url, apiKey: Redacted.make("a key") } })
      const client = yield* Effect.map(Layer.build(layer), Context.get(MeshClient.MeshClient))
      const reported = yield* client.updates().pipe(alerts, Stream.runHead, Effect.forkScoped)
      yield* server.awaitReceived(({ message }) => message._tag === "SubscribeAll")
      yield* server.emit(failed("a"))
      assert.deepStrictEqual(yield* Fiber.join(reported), Option.some("task a failed"))
    })
  )
})

describe("the guides", () => {
  /** The parts of a file with an indentation of zero or two spaces, without import statements. */
  const partsOf = (code: string): ReadonlyArray<string> =>
    code
      .split(/\n\n(?=\S| {2}\S)/)
      .map((part) => part.trim())
      .filter((part) => part !== "" && !part.startsWith("import "))

  it("contains every part of this file, and nothing else", () => {
    const here = readFileSync(new URL(import.meta.url), "utf8")
    const guide = ["testing", "testing-faults"]
      .map((page) => readFileSync(new URL(`../../docs/${page}.md`, import.meta.url), "utf8"))
      .join("\n")
    const fences = [...guide.matchAll(/```ts\n([\s\S]*?)```/g)].map(([, code = ""]) => code)
    // Here the tests are two spaces deeper, inside a `describe`.
    const flat = here.replaceAll(/^ {2}/gm, "")
    for (const part of fences.flatMap(partsOf)) {
      assert.isTrue(
        here.includes(part) || flat.includes(part),
        `the guide contains code that is not in this file:\n${part}`
      )
    }
    for (const name of here.matchAll(/it\.(?:effect|live)(?:\.prop)?\("([^"]+)"/g)) assert.include(guide, name[1] ?? "")
  })
})
