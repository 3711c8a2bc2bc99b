/**
 * The laws of every operator that returns a stream.
 */
import { assert, describe, it } from "@effect/vitest"
import * as MeshStream from "@makima-stream/core/MeshStream"
import type * as MeshEvent from "@makima-stream/core/MeshEvent"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Pull from "effect/Pull"
import * as Ref from "effect/Ref"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { NonEmptyReadonlyArray } from "effect/Array"
import {
  a,
  b,
  connected,
  events,
  inArrays,
  output,
  piece,
  resync,
  serverError,
  sizes,
  updated
} from "../support/events.ts"
import { assertSame } from "../support/assertSame.ts"

type Operator = <E, R>(self: Stream.Stream<MeshEvent.MeshEvent, E, R>) => Stream.Stream<unknown, E, R>

const keep = "resync"
const any = () => true

const operators: Record<string, Operator> = {
  outputOnly: (self) => MeshStream.outputOnly(self, { keep }),
  updatesOnly: (self) => MeshStream.updatesOnly(self),
  serverErrors: (self) => MeshStream.serverErrors(self, { keep }),
  dataOnly: (self) => MeshStream.dataOnly(self),
  lifecycleOnly: (self) => MeshStream.lifecycleOnly(self),
  filterTask: (self) => MeshStream.filterTask(self, [a, b], { keep }),
  filterStatus: (self) => MeshStream.filterStatus(self, any, { keep }),
  filterMessageType: (self) => MeshStream.filterMessageType(self, "assistant"),
  fieldsChanged: (self) => MeshStream.fieldsChanged(self, "plan", { keep }),
  toolUse: (self) => MeshStream.toolUse(self, Schema.Unknown, { keep }),
  dedupeUpdates: (self) => MeshStream.dedupeUpdates(self),
  markGaps: (self) => MeshStream.markGaps(self),
  statusChanges: (self) => MeshStream.statusChanges(self, { keep }),
  untilTerminal: (self) => MeshStream.untilTerminal(self, [a, b]),
  joinPartials: (self) => MeshStream.joinPartials(self),
  "joinPartials within tight bounds": (self) =>
    MeshStream.joinPartials(self, { pieces: "snapshot", maxLength: 3, maxTasks: 2 }),
  text: (self) => MeshStream.text(self, { keep }),
  lines: (self) => MeshStream.lines(self, { messageType: any, keep }),
  "lines within tight bounds": (self) =>
    MeshStream.lines(self, { messageType: any, ends: "newline", maxLength: 2, maxTasks: 2 })
}

/** The arrays that a stream emits. */
const arrays = <A, E, R>(self: Stream.Stream<A, E, R>): Effect.Effect<Array<ReadonlyArray<A>>, E, R> =>
  Effect.gen(function* () {
    const seen: Array<ReadonlyArray<A>> = []
    yield* Stream.runForEachArray(self, (array) => Effect.sync(() => seen.push(array)))
    return seen
  })

/** The next array of a stream, or none at its end. */
const step = <A>(pull: Pull.Pull<A>): Effect.Effect<Option.Option<A>> =>
  Effect.map(pull, Option.some<A>).pipe(Pull.catchDone(() => Effect.succeed(Option.none<A>())))

/** One event of each kind. The version and the status are new, so no operator drops them as a repetition. */
const oneOfEach = (n: number): NonEmptyReadonlyArray<MeshEvent.MeshEvent> => [
  connected(),
  output(a, "x\n"),
  output(a, "", { messageType: "tool_use", toolInput: {} }),
  updated(a, { version: n, status: `${n}`, updatedFields: ["plan"] }),
  serverError,
  resync()
]

const isUnfinished = (element: unknown): boolean =>
  typeof element === "object" && element !== null && "unfinished" in element

/** Fewer than the default, because every operator has every law. */
const runs = { arbitrary: { runs: 25 } }

