/** The chaos run as a person starts it, and that it can find something. */
import * as MeshError from "@makima-stream/core/MeshError"
import type * as MeshEvent from "@makima-stream/core/MeshEvent"
import * as TaskId from "@makima-stream/core/TaskId"
import * as Audit from "@makima-stream/test-kit/Audit"
import type * as ChaosProxy from "@makima-stream/test-kit/ChaosProxy"
import type * as ServerLog from "@makima-stream/test-kit/ServerLog"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Schema from "effect/Schema"
import * as TestClock from "effect/testing/TestClock"
import { runCommand } from "../../packages/cli/test/support/command.ts"
import { command } from "../src/chaos.ts"
import * as History from "../src/chaos/history.ts"
import * as Reports from "../src/chaos/reports.ts"
import { withBundles } from "./support/script.ts"

const Figures = Schema.fromJsonString(
  Schema.Struct({
    clean: Schema.Boolean,
    faults: Schema.Record(Schema.String, Schema.Int),
    received: Schema.Int,
    connections: Schema.Int,
    unheard: Schema.Int
  })
)

const message = (version: number) => ({ _tag: "TaskUpdated", taskId: TaskId.make("a"), version }) as const

const sent = (connection: number, version: number, at: number): ServerLog.Entry => ({
  _tag: "Sent",
  seq: 0,
  at,
  connection,
  emission: version,
  message: message(version),
  as: "text",
  delivered: true
})

const link = (id: number, openedAt: number, injury?: "killed"): ChaosProxy.Connection => ({
  id,
  openedAt,
  closedAt: undefined,
  injury,
  inFlightBytes: { toServer: 0, toClient: 0 }
})

/** A server that was killed at 100 and had two connections before; the first was left by the client at 50. */
const lives: ReadonlyArray<History.Life> = [
  {
    killedAt: 100,
    dials: [
      { dial: 1, is: 1 },
      { dial: 2, is: 2 }
    ],
    log: [
      { _tag: "Opened", seq: 1, at: 10, connection: 1 },
      sent(1, 1, 11),
      { _tag: "Closed", seq: 3, at: 50, connection: 1, by: "client", code: 1006, reason: "" },
      { _tag: "Opened", seq: 4, at: 60, connection: 2 },
      sent(2, 2, 61)
    ]
  },
  {
    killedAt: undefined,
    dials: [{ dial: 4, is: 1 }],
    log: [{ _tag: "Opened", seq: 1, at: 200, connection: 1 }, sent(1, 1, 201)]
  }
]

