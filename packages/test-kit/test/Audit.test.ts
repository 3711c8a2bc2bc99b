import * as DecodeError from "@makima-stream/core/DecodeError"
import * as MeshError from "@makima-stream/core/MeshError"
import * as TaskId from "@makima-stream/core/TaskId"
import type * as ClientMessage from "@makima-stream/core/ClientMessage"
import * as MeshEvent from "@makima-stream/core/MeshEvent"
import type * as ServerMessage from "@makima-stream/core/ServerMessage"
import * as Audit from "@makima-stream/test-kit/Audit"
import type * as ServerLog from "@makima-stream/test-kit/ServerLog"
import { assert, describe, it } from "@effect/vitest"
import * as Arbitrary from "effect/Arbitrary"
import * as Schema from "effect/Schema"

const a = TaskId.make("a")
const b = TaskId.make("b")

const update = (version: number, taskId = a) => ({ _tag: "TaskUpdated", taskId, version }) as const
const output = (content: string) => ({ _tag: "TaskOutput", taskId: a, messageType: "assistant", content }) as const

const connected = (epoch: number): MeshEvent.MeshEvent => ({ _tag: "Connected", epoch, at: 0 })
/** A first connection and its confirmation. */
const started = (epoch: number) => [connected(epoch), resync(epoch, { _tag: "Started" })]
const resync = (epoch: number, reason: MeshEvent.ResyncReason = { _tag: "Reconnected", downMillis: 1 }) =>
  ({ _tag: "Resync", epoch, reason }) as const
const disconnected = (
  epoch: number,
  reason: MeshError.ConnectionReason = new MeshError.ConnectionLost({})
): MeshEvent.MeshEvent => ({ _tag: "Disconnected", epoch, opened: true, attempt: 1, reason, retryInMillis: 1, at: 0 })
const badFrame = (epoch: number) =>
  resync(epoch, {
    _tag: "BadFrame",
    error: new DecodeError.DecodeError({ problem: "InvalidJson", path: [], expected: "one JSON object", size: 1 })
  })

type Bare = ServerLog.Entry extends infer E ? (E extends ServerLog.Entry ? Omit<E, "seq" | "at"> : never) : never

const opened = (connection: number): Bare => ({ _tag: "Opened", connection })
/** A request that the server handles and acknowledges. */
const asked = (
  connection: number,
  message: ClientMessage.ClientMessage = { _tag: "SubscribeAll" }
): ReadonlyArray<Bare> => [
  { _tag: "Received", connection, message },
  sent(
    connection,
    0,
    message._tag === "SubscribeAll"
      ? { _tag: "SubscribedAll" }
      : { _tag: message._tag === "Subscribe" ? "Subscribed" : "OutputSubscribed" }
  )
]
const sent = (connection: number, emission: number, message: ServerMessage.ServerMessage, delivered = true): Bare => ({
  _tag: "Sent",
  connection,
  emission,
  message,
  as: "text",
  delivered
})
const raw = (connection: number, emission: number, raw: string | Uint8Array): Bare => ({
  _tag: "SentRaw",
  connection,
  emission,
  raw,
  as: "text",
  delivered: true
})
const unheard = (emission: number, message: ServerMessage.ServerMessage): Bare => ({
  _tag: "Unheard",
  emission,
  message
})
const killed = (connection: number): Bare => ({ _tag: "Killed", connection })
const frozen = (connection: number): Bare => ({ _tag: "Frozen", connection })
const closed = (connection: number, by: "client" | "server", code = 1001): Bare => ({
  _tag: "Closed",
  connection,
  by,
  code,
  reason: ""
})

const stamp = (entries: ReadonlyArray<Bare>): ServerLog.ServerLog =>
  entries.map((entry, index): ServerLog.Entry => ({ ...entry, seq: index + 1, at: 0 }))

const audit = (
  entries: ReadonlyArray<Bare>,
  events: ReadonlyArray<MeshEvent.MeshEvent>,
  options?: Audit.Options
): Audit.Report => Audit.compare(stamp(entries), events, options)

const nothing: Audit.Report = {
  lostWhileConnected: 0,
  duplicates: 0,
  outOfOrder: 0,
  unexpected: 0,
  unmarkedGaps: 0,
  unmarkedConnections: 0,
  unreported: 0,
  unheard: 0,
  missedWhileAway: 0,
  inFlight: 0,
  sent: 0,
  received: 0,
  epochs: 0
}

/** One connection on which the updates 1 to `count` were sent. */
const connection = (count: number): ReadonlyArray<Bare> => [
  opened(1),
  ...asked(1),
  ...Array.from({ length: count }, (_, index) => sent(1, index + 1, update(index + 1)))
]

const Step = Schema.Struct({
  step: Schema.Literals(["emit", "read", "dial", "kill", "close", "freeze", "giveUp", "garbage"]),
  count: Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 4 }))
})

type Step = typeof Step.Type

/** Whatever happens in between, a run begins with messages that are seen, and ends with others on a new connection. */
const Run = Arbitrary.map(
  Arbitrary.schema(Schema.Array(Step).check(Schema.isMinLength(20), Schema.isMaxLength(60))),
  (steps): ReadonlyArray<Step> => [
    { step: "dial", count: 1 },
    { step: "emit", count: 4 },
    { step: "read", count: 3 },
    ...steps,
    { step: "kill", count: 1 },
    { step: "emit", count: 1 },
    { step: "dial", count: 1 },
    { step: "emit", count: 3 },
    { step: "read", count: 2 }
  ]
)

