/** The tests of `joinPartials` and `lines` at a mark. */
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import type * as Stream from "effect/Stream"
import type * as MeshEvent from "../../src/MeshEvent.ts"
import * as MeshStream from "../../src/MeshStream.ts"
import { a, at, b, events, output, piece, place, resync, through } from "./events.ts"

type Text = MeshEvent.MeshEvent | MeshStream.JoinedOutput | MeshStream.TaskLine

const ofTask = (task: typeof a) => MeshStream.filterTask(task, { keep: "lifecycle" })

/** Defines the tests of an operator that joins text and keeps marks. */
export const itEndsTextAtMarks = (
  operator: (feed: Stream.Stream<MeshEvent.MeshEvent>) => Stream.Stream<Text>
): void => {
  it.effect.prop(
    "a Resync at any position ends all text before it as the end of the stream does, and nothing crosses it",
    [events, place],
    ([events, place]) =>
      Effect.gen(function* () {
        const index = at(place, events)
        const before = yield* through(events.slice(0, index), operator)
        const after = yield* through(events.slice(index), operator)
        assert.deepStrictEqual(
          yield* through([...events.slice(0, index), resync(), ...events.slice(index)], operator),
          [
            ...before.map((text) =>
              "why" in text && text.why === "Ended" ? { ...text, why: "Resync" as const } : text
            ),
            resync(),
            ...after
          ]
        )
      })
  )

  it.effect("a mark cuts the text that it concerns, and a subscription to updates concerns none", () =>
    Effect.gen(function* () {
      const cuts = (reason: MeshEvent.ResyncReason, taskId: typeof a) =>
        Effect.map(
          through(
            [piece(a, "Hel"), { _tag: "Resync", epoch: 1, taskId, reason }, piece(a, "lo"), output(a, "Hello")],
            operator
          ),
          (out) => out.some((text) => "unfinished" in text)
        )
      assert.isFalse(yield* cuts({ _tag: "Subscribed", kind: "updates" }, a))
      assert.isFalse(yield* cuts({ _tag: "Subscribed", kind: "output" }, b))
      assert.isTrue(yield* cuts({ _tag: "Subscribed", kind: "output" }, a))
      assert.isTrue(yield* cuts({ _tag: "JoinedLate" }, a))
      assert.isTrue(yield* cuts({ _tag: "Started" }, a))
    })
  )

  it.effect.prop(
    "a Resync of one task at any position ends the text of that task alone",
    [events, place],
    ([events, place]) =>
      Effect.gen(function* () {
        const index = at(place, events)
        const withGap = [...events.slice(0, index), resync(a), ...events.slice(index)]
        const joined = yield* through(withGap, operator)
        assert.deepStrictEqual(
          yield* through(joined, ofTask(a)),
          yield* through(withGap, (feed) => operator(ofTask(a)(feed)))
        )
        assert.deepStrictEqual(
          yield* through(joined, ofTask(b)),
          yield* through(yield* through(events, operator), ofTask(b))
        )
      })
  )
}