describe("chaos", () => {
  it.live(
    "a server and a client in two processes, and a network that does everything to them, lose nothing unmarked",
    () =>
      Effect.gen(function* () {
        const { code, stderr, stdout } = yield* withBundles(runCommand(command, ["--seed", "3"]))
        assert.deepStrictEqual([code, stderr], [0, ""], stdout)
        const figures = Schema.decodeUnknownSync(Figures)(stdout.trimEnd().split("\n").at(-1))
        assert.isTrue(figures.clean)
        assert.sameMembers(
          Object.keys(figures.faults),
          "cut,delay,throttle,split,halfOpen,serverKilled,clientPaused,cutWhilePaused".split(",")
        )
        assert.isAbove(figures.received, 1000)
        assert.isAbove(figures.connections, 6)
        assert.isAtLeast(figures.unheard, 0)
      })
  )

  it.live("a wrong command line is one line on stderr, and code 2", () =>
    Effect.gen(function* () {
      const { code, stderr } = yield* runCommand(command, ["--minutes", "soon"])
      assert.strictEqual(code, 2)
      assert.strictEqual(stderr.trimEnd().split("\n").length, 1, stderr)
    })
  )

  it("the lives of a server are one log, in which a process that was killed has killed its connections", () => {
    const log = History.join(lives, [link(1, 5, "killed"), link(2, 55), link(3, 199)])
    assert.deepStrictEqual(
      log.map((entry) => [entry._tag, "connection" in entry ? entry.connection : 0]),
      [
        ["Opened", 1],
        ["Sent", 1],
        ["Killed", 1],
        ["Opened", 2],
        ["Sent", 2],
        ["Killed", 2],
        ["Opened", 3],
        ["Sent", 3]
      ]
    )
    assert.deepStrictEqual(
      log.flatMap((entry) => (entry._tag === "Sent" ? [entry.emission] : [])),
      [1, 2, 3]
    )
  })

  it("an epoch is the connection with the same dial, whatever was sent on it", () => {
    const epochs = [
      { dial: 2, is: 1 },
      { dial: 3, is: 2 },
      { dial: 4, is: 3 }
    ]
    assert.deepStrictEqual([1, 2, 3, 4].map(History.connections(lives, epochs)), [2, undefined, 3, undefined])
  })

  it("counts what was on its way as lost when a client leaves a connection without a fault", () => {
    const ended: MeshEvent.MeshEvent = {
      _tag: "Disconnected",
      epoch: 1,
      opened: true,
      attempt: 1,
      retryInMillis: 0,
      at: 50,
      reason: new MeshError.HeartbeatTimeout({ deadlineMillis: 1 })
    }
    const events: ReadonlyArray<MeshEvent.MeshEvent> = [
      { _tag: "Connected", epoch: 1, at: 12 },
      ended,
      { _tag: "Connected", epoch: 2, at: 62 },
      { _tag: "Resync", epoch: 2, reason: { _tag: "Reconnected", downMillis: 12 } },
      message(2)
    ]
    const epochs = [
      { dial: 1, is: 1 },
      { dial: 2, is: 2 }
    ]
    const uninjured = [link(1, 5), link(2, 55)]
    const first = lives.slice(0, 1)
    assert.deepStrictEqual(History.unexplained(events, epochs, first, uninjured), ["HeartbeatTimeout"])
    assert.strictEqual(Audit.compare(History.join(first, uninjured), events).lostWhileConnected, 1)
    const injured = [link(1, 5, "killed"), link(2, 55)]
    assert.deepStrictEqual(History.unexplained(events, epochs, first, injured), [])
    assert.isTrue(Audit.isClean(Audit.compare(History.join(first, injured), events)))
  })

  describe("with two connections", () => {
    const aligned = (epoch: number): Reports.State => ({ state: "aligned", epoch })
    const offline = (epoch: number): Reports.State => ({ state: "offline HeartbeatTimeout", epoch })
    const before = [aligned(1), aligned(1)]

    it("sees that both were lost, also if one was back before the other one was lost", () => {
      assert.isFalse(Reports.areLost([0, 1], before, before))
      assert.isFalse(Reports.areLost([0, 1], before, [offline(1), aligned(1)]))
      assert.isTrue(Reports.areLost([0, 1], before, [aligned(2), offline(1)]))
      assert.isTrue(Reports.areLost([0, 1], before, [aligned(2), aligned(2)]))
    })

    it("does not take a report from before the fault for a recovery", () => {
      assert.isFalse(Reports.areBack([0], before, before))
      assert.isFalse(Reports.areBack([0], before, [{ state: "online", epoch: 2 }, aligned(1)]))
      assert.isTrue(Reports.areBack([0], before, [aligned(2), aligned(1)]))
    })

    it.effect("fails after a time with the states of the connections", () =>
      Effect.gen(function* () {
        const reports = Reports.make(5000)
        const fiber = yield* Effect.forkChild(Effect.flip(reports.until("aligned", Reports.areAligned)), {
          startImmediately: true
        })
        reports.report([aligned(1), offline(1)])
        yield* TestClock.adjust("5 seconds")
        const { message } = yield* Fiber.join(fiber)
        assert.include(message, "HeartbeatTimeout")
        reports.report(before)
        yield* reports.until("aligned", Reports.areAligned)
      })
    )
  })
})
