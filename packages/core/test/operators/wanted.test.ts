/**
 * Operators declare to the source which elements they drop, and the source does not
 * decode these. Consumers see no difference.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Arbitrary from "effect/Arbitrary"
import * as Effect from "effect/Effect"
import * as Metric from "effect/Metric"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { isReadonlyArrayNonEmpty } from "effect/Array"
import * as Socket from "effect/socket/Socket"
import * as Interest from "../../src/Interest.ts"
import type { MeshEvent } from "../../src/MeshEvent.ts"
import * as MeshClient from "../../src/MeshClient.ts"
import * as MeshStream from "../../src/MeshStream.ts"
import * as ServerMessage from "../../src/ServerMessage.ts"
import { assertSame } from "../support/assertSame.ts"
import { a, b, events } from "../support/events.ts"

type Feed = Stream.Stream<MeshEvent, unknown, Socket.Socket>

const filters: ReadonlyArray<(feed: Feed) => Feed> = [
  MeshStream.outputOnly,
  MeshStream.outputOnly({ keep: "resync" }),
  MeshStream.updatesOnly({ keep: "resync" }),
  MeshStream.serverErrors({ keep: "resync" }),
  MeshStream.dataOnly({ keep: "resync" }),
  MeshStream.lifecycleOnly,
  MeshStream.filterTask(a),
  MeshStream.filterTask([a, b]),
  MeshStream.filterTask([a, b], { keep: "resync" }),
  MeshStream.filterTask(a, { keep: "lifecycle" }),
  MeshStream.filterTask((taskId) => taskId !== a),
  MeshStream.filterStatus("running", { keep: "resync" }),
  MeshStream.filterMessageType("assistant", { keep: "resync" }),
  MeshStream.fieldsChanged("status", { keep: "resync", keepUnspecified: true })
]

const isData = Schema.is(ServerMessage.ServerMessage)

/** The frames of these events, in one batch after the other, and then the end of the connection. */
const socketOf = (batches: ReadonlyArray<ReadonlyArray<string>>) =>
  Effect.sync(() => {
    const left = batches.filter(isReadonlyArrayNonEmpty)
    return Socket.make({
      reader: Effect.succeed({
        pull: Effect.suspend(() => {
          const batch = left.shift()
          if (batch !== undefined) return Effect.succeed(batch)
          const reason = new Socket.SocketCloseError({ code: 1008, closeReason: undefined })
          return Effect.fail(new Socket.SocketError({ reason }))
        }),
        upgrade: Socket.SocketUpgradeError.unsupported
      }),
      writer: Effect.succeed({ write: () => Effect.void, writeAll: () => Effect.void })
    })
  })

/** The elements and the exit of a feed, and its metrics. */
const outcome = (batches: ReadonlyArray<ReadonlyArray<string>>, use: (feed: Feed) => Feed) =>
  Effect.gen(function* () {
    const seen: Array<MeshEvent> = []
    const feed = MeshStream.connect({ interest: Interest.all, maxBadFrames: 3, policy: { classify: () => "fail" } })
    const exit = yield* use(feed).pipe(
      Stream.runForEach((event) => Effect.sync(() => seen.push(event))),
      Effect.provideServiceEffect(Socket.Socket, socketOf(batches)),
      Effect.exit
    )
    const counted = (yield* Metric.snapshot).map(({ attributes, id, state }) => ({ id, attributes, state }))
    return { seen, exit, counted }
  }).pipe(Effect.provideService(Metric.MetricRegistry, new Map()))

/** The elements and the exit of a client's stream. */
const clientOutcome = (
  batches: ReadonlyArray<ReadonlyArray<string>>,
  streamOf: (client: MeshClient.MeshClient["Service"]) => Feed,
  use: (feed: Feed) => Feed
) =>
  Effect.gen(function* () {
    const seen: Array<MeshEvent> = []
    const client = yield* MeshClient.make({ maxBadFrames: 3, policy: { classify: () => "fail" } })
    const exit = yield* use(streamOf(client)).pipe(
      Stream.runForEach((event) => Effect.sync(() => seen.push(event))),
      Effect.exit
    )
    return { seen, exit }
  }).pipe(Effect.scoped, Effect.provideServiceEffect(Socket.Socket, socketOf(batches)))