/**
 * A server and a consumer that keeps its promises, as a model: what the server
 * writes is on its way until the consumer reads it, or the connection is cut.
 */
const simulate = (steps: ReadonlyArray<Step>) => {
  const log: Array<Bare> = []
  const events: Array<MeshEvent.MeshEvent> = []
  const expected = { missedWhileAway: 0, inFlight: 0, received: 0 }
  let emission = 0
  let id = 0
  let current: { frozen: boolean; way: Array<"bad" | ReturnType<typeof update>>; held: number } | undefined
  // Connections that the consumer has given up and the server has not.
  const abandoned: Array<number> = []
  let away = 0
  /** What was missed before each epoch. */
  const missedBefore = new Map<number, number>()

  const read = (count: number) => {
    for (const frame of current?.way.splice(0, count) ?? []) {
      events.push(frame === "bad" ? badFrame(id) : frame)
      if (frame !== "bad") expected.received++
    }
  }
  const end = (reason?: MeshError.ConnectionReason) => {
    away += (current?.held ?? 0) + (current?.way.filter((frame) => frame !== "bad").length ?? 0)
    events.push(disconnected(id, reason))
    current = undefined
  }

  for (const { step, count } of steps) {
    if (step === "emit") {
      for (let i = 0; i < count; i++) {
        const message = update(++emission)
        for (const connection of abandoned) log.push(sent(connection, emission, message, false))
        if (current !== undefined) {
          log.push(sent(id, emission, message, !current.frozen))
          if (current.frozen) current.held++
          else current.way.push(message)
        } else {
          if (abandoned.length === 0) log.push(unheard(emission, message))
          if (id > 0) away++
        }
      }
    } else if (step === "dial") {
      if (current !== undefined) continue
      current = { frozen: false, way: [], held: 0 }
      id++
      log.push(opened(id), ...asked(id))
      events.push(connected(id))
      events.push(id > 1 ? resync(id) : resync(id, { _tag: "Started" }))
      expected.missedWhileAway += away
      missedBefore.set(id, away)
      away = 0
      // By now the server notices that the others are gone.
      for (const connection of abandoned.splice(0, count % 2)) log.push(killed(connection))
    } else if (current !== undefined) {
      switch (step) {
        case "read":
          read(count)
          break
        case "garbage":
          if (current.frozen) break
          log.push(raw(id, ++emission, "{"))
          current.way.push("bad")
          break
        case "kill":
          log.push(killed(id))
          end()
          break
        case "close":
          if (current.frozen) break
          log.push(closed(id, "server", 1012))
          read(Number.POSITIVE_INFINITY)
          end(new MeshError.ConnectionClosed({ code: 1012 }))
          break
        case "freeze":
          log.push(frozen(id))
          current.frozen = true
          break
        case "giveUp":
          if (!current.frozen) break
          // What was sent before the freeze still arrives.
          read(Number.POSITIVE_INFINITY)
          abandoned.push(id)
          end(new MeshError.HeartbeatTimeout({ deadlineMillis: 1 }))
      }
    }
  }
  if (current === undefined) {
    // No consumer followed what was emitted after the end.
    expected.inFlight = log.filter(
      (entry) => entry._tag === "Sent" && entry.connection === id && entry.message._tag === "TaskUpdated"
    ).length
    expected.inFlight -= events.slice(events.findLastIndex(({ _tag }) => _tag === "Connected")).filter(isData).length
    if (id === 0) expected.inFlight = 0
  } else {
    expected.inFlight = current.held + current.way.filter((frame) => frame !== "bad").length
  }
  return { log: stamp(log), events, expected, missedBefore }
}

const isData = (event: MeshEvent.MeshEvent | undefined): event is MeshEvent.Data =>
  event !== undefined && !MeshEvent.isLifecycle(event)

/** One of the places. A run always has some. */
const choose = (places: ReadonlyArray<number>, seed: number): number => {
  const place = places[seed % places.length]
  assert.isDefined(place)
  return place
}