for (const [name, operator] of Object.entries(operators)) {
  describe(name, () => {
    it.effect.prop(
      "emits the same elements however the input is split, and no empty array",
      [events, sizes],
      (input) =>
        Effect.gen(function* () {
          const [events, sizes] = input
          const whole = yield* Stream.runCollect(operator(Stream.fromArray(events)))
          const split = yield* arrays(operator(inArrays(events, sizes)))
          assertSame<unknown>(split.flat(), whole)
          assert.isTrue(split.every((array) => array.length > 0))
        }),
      runs
    )

    it.effect.prop(
      "does not change the arrays of its input",
      [events],
      ([events]) =>
        Effect.gen(function* () {
          const input = Object.freeze(events.map((event) => Object.freeze(event)))
          yield* Stream.runDrain(operator(Stream.fromArray(input)))
        }),
      runs
    )

    it.effect.prop(
      "has separate state in each run, even in concurrent runs",
      [events, sizes],
      (input) =>
        Effect.gen(function* () {
          const [events, sizes] = input
          const stream = operator(inArrays(events, sizes))
          const alone = yield* arrays(stream)
          const first = yield* Stream.toPull(stream)
          const second = yield* Stream.toPull(stream)
          for (const expected of alone) {
            assertSame(yield* step(first), Option.some(expected))
            assertSame(yield* step(second), Option.some(expected))
          }
          assert.isTrue(Option.isNone(yield* step(first)))
          assert.isTrue(Option.isNone(yield* step(second)))
        }),
      runs
    )

    it.effect.prop(
      "fails with the error of its input, after all elements before it",
      [events],
      ([events]) =>
        Effect.gen(function* () {
          const input = Stream.fromArray(events)
          const whole = yield* Stream.runCollect(operator(input))
          const seen: Array<unknown> = []
          const exit = yield* operator(Stream.concat(input, Stream.fail("lost"))).pipe(
            Stream.runForEach((element) => Effect.sync(() => seen.push(element))),
            Effect.exit
          )
          assertSame<unknown>(seen, whole)
          // Only an operator that ends by itself can miss the failure.
          if (name !== "untilTerminal") assert.deepStrictEqual(exit, Exit.fail("lost"))
        }),
      runs
    )

    it.effect("does not pull ahead of its consumer, and closes its input with itself", () =>
      Effect.gen(function* () {
        const pulls = yield* Ref.make(0)
        const closed = yield* Ref.make(false)
        const feed = Stream.fromEffectRepeat(Ref.updateAndGet(pulls, (n) => n + 1)).pipe(
          Stream.mapArray(([n]) => oneOfEach(n)),
          Stream.ensuring(Ref.set(closed, true))
        )
        const scope = yield* Scope.make()
        const pull = yield* Scope.provide(Stream.toPull(operator(feed)), scope)
        assert.strictEqual(yield* Ref.get(pulls), 0)
        yield* pull
        assert.strictEqual(yield* Ref.get(pulls), 1)
        yield* pull
        assert.strictEqual(yield* Ref.get(pulls), 2)
        yield* Scope.close(scope, Exit.void)
        assert.isTrue(yield* Ref.get(closed))
      })
    )

    it.effect("releases its input and emits nothing more when it is interrupted in the middle of a pull", () =>
      Effect.gen(function* () {
        const started = yield* Deferred.make<void>()
        const released = yield* Ref.make(false)
        const seen: Array<unknown> = []
        const hanging = Stream.fromEffect(
          Effect.acquireUseRelease(
            Effect.void,
            () => Effect.andThen(Deferred.succeed(started, undefined), Effect.never),
            () => Ref.set(released, true)
          )
        )
        const fiber = yield* operator(Stream.concat(Stream.make(piece(a, "x")), Stream.drain(hanging))).pipe(
          Stream.runForEach((element) => Effect.sync(() => seen.push(element))),
          Effect.forkChild
        )
        yield* Deferred.await(started)
        yield* Fiber.interrupt(fiber)
        assert.isTrue(yield* Ref.get(released))
        // Buffered text is emitted when the stream ends, not when its consumer leaves.
        assert.deepStrictEqual(seen.filter(isUnfinished), [])
      })
    )
  })
}