/** Separates the operators from the source, so that they cannot declare anything to it. */
const screen = (feed: Feed): Feed => Stream.map(feed, (event) => event)

const pick = Arbitrary.schema(Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 1_000_000 })))

const numbers = (maxLength: number) => Arbitrary.array(pick, { maxLength })

const inputs: [typeof events, ReturnType<typeof numbers>, ReturnType<typeof numbers>] = [
  events,
  numbers(12),
  numbers(4)
]

/** The frames of the events, some of them damaged, in two batches; and operators in a row. */
const prepare = ([events, damages, picks]: readonly [
  ReadonlyArray<MeshEvent>,
  ReadonlyArray<number>,
  ReadonlyArray<number>
]) => {
  const frames = events.flatMap((event) => (isData(event) ? [Result.getOrThrow(ServerMessage.encodeFrame(event))] : []))
  for (const damage of damages) {
    const index = damage % Math.max(1, frames.length)
    const frame = frames[index]
    if (frame === undefined) break
    const at = damage % frame.length
    frames[index] = frame.slice(0, at) + String.fromCharCode(damage % 128) + frame.slice(at + 1)
  }
  const chain = picks.map((n) => filters[n % filters.length] ?? MeshStream.outputOnly)
  return {
    batches: [frames.slice(0, 5), frames.slice(5)],
    through: (feed: Feed): Feed => chain.reduce((feed, filter) => filter(feed), feed)
  }
}

describe("what operators declare to the source", () => {
  it.effect.prop(
    "changes no element and no metric, for any frames and any order of operators",
    inputs,
    (input) =>
      Effect.gen(function* () {
        const { batches, through } = prepare(input)
        assertSame(yield* outcome(batches, through), yield* outcome(batches, (feed) => through(screen(feed))))
      }),
    { arbitrary: { runs: 100 } }
  )

  const streams: Record<string, (client: MeshClient.MeshClient["Service"]) => Feed> = {
    events: (client) => client.events({ ...Interest.output([a, b]), all: true }),
    task: (client) => client.task(a),
    everything: (client) => client.everything({ endedTimeToLive: 0 })
  }
  for (const [name, streamOf] of Object.entries(streams)) {
    it.effect.prop(
      `changes nothing that can be seen of a client's ${name}`,
      inputs,
      (input) =>
        Effect.gen(function* () {
          const { batches, through } = prepare(input)
          assertSame(
            yield* clientOutcome(batches, streamOf, through),
            yield* clientOutcome(batches, streamOf, (feed) => through(screen(feed)))
          )
        }),
      { arbitrary: { runs: 40 } }
    )
  }

  it.effect("calls the caller's own filter function for every element", () =>
    Effect.gen(function* () {
      const frame = (taskId: string) => `{"type":"taskUpdated","taskId":"${taskId}"}`
      const asked: Array<string> = []
      yield* outcome([[frame("a"), frame("b"), frame("a")]], (feed) =>
        feed.pipe(
          MeshStream.filterTask((taskId) => asked.push(taskId) > 0),
          MeshStream.filterTask(a),
          MeshStream.outputOnly
        )
      )
      assert.deepStrictEqual(asked, ["a", "b", "a"])
    })
  )

  it.effect("lets a client's consumer sleep through what its operators drop, and keeps its queue for the rest", () =>
    Effect.gen(function* () {
      const frames = Array.from({ length: 10 }, (_, n) =>
        n === 7
          ? `{"type":"taskOutput","taskId":"a","messageType":"raw","content":"x"}`
          : `{"type":"taskUpdated","taskId":"a","version":${n}}`
      )
      const { seen } = yield* clientOutcome(
        [frames],
        (client) => client.task(a, { overflow: "fail", capacity: 1 }),
        MeshStream.outputOnly
      )
      assert.deepStrictEqual(
        seen.map(({ _tag }) => _tag),
        ["TaskOutput"]
      )
    })
  )
})
