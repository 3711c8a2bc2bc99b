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
import { judge, type Seen, type Sequence } from "./support/judge.ts"
import { make, rest, said, turn, until, updated } from "./support/world.ts"

const tasks = ["a", "b", "c"]

const run = (options: { readonly marks: boolean; readonly cuts: "upstream" | "downstream" | "both" }) =>
  Effect.gen(function* () {
    const { client, downstream, gateway, server, upstream } = yield* make()
    const { marks, cuts } = options
    yield* upstream.shape({ latencyMillis: 7 })
    yield* downstream.shape({ latencyMillis: 11 })
    let sent = 0
    const emitted: Array<ServerMessage> = []
    const sequences = tasks.flatMap((task): ReadonlyArray<Sequence & { readonly numbers: Array<number> }> => [
      { kind: "updates", task, numbers: [] },
      { kind: "output", task, numbers: [] }
    ])
    const seen: Array<Seen> = []
    const consumer = yield* client(marks)
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
      const message = sequence.kind === "updates" ? updated(sequence.task, sent) : said(sequence.task, `${sent}`)
      emitted.push(message)
      yield* server.emit(message)
    })
    for (let n = 0; n < 1500; n++) {
      yield* emit
      if ((yield* Random.next) < 0.3) yield* TestClock.adjust(3)
      yield* turn
      const chance = yield* Random.next
      if (chance < 0.01 && cuts !== "downstream") yield* upstream.kill()
      if (chance > 0.99 && cuts !== "upstream") yield* downstream.kill()
    }
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
              event.content === `${numbers.at(-1)}`)
        )
      )
    )
    const { events, log } = AuditLog.make(emitted, seen, Interest.replay(interest))
    return { report: Audit.compare(log, events), stats: yield* gateway.stats, wrong: judge(seen, sequences), seen }
  }).pipe(Effect.scoped, Random.withSeed(`${options.marks} ${options.cuts}`))

describe("a client of a gateway", () => {
  for (const marks of [true, false]) {
    for (const cuts of ["upstream", "downstream", "both"] as const) {
      it.effect(
        `${marks ? "with" : "without"} marks is complete, or knows where it is not, while connections are cut: ${cuts}`,
        () =>
          Effect.gen(function* () {
            const { report, seen, stats, wrong } = yield* run({ marks, cuts })
            assert.deepStrictEqual(wrong, [])
            assert.isTrue(Audit.isClean(report), Audit.format(report))
            assert.isAbove(seen.filter(({ event }) => event._tag === "Disconnected").length, 3)
            if (marks) assert.strictEqual(stats.closedForGaps, 0)
            else if (cuts === "upstream") assert.isAbove(stats.closedForGaps, 3)
          })
      )
    }
  }
})
