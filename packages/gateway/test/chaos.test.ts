import * as Interest from "@makima-stream/core/Interest"
import type { ServerMessage } from "@makima-stream/core/ServerMessage"
import * as Audit from "@makima-stream/test-kit/Audit"
import * as AuditLog from "./support/auditLog.ts"
import * as TaskId from "@makima-stream/core/TaskId"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import type * as Gateway from "../src/Gateway.ts"
import * as Reading from "./support/reading.ts"
import { judge, type Seen, type Sequence } from "./support/judge.ts"
import { make, rest, said, turn, until, updated } from "./support/world.ts"

const tasks = ["a", "b", "c"]

interface Options {
  readonly marks: boolean
  readonly cuts: "upstream" | "downstream" | "both" | "none"
  /** Whether the client stops reading again and again, each time until the gateway notices. */
  readonly slow: boolean
}

const run = ({ cuts, marks, slow }: Options) =>
  Effect.gen(function* () {
    const { client, downstream, gateway, server, upstream } = yield* make(slow ? { maxBufferedBytes: 200_000 } : {})
    yield* upstream.shape({ latencyMillis: 7 })
    yield* downstream.shape({ latencyMillis: 11 })
    // What waits in the buffers of the operating system is no backlog of the gateway.
    const size = slow ? 20_000 : 0
    let sent = 0
    const emitted: Array<ServerMessage> = []
    const sequences = tasks.flatMap((task): ReadonlyArray<Sequence & { readonly numbers: Array<number> }> => [
      { kind: "updates", task, numbers: [] },
      { kind: "output", task, numbers: [] }
    ])
    const seen: Array<Seen> = []
    const reading = Reading.make(slow)
    const consumer = yield* client(marks, reading.opened)
    const interest = {
      all: true,
      updates: new Set<TaskId.TaskId>(),
      output: new Set(tasks.map((id) => TaskId.make(id)))
    }
    yield* consumer.events(interest).pipe(
      Stream.runForEach((event) => Effect.sync(() => seen.push({ event, sent }))),
      Effect.forkScoped
    )
    const emit = Effect.gen(function* () {
      const sequence = sequences[yield* Random.nextIntBetween(0, sequences.length - 1)]
      if (sequence === undefined) return
      sent++
      sequence.numbers.push(sent)
      const message =
        sequence.kind === "updates" ? updated(sequence.task, sent) : said(sequence.task, `${sent}`.padEnd(size))
      emitted.push(message)
      yield* server.emit(message)
    })
    /** Whether enough has happened to judge. How many events that takes depends on the machine. */
    const isEnough = (stats: Gateway.Stats): boolean => {
      if (slow) return (marks ? stats.dropped : stats.closedAsSlow) > 0
      const ends = seen.filter(({ event }) => event._tag === "Disconnected").length
      return ends > 3 && (marks || cuts !== "upstream" || stats.closedForGaps > 3)
    }
    for (let n = 0; n < 600 || (n < 20_000 && !isEnough(yield* gateway.stats)); n++) {
      yield* emit
      if ((yield* Random.next) < 0.3) yield* TestClock.adjust(3)
      yield* turn
      reading.step(yield* gateway.stats)
      const chance = yield* Random.next
      // A cut would end a backlog before the gateway notices it.
      if (!reading.isReading()) continue
      if (chance < 0.02 && (cuts === "upstream" || cuts === "both")) yield* upstream.kill()
      if (chance > 0.98 && (cuts === "downstream" || cuts === "both")) yield* downstream.kill()
    }
    reading.end()
    // The last cut has arrived everywhere.
    yield* rest
    yield* rest
    // Everything that was sent while nothing is open is missing, so the end is sent in a complete stretch.
    yield* until(() => {
      const place = seen.findLastIndex(({ event }) => event._tag === "Disconnected")
      return seen.slice(place + 1).some(({ event }) => event._tag === "Resync")
    })
    for (let n = 0; n < 100; n++) yield* emit
    yield* until(() =>
      sequences.every(({ kind, numbers, task }) =>
        seen.some(
          ({ event }) =>
            (event._tag === "TaskUpdated" && kind === "updates" && event.version === numbers.at(-1)) ||
            (event._tag === "TaskOutput" &&
              kind === "output" &&
              event.taskId === task &&
              Number(event.content) === numbers.at(-1))
        )
      )
    )
    const { events, log } = AuditLog.make(emitted, seen, Interest.replay(interest))
    return { report: Audit.compare(log, events), stats: yield* gateway.stats, wrong: judge(seen, sequences), seen }
  }).pipe(Effect.scoped, Random.withSeed(`${marks} ${cuts}`))

describe("a client of a gateway", () => {
  for (const marks of [true, false]) {
    for (const cuts of ["upstream", "downstream", "both"] as const) {
      it.effect(
        `${marks ? "with" : "without"} marks is complete, or knows where it is not, while connections are cut: ${cuts}`,
        () =>
          Effect.gen(function* () {
            const { report, seen, stats, wrong } = yield* run({ marks, cuts, slow: false })
            assert.deepStrictEqual(wrong, [])
            assert.isTrue(Audit.isClean(report), Audit.format(report))
            assert.isAbove(seen.filter(({ event }) => event._tag === "Disconnected").length, 3)
            if (marks) assert.strictEqual(stats.closedForGaps, 0)
            else if (cuts === "upstream") assert.isAbove(stats.closedForGaps, 3)
          })
      )
    }
    for (const cuts of ["none", "both"] as const) {
      it.effect(
        `${marks ? "with" : "without"} marks that is too slow knows what it has missed, while connections are cut: ${cuts}`,
        () =>
          Effect.gen(function* () {
            const { report, seen, stats, wrong } = yield* run({ marks, cuts, slow: true })
            assert.deepStrictEqual(wrong, [])
            // What the gateway has dropped counts as sent, because the audit sees one server.
            assert.isAtMost(report.lostWhileConnected, stats.dropped, Audit.format(report))
            assert.isTrue(Audit.isClean({ ...report, lostWhileConnected: 0 }), Audit.format(report))
            const overflows = seen.filter(({ event }) => event._tag === "Resync" && event.reason._tag === "Overflow")
            assert.isAbove(marks ? stats.dropped : stats.closedAsSlow, 0)
            // A cut can end the connection before its `Overflow` arrives. Then the mark of the next connection stands for it.
            if (marks && cuts === "none") {
              assert.isAbove(overflows.length, 0)
              assert.strictEqual(report.lostWhileConnected, stats.dropped)
            }
          })
      )
    }
  }
})
