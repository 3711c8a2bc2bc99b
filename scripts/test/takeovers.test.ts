/** Relays as processes, which are killed, stopped and cut off; and the judge of their log. */
import { assert, describe, it } from "@effect/vitest"
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import * as Effect from "effect/Effect"
import type { MeshEvent } from "@makima-stream/core/MeshEvent"
import * as TaskId from "@makima-stream/core/TaskId"
import type { Entry } from "@makima-stream/log/MeshLog"
import type { ServerLog } from "@makima-stream/test-kit/ServerLog"
import { steps } from "../../packages/log/src/internal/sqlite/faults.ts"
import * as Engines from "../src/takeovers/engines.ts"
import * as Judge from "../src/takeovers/judge.ts"
import * as Team from "../src/takeovers/team.ts"
import { withBundles } from "./support/script.ts"

const a = TaskId.make("a")
const output = (content: string) => ({ _tag: "TaskOutput", taskId: a, messageType: "assistant", content }) as const
const update = (version: number) => ({ _tag: "TaskUpdated", taskId: a, version }) as const
const mark: MeshEvent = { _tag: "Resync", epoch: 1, reason: { _tag: "Unaligned", cause: "ambiguous" } }

/** What a server sent to two relays. */
const sent = (...messages: ReadonlyArray<ReturnType<typeof output> | ReturnType<typeof update>>): ServerLog =>
  messages.flatMap((message, n) =>
    [1, 2].map(
      (connection) =>
        ({ _tag: "Sent", seq: n, at: 0, connection, emission: n, message, as: "text", delivered: true }) as const
    )
  )
const entries = (...events: ReadonlyArray<MeshEvent>): ReadonlyArray<Entry> =>
  events.map((event, n) => ({ position: n + 1, at: 0, event }))

const [one, two, three] = [output("1"), output("2"), output("3")]
const clean = { sent: 3, lost: 0, unmarked: 0, doubled: 0, disordered: 0, unexpected: 0, marks: {} }

describe("the judge of a kept log", () => {
  const log = sent(one, two, three)
  const marks = { Unaligned: 1 }

  it("accepts each message once, in order", () => {
    assert.deepStrictEqual(Judge.judge(log, entries(one, two, three)), clean)
    assert.isTrue(Judge.isClean(clean))
  })

  it("counts a message that is missing, and whether a mark stands in its place", () => {
    assert.deepStrictEqual(Judge.judge(log, entries(one, three)), { ...clean, lost: 1, unmarked: 1 })
    assert.deepStrictEqual(Judge.judge(log, entries(one, mark, three)), { ...clean, lost: 1, marks })
    assert.isFalse(Judge.isClean({ ...clean, lost: 1, marks }))
  })

  it("counts output that came twice or late without a mark, and excuses it after a mark", () => {
    assert.deepStrictEqual(Judge.judge(log, entries(one, two, two, three)), { ...clean, doubled: 1 })
    assert.deepStrictEqual(Judge.judge(log, entries(one, three, two)), { ...clean, unmarked: 1, disordered: 1 })
    assert.deepStrictEqual(Judge.judge(log, entries(one, two, mark, two, three)), { ...clean, marks })
  })

  it("does not excuse an update that came twice", () => {
    const updates = sent(update(1), update(2), update(3))
    assert.deepStrictEqual(Judge.judge(updates, entries(update(1), update(2), mark, update(2), update(3))), {
      ...clean,
      doubled: 1,
      marks
    })
  })

  it("counts a message that the server did not send", () => {
    assert.deepStrictEqual(Judge.judge(log, entries(one, two, three, output("4"))), { ...clean, unexpected: 1 })
  })
})

describe.concurrent("relays as processes", () => {
  for (const engine of ["sqlite", "jetstream"] as const) {
    it.live.skipIf(!Engines.isInstalled(engine))(
      `lose nothing and double nothing without a mark on ${engine}, compared with the server's log`,
      () =>
        Effect.gen(function* () {
          const faults = engine === "sqlite" ? (["kill", "stop"] as const) : (["kill", "stop", "cut"] as const)
          const figures = yield* Team.run({ engine, count: faults.length, rate: 40, faults })
          const { disordered, doubled, lost, takeovers, unexpected, unmarked } = figures
          assert.deepStrictEqual(
            { takeovers, lost, unmarked, doubled, disordered, unexpected },
            { takeovers: faults.length, lost: 0, unmarked: 0, doubled: 0, disordered: 0, unexpected: 0 }
          )
          assert.isAbove(figures.sent, 100)
        }).pipe(Effect.scoped, withBundles, Effect.provide(NodeFileSystem.layer))
    )
  }

  it.live("leave a mark in place of what a relay missed that was killed at a step of an append", () =>
    Effect.gen(function* () {
      const team = yield* Team.make("sqlite", 40)
      for (const step of steps) {
        const { child } = yield* team.start(step)
        yield* child.exited
        assert.strictEqual(child.process.signalCode, "SIGKILL", step)
      }
      const last = yield* team.start()
      yield* team.until(() => last.line.role === "holder" && last.line.isReady)
      const { disordered, doubled, unexpected, unmarked } = yield* team.judge
      assert.deepStrictEqual(
        { unmarked, doubled, disordered, unexpected },
        { unmarked: 0, doubled: 0, disordered: 0, unexpected: 0 }
      )
    }).pipe(Effect.scoped, withBundles, Effect.provide(NodeFileSystem.layer))
  )
})