describe("Audit", () => {
  describe("one connection", () => {
    it("a consumer that saw everything has nothing to answer for", () => {
      const report = audit(connection(3), [...started(1), update(1), update(2), update(3)])
      assert.deepStrictEqual(report, { ...nothing, sent: 3, received: 3, epochs: 1 })
      assert.isTrue(Audit.isClean(report))
    })

    it("what is missing in the middle is lost, and an unmarked gap", () => {
      const report = audit(connection(5), [...started(1), update(1), update(4), update(5)])
      assert.deepStrictEqual(report, {
        ...nothing,
        sent: 5,
        received: 3,
        epochs: 1,
        lostWhileConnected: 2,
        unmarkedGaps: 2
      })
      assert.isFalse(Audit.isClean(report))
    })

    it("what is missing at the head is lost", () => {
      assert.strictEqual(audit(connection(3), [...started(1), update(2), update(3)]).lostWhileConnected, 1)
    })

    it("a mark between the neighbours makes a loss a marked one, and no less a loss", () => {
      const overflow = resync(1, { _tag: "Overflow", dropped: 2 })
      const marked = audit(connection(5), [...started(1), update(1), overflow, update(4), update(5)])
      assert.deepStrictEqual([marked.lostWhileConnected, marked.unmarkedGaps], [2, 0])
      const elsewhere = audit(connection(5), [...started(1), update(1), update(4), overflow, update(5)])
      assert.deepStrictEqual([elsewhere.lostWhileConnected, elsewhere.unmarkedGaps], [2, 2])
    })

    it("what is seen twice is a duplicate", () => {
      const report = audit(connection(3), [...started(1), update(1), update(2), update(2), update(3), update(1)])
      assert.deepStrictEqual(report, { ...nothing, sent: 3, received: 5, epochs: 1, duplicates: 2 })
    })

    it("what comes after a later one is out of order, and not lost", () => {
      const report = audit(connection(4), [...started(1), update(1), update(3), update(2), update(4)])
      assert.deepStrictEqual(report, { ...nothing, sent: 4, received: 4, epochs: 1, outOfOrder: 1 })
    })

    it("what the server never sent is unexpected", () => {
      const report = audit(connection(2), [...started(1), update(1), update(9), update(2)])
      assert.deepStrictEqual(report, { ...nothing, sent: 2, received: 3, epochs: 1, unexpected: 1 })
      assert.strictEqual(audit([], [update(1)]).unexpected, 1)
    })

    it("what had not come when the run ended was in flight", () => {
      const report = audit(connection(4), [...started(1), update(1)])
      assert.deepStrictEqual(report, { ...nothing, sent: 4, received: 1, epochs: 1, inFlight: 3 })
      assert.isTrue(Audit.isClean(report))
    })

    it("equal messages are told apart by their order", () => {
      const log = [opened(1), ...["ok", "go", "ok", "ok"].map((text, index) => sent(1, index, output(text)))]
      const see = (...texts: ReadonlyArray<string>) => audit(log, [...started(1), ...texts.map(output)])
      assert.isTrue(Audit.isClean(see("ok", "go", "ok", "ok")))
      assert.strictEqual(see("ok", "ok", "ok").lostWhileConnected, 1)
      assert.strictEqual(see("ok", "go", "ok", "ok", "ok").duplicates, 1)
      const late = audit(
        ["ok", "ok", "go"].map((text, index) => sent(1, index, output(text))),
        [...started(1), ...["go", "ok", "ok"].map(output)]
      )
      assert.deepStrictEqual([late.outOfOrder, late.lostWhileConnected, late.unexpected], [2, 0, 0])
    })

    it("the order of members, and absence spelled as null, make no difference", () => {
      const log = [
        opened(1),
        sent(1, 1, { ...output("x"), toolInput: { b: [1, { d: null, c: 2 }], a: "1" } }),
        raw(1, 2, `{"taskId":"a","version":null,"status":"running","type":"taskUpdated"}`),
        raw(1, 3, new TextEncoder().encode(`{"type":"taskArchived","z":1,"y":2}`))
      ]
      const report = audit(log, [
        ...started(1),
        { ...output("x"), toolInput: { a: "1", b: [1, { c: 2, d: null }] } },
        { _tag: "TaskUpdated", taskId: a, status: "running" },
        { _tag: "UnknownMessage", raw: { y: 2, type: "taskArchived", z: 1 } }
      ])
      assert.deepStrictEqual(report, { ...nothing, sent: 3, received: 3, epochs: 1 })
    })

    it("messages that differ in one member are different messages", () => {
      const variants: ReadonlyArray<MeshEvent.Data> = [
        update(1),
        update(2),
        update(1, b),
        { ...update(1), status: "done" },
        { ...update(1), updatedBy: "done" },
        { ...update(1), updatedFields: [] },
        { ...update(1), updatedFields: ["status"] },
        output("x"),
        { ...output("x"), messageType: "system" },
        { ...output("x"), toolName: "Bash" },
        { ...output("x"), toolInput: {} },
        { ...output("x"), toolInput: [] },
        { ...output("x"), toolInput: "{}" },
        { ...output("x"), toolInput: { a: 1 } },
        { ...output("x"), toolInput: [["a", 1]] },
        { ...output("x"), isError: false },
        { ...output("x"), isPartial: false },
        { ...output("x"), costUsd: 1 },
        { ...output("x"), durationMs: 1 },
        { _tag: "ServerError", code: "a", message: "b" },
        { _tag: "ServerError", code: "b", message: "a" },
        { _tag: "UnknownMessage", raw: { type: "x" } },
        { _tag: "UnknownMessage", raw: { type: "x", y: 1 } }
      ]
      for (const [index, variant] of variants.entries()) {
        for (const [other, event] of variants.entries()) {
          const { unexpected } = audit([opened(1), sent(1, 1, variant)], [...started(1), event])
          assert.strictEqual(unexpected, index === other ? 0 : 1, `${index} and ${other}`)
        }
      }
    })

    it("a frame that is no message must be marked in its place", () => {
      const log = [
        opened(1),
        ...asked(1),
        sent(1, 1, update(1)),
        raw(1, 2, "{"),
        sent(1, 3, update(2)),
        sent(1, 4, update(3))
      ]
      const good = audit(log, [...started(1), update(1), badFrame(1), update(2), update(3)])
      assert.deepStrictEqual(good, { ...nothing, sent: 3, received: 3, epochs: 1 })
      const silent = audit(log, [...started(1), update(1), update(2), update(3)])
      assert.deepStrictEqual([silent.unmarkedGaps, silent.lostWhileConnected], [1, 0])
      const misplaced = audit(log, [...started(1), update(1), update(2), badFrame(1), update(3)])
      assert.deepStrictEqual([misplaced.unmarkedGaps, misplaced.lostWhileConnected], [1, 0])
    })

    it("the mark of a bad frame excuses nothing that is missing next to it", () => {
      const log = [
        opened(1),
        ...asked(1),
        sent(1, 1, update(1)),
        raw(1, 2, "{"),
        sent(1, 3, update(2)),
        sent(1, 4, update(3))
      ]
      const report = audit(log, [...started(1), update(1), badFrame(1), update(3)])
      assert.deepStrictEqual([report.unmarkedGaps, report.lostWhileConnected], [1, 1])
    })

    it("each frame that is no message needs a mark of its own, or one for everything", () => {
      const log = [opened(1), ...asked(1), raw(1, 1, "{"), raw(1, 2, "{"), sent(1, 3, update(1))]
      const gaps = (...marks: ReadonlyArray<MeshEvent.MeshEvent>) =>
        audit(log, [...started(1), ...marks, update(1)]).unmarkedGaps
      assert.deepStrictEqual([gaps(), gaps(badFrame(1)), gaps(badFrame(1), badFrame(1))], [2, 1, 0])
      assert.strictEqual(gaps(resync(1, { _tag: "Overflow", dropped: 2 })), 0)
    })
  })

  describe("reconnects", () => {
    const twoConnections = [
      ...connection(3),
      killed(1),
      unheard(4, update(4)),
      unheard(5, update(5)),
      opened(2),
      ...asked(2),
      sent(2, 6, update(6))
    ]

    it("the tail of a cut connection and what was emitted while no one was connected may be missed, if a mark says so", () => {
      const report = audit(twoConnections, [
        ...started(1),
        update(1),
        update(2),
        disconnected(1),
        connected(2),
        resync(2),
        update(6)
      ])
      assert.deepStrictEqual(report, { ...nothing, sent: 4, received: 3, epochs: 2, missedWhileAway: 3 })
      assert.isTrue(Audit.isClean(report))
    })

    it("are told in a line whose counts add up, though some of them were never sent", () => {
      const report = audit(twoConnections, [
        ...started(1),
        update(1),
        update(2),
        update(2),
        disconnected(1),
        connected(2),
        resync(2),
        update(6)
      ])
      assert.strictEqual(
        Audit.format(report),
        "Of 6 messages 3 arrived, 3 were missed while away, 0 were unheard, 0 were in flight at the end, 0 were lost while connected; " +
          "1 came twice, 0 out of order, 0 unexpected; " +
          "0 missing messages and 0 connections were not marked, 0 connections were not reported."
      )
    })

    it("without a mark each of them is an unmarked gap", () => {
      const report = audit(twoConnections, [
        ...started(1),
        update(1),
        update(2),
        disconnected(1),
        connected(2),
        update(6)
      ])
      assert.deepStrictEqual(report, {
        ...nothing,
        sent: 4,
        received: 3,
        epochs: 2,
        missedWhileAway: 3,
        unmarkedGaps: 3,
        unmarkedConnections: 1
      })
      assert.isFalse(Audit.isClean(report))
    })

    it("a mark that comes after the next event comes too late", () => {
      const events = [...started(1), update(1), disconnected(1), connected(2), update(6), resync(2)]
      assert.strictEqual(audit(twoConnections, events).unmarkedGaps, 4)
    })

    it("a mark of a bad frame, or of one task, does not mark a reconnect", () => {
      const log = [...twoConnections.slice(0, -1), raw(2, 7, "{"), sent(2, 8, update(6))]
      const reports = [
        badFrame(2),
        { ...resync(2, { _tag: "VersionGap", lastVersion: 1, version: 6 }), taskId: a }
      ].map((mark) => audit(log, [...started(1), update(1), disconnected(1), connected(2), mark, update(6)]))
      assert.deepStrictEqual(
        reports.map(({ unmarkedConnections }) => unmarkedConnections),
        [1, 1]
      )
    })

    it("a reconnect without a mark is a fault where nothing was missed, too", () => {
      const log = [...connection(1), killed(1), opened(2), ...asked(2), sent(2, 2, update(2))]
      const report = audit(log, [...started(1), update(1), disconnected(1), connected(2), update(2)])
      assert.deepStrictEqual([report.unmarkedConnections, report.unmarkedGaps], [1, 0])
    })

    it("a reconnect that nothing followed is not judged", () => {
      const events = [...started(1), update(1), disconnected(1), connected(2)]
      assert.isTrue(Audit.isClean(audit(twoConnections, events)))
    })

    it("only what the consumer had asked for can be missed", () => {
      const log = [
        opened(1),
        ...asked(1, { _tag: "Subscribe", taskId: a }),
        killed(1),
        unheard(1, update(1)),
        unheard(2, update(1, b)),
        unheard(3, output("x")),
        opened(2),
        ...asked(2, { _tag: "Subscribe", taskId: a })
      ]
      assert.strictEqual(audit(log, [...started(1), disconnected(1), connected(2), resync(2)]).missedWhileAway, 1)
    })

    it("what is said between the handshake and the first request is missed", () => {
      const log = [...connection(1), killed(1), opened(2), unheard(2, update(2)), ...asked(2), sent(2, 3, update(3))]
      const events = [...started(1), update(1), disconnected(1), connected(2), resync(2), update(3)]
      assert.strictEqual(audit(log, events).missedWhileAway, 1)
    })

    it("what is not sent after the first request was not asked for", () => {
      const log = [...connection(1), killed(1), opened(2), ...asked(2, { _tag: "Subscribe", taskId: b })]
      log.push(unheard(2, update(2)), ...asked(2))
      const events = [...started(1), update(1), disconnected(1), connected(2), resync(2)]
      assert.strictEqual(audit(log, events).missedWhileAway, 0)
    })

    it("what went to others while the consumer was away is missed once", () => {
      const log = [
        opened(1),
        ...asked(1),
        opened(2),
        ...asked(2),
        opened(3),
        ...asked(3),
        killed(1),
        sent(2, 1, update(1)),
        sent(3, 1, update(1)),
        opened(4),
        ...asked(4)
      ]
      const report = audit(log, [...started(1), disconnected(1), connected(2), resync(2)], {
        connectionOf: (epoch) => (epoch === 1 ? 1 : 4)
      })
      assert.strictEqual(report.missedWhileAway, 1)
    })

    it("what is held back on a frozen connection and comes on the next one is not missed", () => {
      const log = [
        ...connection(1),
        frozen(1),
        sent(1, 2, update(2), false),
        opened(2),
        ...asked(2),
        sent(1, 3, update(3), false),
        sent(2, 3, update(3)),
        killed(1),
        sent(2, 4, update(4))
      ]
      const report = audit(log, [
        ...started(1),
        update(1),
        disconnected(1, new MeshError.HeartbeatTimeout({ deadlineMillis: 1 })),
        connected(2),
        resync(2),
        update(3),
        update(4)
      ])
      assert.deepStrictEqual([report.missedWhileAway, Audit.isClean(report)], [1, true])
    })

    it("what the next connection got before it asked for anything is not missed", () => {
      const notice = (message: string) => ({ _tag: "ServerError", code: "NOTICE", message }) as const
      const log = [
        ...connection(1),
        frozen(1),
        opened(2),
        sent(1, 2, notice("both"), false),
        sent(2, 2, notice("both")),
        killed(1),
        sent(2, 3, notice("second")),
        ...asked(2)
      ]
      const events = [
        ...started(1),
        update(1),
        disconnected(1),
        connected(2),
        resync(2),
        notice("both"),
        notice("second")
      ]
      assert.deepStrictEqual(audit(log, events), { ...nothing, sent: 4, received: 3, epochs: 2 })
    })

    it("a connection that asked for nothing leaves the consumer wanting what it wanted before", () => {
      const log = [
        ...connection(1),
        killed(1),
        opened(2),
        unheard(2, update(2)),
        killed(2),
        unheard(3, update(3)),
        opened(3),
        ...asked(3)
      ]
      const report = audit(log, [
        ...started(1),
        update(1),
        disconnected(1),
        connected(2),
        resync(2),
        disconnected(2),
        connected(3),
        resync(3)
      ])
      assert.strictEqual(report.missedWhileAway, 2)
    })

    for (const [name, fault] of [
      ["killed", [killed(1)]],
      ["closed by the server", [closed(1, "server")]]
    ] as const) {
      it(`the tail of a connection that was ${name} may be missing`, () => {
        const log = [...connection(3), ...fault, opened(2), ...asked(2), sent(2, 10, update(10))]
        const report = audit(log, [...started(1), update(1), disconnected(1), connected(2), resync(2), update(10)])
        assert.deepStrictEqual([report.lostWhileConnected, report.missedWhileAway], [0, 2])
      })
    }

    for (const [name, fault] of [
      ["a freeze", frozen(1)],
      ["a frame that is no message", raw(1, 9, "{")]
    ] as const) {
      it(`${name} excuses only what comes after it`, () => {
        const end = [closed(1, "client"), opened(2), ...asked(2), sent(2, 10, update(10))]
        const log = [...connection(2), fault, sent(1, 4, update(4)), ...end]
        const report = audit(log, [...started(1), update(1), disconnected(1), connected(2), resync(2), update(10)])
        assert.deepStrictEqual([report.lostWhileConnected, report.missedWhileAway], [1, 1])
      })
    }

    it("the tail of a connection that the client ended for no reason may not", () => {
      const log = [...connection(3), closed(1, "client"), opened(2), ...asked(2), sent(2, 10, update(10))]
      const events = [...started(1), update(1), disconnected(1), connected(2), resync(2), update(10)]
      assert.strictEqual(audit(log, events).lostWhileConnected, 2)
    })

    it("who saw the server's close frame must have seen everything before it", () => {
      const log = [...connection(3), closed(1, "server", 4000)]
      const events = [...started(1), update(1), disconnected(1, new MeshError.ConnectionClosed({ code: 4000 }))]
      assert.strictEqual(audit(log, events).lostWhileConnected, 2)
      const next = [opened(2), ...asked(2), sent(2, 9, update(9))]
      const refused: MeshEvent.MeshEvent = {
        _tag: "Disconnected",
        epoch: 1,
        opened: false,
        attempt: 2,
        reason: new MeshError.ConnectionClosed({ code: 1000 }),
        at: 0
      }
      assert.strictEqual(
        audit([...log, ...next], [...events, refused, connected(2), resync(2), update(9)]).lostWhileConnected,
        2
      )
      const other = [...started(1), update(1), disconnected(1, new MeshError.ConnectionClosed({ code: 1006 }))]
      assert.strictEqual(audit(log, other).inFlight, 2)
    })

    it("a straggler of an earlier connection is out of order, a repeated one a duplicate", () => {
      const start = [...started(1), update(1), disconnected(1), connected(2), resync(2)]
      const late = audit(twoConnections, [...start, update(3), update(6)])
      assert.deepStrictEqual([late.outOfOrder, late.duplicates, late.missedWhileAway], [1, 0, 3])
      const hole = [...started(1), update(1), update(3), disconnected(1), connected(2), resync(2), update(2), update(6)]
      const filled = audit(twoConnections, hole)
      assert.deepStrictEqual([filled.outOfOrder, filled.lostWhileConnected, filled.unexpected], [1, 0, 0])
      const twice = audit(twoConnections, [...start, update(1), update(6)])
      assert.deepStrictEqual([twice.outOfOrder, twice.duplicates], [0, 1])
    })

    it("a connection that the server counted and the consumer never had is left out by time", () => {
      const log = stamp([
        ...connection(1),
        killed(1),
        opened(2),
        killed(2),
        opened(3),
        ...asked(3),
        sent(3, 2, update(2))
      ])
      const timed = log.map((entry) => ({ ...entry, at: entry.seq }))
      const events: ReadonlyArray<MeshEvent.MeshEvent> = [
        { _tag: "Connected", epoch: 1, at: 1 },
        resync(1, { _tag: "Started" }),
        update(1),
        disconnected(1),
        { _tag: "Connected", epoch: 2, at: 9 } as const,
        resync(2),
        update(2)
      ]
      assert.strictEqual(Audit.compare(timed, events).unexpected, 1)
      const connectionOf = Audit.connectionsByTime(timed, events)
      assert.deepStrictEqual([connectionOf(1), connectionOf(2), connectionOf(3)], [1, 3, undefined])
      assert.isTrue(Audit.isClean(Audit.compare(timed, events, { connectionOf })))
    })
  })

  describe("a shared connection", () => {
    it("a late joiner need not have seen what came before", () => {
      const late = resync(1, { _tag: "JoinedLate" })
      const report = audit(connection(4), [late, update(3), update(4)])
      assert.deepStrictEqual(report, { ...nothing, sent: 4, received: 2, epochs: 1 })
      assert.strictEqual(audit(connection(4), [late, update(2), update(4)]).lostWhileConnected, 1)
      assert.strictEqual(audit(connection(4), [late]).inFlight, 0)
    })

    it("a consumer answers only for what it asked for", () => {
      const log = [opened(1), ...asked(1), sent(1, 1, update(1)), sent(1, 2, update(1, b)), sent(1, 3, update(2))]
      const events = [...started(1), update(1), update(2)]
      assert.strictEqual(audit(log, events).lostWhileConnected, 1)
      const only = (message: MeshEvent.Data) => "taskId" in message && message.taskId === a
      assert.deepStrictEqual(audit(log, events, { only }), { ...nothing, sent: 2, received: 2, epochs: 1 })
      const away = [...log, killed(1), unheard(4, update(2, b)), unheard(5, update(3)), opened(2), ...asked(2)]
      const report = audit(away, [...events, disconnected(1), connected(2), resync(2)], { only })
      assert.strictEqual(report.missedWhileAway, 1)
    })
  })

  describe("marks", () => {
    const subscribed = (taskId: TaskId.TaskId, kind: "updates" | "output", unconfirmed?: number) =>
      ({
        ...resync(1, { _tag: "Subscribed", kind }),
        taskId,
        ...(unconfirmed === undefined ? {} : { unconfirmed })
      }) as const
    const ofOutput = { _tag: "SubscribeOutput", taskId: a } as const

    /** Task a is discovered; its output x is sent to no one, because the request has not arrived yet. */
    const discovery: ReadonlyArray<Bare> = [
      ...connection(1),
      sent(1, 2, update(1, b)),
      unheard(3, output("x")),
      ...asked(1, ofOutput),
      sent(1, 4, output("y"))
    ]
    const discover = (...events: ReadonlyArray<MeshEvent.MeshEvent>): Audit.Report =>
      audit(discovery, [...started(1), update(1), ...events], { wants: Audit.everything() })

    it("count an output that was sent to no one, and accept a mark at the confirmation", () => {
      const report = discover(update(1, b), subscribed(a, "output"), output("y"))
      assert.deepStrictEqual(report, { ...nothing, sent: 3, received: 3, epochs: 1, unheard: 1 })
      assert.isTrue(Audit.isClean(report))
    })

    it("find an output that was sent to no one and is not marked", () => {
      const report = discover(update(1, b), output("y"))
      assert.deepStrictEqual([report.unheard, report.unmarkedGaps], [1, 1])
    })

    it("find a mark that stands at the request, before what was sent to no one", () => {
      const report = discover(subscribed(a, "output"), update(1, b), output("y"))
      assert.deepStrictEqual([report.unheard, report.unmarkedGaps], [1, 1])
    })

    it("excuse only the task and the kind that they name", () => {
      for (const mark of [subscribed(b, "output"), subscribed(a, "updates")]) {
        assert.strictEqual(discover(update(1, b), mark, output("y")).unmarkedGaps, 1)
      }
    })

    it("want no output of a task before its first update, or after its end", () => {
      const log = [
        ...connection(1),
        unheard(2, { ...output("x"), taskId: b }),
        sent(1, 3, { ...update(2), status: "done" }),
        unheard(4, output("y"))
      ]
      const events = [...started(1), update(1), { ...update(2), status: "done" }]
      assert.strictEqual(audit(log, events, { wants: Audit.everything() }).unheard, 0)
    })

    it("claim no output that was given up after the end of its task, and until then all of it", () => {
      const history = (status: string): ReadonlyArray<Bare> => [
        ...connection(1),
        ...asked(1, ofOutput),
        sent(1, 2, { ...update(2), status }),
        { _tag: "Received", connection: 1, message: { _tag: "UnsubscribeOutput", taskId: a } },
        sent(1, 0, { _tag: "OutputUnsubscribed" }),
        sent(1, 3, update(3)),
        unheard(4, output("x")),
        sent(1, 5, update(4)),
        ...asked(1, ofOutput),
        sent(1, 6, output("y"))
      ]
      const see = (status: string, ...last: ReadonlyArray<MeshEvent.MeshEvent>) => {
        const ended = { ...update(2), status }
        const events = [...started(1), update(1), subscribed(a, "output"), ended, update(3), update(4), ...last]
        const { unheard, unmarkedGaps } = audit(history(status), events, { wants: Audit.everything() })
        return { unheard, unmarkedGaps }
      }
      const mark = subscribed(a, "output")
      assert.deepStrictEqual(see("done", mark, output("y")), { unheard: 1, unmarkedGaps: 0 })
      assert.deepStrictEqual(see("done", output("y")), { unheard: 1, unmarkedGaps: 1 })
      // A task that has not ended is followed, so nothing excuses the hole.
      assert.deepStrictEqual(see("running", mark, output("y")), { unheard: 1, unmarkedGaps: 1 })
    })

    it("may come after events of a request that is acknowledged late", () => {
      const log: ReadonlyArray<Bare> = [
        ...connection(1),
        unheard(2, output("x")),
        { _tag: "Received", connection: 1, message: ofOutput },
        sent(1, 3, output("y")),
        sent(1, 4, { _tag: "OutputSubscribed" }),
        sent(1, 5, output("z"))
      ]
      const wants = { wants: Audit.everything() }
      const see = (...events: ReadonlyArray<MeshEvent.MeshEvent>) =>
        audit(log, [...started(1), update(1), ...events], { wants: Audit.everything() })
      assert.isTrue(Audit.isClean(see(output("y"), subscribed(a, "output"), output("z"))))
      assert.strictEqual(see(output("y"), output("z"), subscribed(a, "output")).unmarkedGaps, 1)
      // Without an acknowledgement there is no place by which a mark is due.
      const silent = log.filter((entry) => entry._tag !== "Sent" || entry.message._tag !== "OutputSubscribed")
      assert.isTrue(Audit.isClean(audit(silent, [...started(1), update(1), output("y"), output("z")], wants)))
    })

    it("excuse nothing before the previous mark", () => {
      const log = [...connection(1), sent(1, 2, update(2)), sent(1, 3, update(1, b)), sent(1, 4, update(3))]
      const overflow = resync(1, { _tag: "Overflow", dropped: 1 })
      const gaps = (...events: ReadonlyArray<MeshEvent.MeshEvent>) =>
        audit(log, [...started(1), update(1), ...events]).unmarkedGaps
      assert.strictEqual(gaps(overflow, update(1, b), update(3)), 0)
      assert.strictEqual(gaps(update(1, b), overflow, update(3)), 1)
    })

    it("claim nothing for keys that they leave unconfirmed", () => {
      const log: ReadonlyArray<Bare> = [
        ...connection(1),
        { _tag: "Received", connection: 1, message: ofOutput },
        ...["w", "x", "y"].map((text, index) => sent(1, 2 + index, output(text)))
      ]
      const see = (mark: MeshEvent.MeshEvent) =>
        audit(log, [...started(1), update(1), mark, output("w"), output("y")]).unmarkedGaps
      assert.deepStrictEqual([see(subscribed(a, "output")), see(subscribed(a, "output", 1))], [1, 0])
    })

    it("are due on a connection that nothing was lost on, the first included", () => {
      assert.strictEqual(audit(connection(1), [connected(1), update(1)]).unmarkedConnections, 1)
    })

    it("excuse holes before the first one of a connection", () => {
      const log: ReadonlyArray<Bare> = [
        opened(1),
        { _tag: "Received", connection: 1, message: { _tag: "SubscribeAll" } },
        ...[1, 2, 3].map((version) => sent(1, version, update(version))),
        sent(1, 4, { _tag: "SubscribedAll" }),
        sent(1, 5, update(5)),
        sent(1, 6, update(6))
      ]
      const mark = resync(1, { _tag: "Started" })
      const report = audit(log, [connected(1), update(1), update(3), mark, update(5), update(6)])
      assert.deepStrictEqual(report, { ...nothing, sent: 5, received: 4, epochs: 1, missedWhileAway: 1 })
      const after = audit(log, [connected(1), update(1), update(2), update(3), mark, update(6)])
      assert.deepStrictEqual([after.lostWhileConnected, after.unmarkedGaps], [1, 1])
    })

    it("cover each key of a replay until the server handles its request", () => {
      const log: ReadonlyArray<Bare> = [
        ...connection(1),
        ...asked(1, ofOutput),
        killed(1),
        opened(2),
        ...asked(2),
        unheard(4, output("x")),
        ...asked(2, ofOutput),
        sent(2, 5, output("y"))
      ]
      const events = [...started(1), update(1), disconnected(1), connected(2)]
      const report = audit(log, [...events, resync(2), output("y")])
      assert.deepStrictEqual([report.unheard, report.unmarkedGaps, Audit.isClean(report)], [1, 0, true])
      assert.strictEqual(audit(log, [...events, output("y")]).unmarkedGaps, 1)
    })
  })

  describe("connections that the consumer did not report", () => {
    it("are faults if something was requested on them", () => {
      const report = audit(connection(3), [])
      assert.deepStrictEqual(report, { ...nothing, sent: 3, lostWhileConnected: 3, unreported: 1 })
      assert.isFalse(Audit.isClean(report))
      assert.isTrue(Audit.isClean(audit([opened(1), killed(1)], [])))
    })

    it("are none if they were cut and the consumer reported a failed attempt", () => {
      const log = [...connection(1), killed(1), opened(2), ...asked(2), killed(2), opened(3), ...asked(3)]
      const options = { connectionOf: (epoch: number) => (epoch === 1 ? 1 : 3) }
      const see = (...between: ReadonlyArray<MeshEvent.MeshEvent>) =>
        audit(log, [...started(1), update(1), disconnected(1), ...between, connected(2), resync(2)], options)
      assert.strictEqual(see().unreported, 1)
      const failed: MeshEvent.MeshEvent = {
        _tag: "Disconnected",
        epoch: 1,
        opened: false,
        attempt: 2,
        reason: new MeshError.ConnectionLost({}),
        retryInMillis: 1,
        at: 0
      }
      assert.strictEqual(see(failed).unreported, 0)
    })

    it("are none if they belong to another client, or ended before the consumer joined", () => {
      const log = [...connection(1), killed(1), opened(2), ...asked(2), sent(2, 9, update(9)), sent(2, 10, update(10))]
      const late = [resync(2, { _tag: "JoinedLate" }), update(9), update(10)]
      assert.isTrue(Audit.isClean(audit(log, late)))
      const own = { connections: (connection: number) => connection !== 2 }
      assert.isTrue(Audit.isClean(audit(log, [...started(1), update(1), disconnected(1)], own)))
    })
  })

  describe("a whole run", () => {
    it.prop("of a consumer that keeps its promises is clean, and adds up", [Run], ([steps]) => {
      const { log, events, expected } = simulate(steps)
      const report = Audit.compare(log, events)
      assert.isTrue(Audit.isClean(report))
      assert.deepStrictEqual(
        { missedWhileAway: report.missedWhileAway, inFlight: report.inFlight, received: report.received },
        expected
      )
    })

    it.prop("any one event that is taken away is noticed", [Run, Schema.Natural], ([steps, seed]) => {
      const { log, events } = simulate(steps)
      // The last of a connection cannot be told from a tail that was cut.
      const places = events.flatMap((event, place) =>
        isData(event) &&
        events.slice(place + 1).find((later) => isData(later) || later._tag === "Disconnected")?._tag === event._tag
          ? [place]
          : []
      )
      const place = choose(places, seed)
      const report = Audit.compare(log, events.toSpliced(place, 1))
      assert.strictEqual(report.lostWhileConnected, 1)
      assert.strictEqual(report.unmarkedGaps, 1)
      assert.deepStrictEqual([report.duplicates, report.outOfOrder, report.unexpected], [0, 0, 0])
    })

    it.prop("any one event that comes twice is noticed", [Run, Schema.Natural, Schema.Natural], ([steps, from, to]) => {
      const { log, events } = simulate(steps)
      const place = choose(
        events.flatMap((event, place) => (isData(event) ? [place] : [])),
        from
      )
      const report = Audit.compare(
        log,
        events.toSpliced(place + 1 + (to % (events.length - place)), 0, ...events.slice(place, place + 1))
      )
      assert.strictEqual(report.duplicates, 1)
      assert.deepStrictEqual([report.lostWhileConnected, report.outOfOrder, report.unexpected], [0, 0, 0])
    })

    it.prop("any two neighbours that change places are noticed", [Run, Schema.Natural], ([steps, seed]) => {
      const { log, events } = simulate(steps)
      const places = events.flatMap((event, place) => (isData(event) && isData(events[place + 1]) ? [place] : []))
      const place = choose(places, seed)
      const swapped = events.slice(place, place + 2).toReversed()
      const report = Audit.compare(log, events.toSpliced(place, 2, ...swapped))
      assert.strictEqual(report.outOfOrder, 1)
      assert.deepStrictEqual([report.lostWhileConnected, report.duplicates, report.unexpected], [0, 0, 0])
    })

    it.prop("any one mark that is taken away is noticed", [Run, Schema.Natural], ([steps, seed]) => {
      const { log, events, missedBefore } = simulate(steps)
      // A mark that no message follows is not judged, and a mark next to another says the same.
      const places = events.flatMap((event, place) =>
        event._tag === "Resync" && isData(events[place + 1]) && events[place - 1]?._tag !== "Resync" ? [place] : []
      )
      const place = choose(places, seed)
      const mark = events[place]
      const report = Audit.compare(log, events.toSpliced(place, 1))
      if (mark?._tag === "Resync" && mark.reason._tag === "BadFrame") {
        assert.deepStrictEqual([report.unmarkedGaps, report.unmarkedConnections], [1, 0])
      } else {
        assert.deepStrictEqual(
          [report.unmarkedGaps, report.unmarkedConnections],
          [missedBefore.get(mark?._tag === "Resync" ? mark.epoch : 0), 1]
        )
      }
      assert.deepStrictEqual([report.lostWhileConnected, report.duplicates, report.outOfOrder], [0, 0, 0])
    })
  })

  describe("isClean", () => {
    for (const count of [
      "lostWhileConnected",
      "duplicates",
      "outOfOrder",
      "unexpected",
      "unmarkedGaps",
      "unmarkedConnections",
      "unreported"
    ] as const) {
      it(`is false for a single count of ${count}`, () => {
        assert.isFalse(Audit.isClean({ ...nothing, [count]: 1 }))
      })
    }
  })
})
