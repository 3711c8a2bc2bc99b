import { assert, describe, it } from "@effect/vitest"
import * as MeshStream from "@makima-stream/core/MeshStream"
import * as TaskId from "@makima-stream/core/TaskId"
import type * as MeshEvent from "@makima-stream/core/MeshEvent"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import {
  a,
  b,
  connected,
  disconnected,
  events,
  output,
  piece,
  resync,
  serverError,
  sizes,
  through,
  unknownMessage,
  updated
} from "../support/events.ts"
import { itEndsTextAtMarks } from "../support/textMarks.ts"
import { conventions, messages, ofTask, weave, whole } from "../support/messages.ts"

const unfinished = (
  taskId: TaskId.TaskId,
  content: string,
  why: MeshStream.UnfinishedReason,
  members: Parameters<typeof piece>[2] = {}
): MeshStream.JoinedOutput => ({ ...piece(taskId, content, members), unfinished: true, why })

const result = (taskId: TaskId.TaskId) => output(taskId, "done", { messageType: "result" })

const textOf = (events: ReadonlyArray<MeshEvent.MeshEvent>, task: TaskId.TaskId, messageType: string) =>
  events
    .flatMap((event) =>
      event._tag === "TaskOutput" && event.taskId === task && event.messageType === messageType ? [event.content] : []
    )
    .join("")

const others = (events: ReadonlyArray<MeshEvent.MeshEvent>) => events.filter((event) => event._tag !== "TaskOutput")

describe("joinPartials", () => {
  it.effect("holds pieces until the message is closed, and emits the closing output in their place", () =>
    Effect.gen(function* () {
      const closing = output(a, "Hello", { isPartial: false, costUsd: 1 })
      assert.deepStrictEqual(yield* through([piece(a, "Hel"), piece(a, "lo"), closing], MeshStream.joinPartials), [
        closing
      ])
    })
  )

  it.effect("an empty closing output gets the text of the pieces, and keeps its other members", () =>
    Effect.gen(function* () {
      const closing = output(a, "", { costUsd: 1 })
      assert.deepStrictEqual(yield* through([piece(a, "Hel"), piece(a, "lo"), closing], MeshStream.joinPartials), [
        { ...closing, content: "Hello" }
      ])
    })
  )

  it.effect("starts a new message after each closing output", () =>
    Effect.gen(function* () {
      const input = [piece(a, "1"), output(a, ""), piece(a, "2"), output(a, ""), output(a, "")]
      assert.deepStrictEqual(yield* through(input, MeshStream.joinPartials), [
        output(a, "1"),
        output(a, "2"),
        output(a, "")
      ])
    })
  )

  it.effect("replaces the previous piece with each snapshot", () =>
    Effect.gen(function* () {
      const input = [piece(a, "He"), piece(a, "Hello"), piece(a, "Hey"), output(a, "")]
      assert.deepStrictEqual(yield* through(input, MeshStream.joinPartials({ pieces: "snapshot" })), [output(a, "Hey")])
    })
  )

  it.effect("closed by a piece, the closing output is the last part of the text", () =>
    Effect.gen(function* () {
      const input = [piece(a, "Hel"), output(a, "lo"), output(a, "!")]
      assert.deepStrictEqual(yield* through(input, MeshStream.joinPartials({ closing: "piece" })), [
        output(a, "Hello"),
        output(a, "!")
      ])
    })
  )

  it.effect("tasks and message types are joined apart", () =>
    Effect.gen(function* () {
      const tool = { messageType: "tool_result" }
      const input = [
        piece(a, "a"),
        piece(b, "b"),
        piece(a, "t", tool),
        piece(a, "A"),
        output(b, ""),
        output(a, "", tool),
        output(a, "")
      ]
      assert.deepStrictEqual(yield* through(input, MeshStream.joinPartials), [
        output(b, "b"),
        output(a, "t", tool),
        output(a, "aA")
      ])
    })
  )

  it.effect("lets every other event pass at once", () =>
    Effect.gen(function* () {
      const others = [connected(), updated(a), output(b, "x"), serverError, unknownMessage, disconnected()]
      assert.deepStrictEqual(
        yield* through([piece(a, "Hel"), ...others, output(a, "Hello")], MeshStream.joinPartials),
        [...others, output(a, "Hello")]
      )
    })
  )

  it.effect("emits pending text unfinished right before a Resync that concerns its task", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(
        yield* through([piece(a, "He"), piece(a, "l"), piece(b, "x"), resync(a), resync()], MeshStream.joinPartials),
        [unfinished(a, "Hel", "Resync"), resync(a), unfinished(b, "x", "Resync"), resync()]
      )
    })
  )

  it.effect("what follows a Resync is a text of its own", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(
        yield* through([piece(a, "He"), resync(), piece(a, "o"), output(a, "")], MeshStream.joinPartials),
        [unfinished(a, "He", "Resync"), resync(), output(a, "o")]
      )
    })
  )

  it.effect("emits pending text unfinished when the stream ends, and when it fails", () =>
    Effect.gen(function* () {
      const input = [piece(a, "He", { costUsd: 1 }), piece(a, "l", { costUsd: 2 }), piece(b, "x")]
      const expected = [unfinished(a, "Hel", "Ended", { costUsd: 2 }), unfinished(b, "x", "Ended")]
      assert.deepStrictEqual(yield* through(input, MeshStream.joinPartials), expected)

      const seen: Array<MeshEvent.MeshEvent> = []
      const error = yield* Stream.fromArray(input).pipe(
        Stream.concat(Stream.fail("lost")),
        MeshStream.joinPartials,
        Stream.runForEach((event) => Effect.sync(() => seen.push(event))),
        Effect.flip
      )
      assert.strictEqual(error, "lost")
      assert.deepStrictEqual(seen, expected)
    })
  )

  it.effect("emits what a run left open unfinished before the run's result, but not another task's", () =>
    Effect.gen(function* () {
      const input = [piece(a, "He"), piece(b, "x"), piece(a, "do", { messageType: "result" }), result(a), output(b, "")]
      assert.deepStrictEqual(yield* through(input, MeshStream.joinPartials), [
        unfinished(a, "He", "RunEnded"),
        result(a),
        output(b, "x")
      ])
    })
  )

  it.effect("emits text before it would exceed maxLength, and starts again", () =>
    Effect.gen(function* () {
      const input = [piece(a, "abc"), piece(a, "de"), piece(a, "fg"), piece(a, "hij"), output(a, "")]
      assert.deepStrictEqual(yield* through(input, MeshStream.joinPartials({ maxLength: 5 })), [
        unfinished(a, "abcde", "TooLong"),
        output(a, "fghij")
      ])
    })
  )

  it.effect("replaces a maxLength of NaN by a finite bound", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(
        yield* through([piece(a, "abc"), piece(a, "de")], MeshStream.joinPartials({ maxLength: Number.NaN })),
        [unfinished(a, "abc", "TooLong"), unfinished(a, "de", "TooLong")]
      )
    })
  )

  it.effect("emits a piece that exceeds maxLength on its own, after the text before it", () =>
    Effect.gen(function* () {
      const input = [piece(a, "ab"), piece(a, "123456"), piece(a, "c"), output(a, "")]
      assert.deepStrictEqual(yield* through(input, MeshStream.joinPartials({ maxLength: 5 })), [
        unfinished(a, "ab", "TooLong"),
        unfinished(a, "123456", "TooLong"),
        output(a, "c")
      ])
    })
  )

  it.effect("maxLength counts all of a task's text, and that of no other task", () =>
    Effect.gen(function* () {
      const tool = { messageType: "tool_result" }
      const input = [piece(a, "abc"), piece(b, "abc"), piece(a, "12", tool), piece(a, "3", tool), output(a, "", tool)]
      assert.deepStrictEqual(yield* through(input, MeshStream.joinPartials({ maxLength: 5 })), [
        unfinished(a, "abc", "TooLong"),
        unfinished(a, "12", "TooLong", tool),
        output(a, "3", tool),
        unfinished(b, "abc", "Ended")
      ])
    })
  )

  it.effect("closed messages make room again", () =>
    Effect.gen(function* () {
      const tool = { messageType: "tool_result" }
      const input = [piece(a, "1", tool), piece(a, "abcd"), output(a, ""), piece(a, "efgh"), output(a, "")]
      assert.deepStrictEqual(
        yield* through([...input, output(a, "", tool)], MeshStream.joinPartials({ maxLength: 5 })),
        [output(a, "abcd"), output(a, "efgh"), output(a, "1", tool)]
      )
    })
  )

  it.effect("counts a snapshot instead of the snapshot that it replaces", () =>
    Effect.gen(function* () {
      const tool = { messageType: "tool_result" }
      const input = [piece(a, "1", tool), piece(a, "abc"), piece(a, "abcd"), output(a, ""), output(a, "", tool)]
      assert.deepStrictEqual(yield* through(input, MeshStream.joinPartials({ pieces: "snapshot", maxLength: 5 })), [
        output(a, "abcd"),
        output(a, "1", tool)
      ])
    })
  )

  it.effect("emits each snapshot beyond maxLength once, without the snapshot that it replaces", () =>
    Effect.gen(function* () {
      const input = [piece(a, "abc"), piece(a, "abcde"), piece(a, "abcdef"), piece(a, "abc"), output(a, "")]
      assert.deepStrictEqual(yield* through(input, MeshStream.joinPartials({ pieces: "snapshot", maxLength: 5 })), [
        unfinished(a, "abcdef", "TooLong"),
        output(a, "abc")
      ])
    })
  )

  it.effect("evicts the oldest text when there is one task more than maxTasks", () =>
    Effect.gen(function* () {
      const c = TaskId.make("c")
      // a has newer text than b.
      const input = [piece(a, "1"), piece(b, "x"), piece(a, "2"), piece(c, "y"), output(a, ""), output(b, "")]
      assert.deepStrictEqual(yield* through(input, MeshStream.joinPartials({ maxTasks: 2 })), [
        unfinished(b, "x", "Evicted"),
        output(a, "12"),
        output(b, ""),
        unfinished(c, "y", "Ended")
      ])
    })
  )

  it.effect("evicts the oldest text beyond maxTotalLength", () =>
    Effect.gen(function* () {
      const c = TaskId.make("c")
      const join = MeshStream.joinPartials({ maxTotalLength: 5 })
      // a has newer text than b.
      assert.deepStrictEqual(
        yield* through([piece(a, "1"), piece(b, "xx"), piece(a, "2"), piece(c, "yy"), output(a, "")], join),
        [unfinished(b, "xx", "Evicted"), output(a, "12"), unfinished(c, "yy", "Ended")]
      )
      assert.deepStrictEqual(yield* through([piece(b, "xx"), piece(a, "123456"), output(a, "")], join), [
        unfinished(b, "xx", "Evicted"),
        unfinished(a, "123456", "Evicted"),
        output(a, "")
      ])
    })
  )

  it.effect.prop(
    "never holds more text than its bounds, and loses none of it",
    [messages, sizes],
    Effect.fnUntraced(function* ([messages, turns]) {
      const feed = weave(
        messages.map(({ messageType, parts, taskId }) => [
          ...parts.map((part) => piece(taskId, part, { messageType })),
          output(taskId, "!", { messageType })
        ]),
        turns
      )
      const join = MeshStream.joinPartials({ closing: "piece", maxTotalLength: 7, maxLength: 5, maxTasks: 2 })
      const lengthOf = (outputs: ReadonlyArray<MeshEvent.MeshEvent>) =>
        outputs.reduce((sum, event) => sum + (event._tag === "TaskOutput" ? event.content.length : 0), 0)
      for (let n = 0; n <= feed.length; n++) {
        const taken = yield* through(feed.slice(0, n), join)
        const held = taken.filter((event) => "why" in event && event.why === "Ended")
        assert.isAtMost(lengthOf(held), 7)
        assert.strictEqual(lengthOf(taken), lengthOf(feed.slice(0, n)))
      }
    })
  )

  it.effect("does not count a task whose text was emitted", () =>
    Effect.gen(function* () {
      const c = TaskId.make("c")
      for (const end of [output(a, ""), resync(a)]) {
        const joined = yield* through(
          [piece(b, "x"), piece(a, "1"), end, piece(c, "y"), output(b, ""), output(c, "")],
          MeshStream.joinPartials({ maxTasks: 2 })
        )
        assert.deepStrictEqual(joined.slice(-2), [output(b, "x"), output(c, "y")])
      }
    })
  )

  it.effect("keeps sixteen message types of a task, and evicts the oldest for a seventeenth", () =>
    Effect.gen(function* () {
      const types = Array.from({ length: 17 }, (_, i) => ({ messageType: `type ${i}` }))
      const sixteen = types.slice(0, 16).map((type) => piece(a, "x", type))
      assert.deepStrictEqual(yield* through([...sixteen, ...sixteen, resync()], MeshStream.joinPartials), [
        ...types.slice(0, 16).map((type) => unfinished(a, "xx", "Resync", type)),
        resync()
      ])
      const joined = yield* through(
        types.map((type, i) => piece(a, `${i}`, type)),
        MeshStream.joinPartials
      )
      assert.deepStrictEqual(
        joined,
        types.map((type, i) => unfinished(a, `${i}`, i === 0 ? "Evicted" : "Ended", type))
      )
    })
  )

  it.effect("does not join again what was left unfinished", () =>
    Effect.gen(function* () {
      const once = yield* through(
        [piece(a, "abcde"), piece(a, "f"), output(a, "")],
        MeshStream.joinPartials({ maxLength: 5 })
      )
      assert.deepStrictEqual(once, [unfinished(a, "abcde", "TooLong"), output(a, "f")])
      assert.deepStrictEqual(yield* through(once, MeshStream.joinPartials), once)
    })
  )

  it.effect("makes no unfinished message of empty pieces", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* through([piece(a, ""), resync(), piece(a, "")], MeshStream.joinPartials), [
        resync()
      ])
    })
  )

  it.effect("data-first takes the options too", () =>
    Effect.gen(function* () {
      const feed = Stream.make(piece(a, "Hel"), output(a, "lo"))
      assert.deepStrictEqual(yield* Stream.runCollect(MeshStream.joinPartials(feed)), [output(a, "lo")])
      assert.deepStrictEqual(yield* Stream.runCollect(MeshStream.joinPartials(feed, { closing: "piece" })), [
        output(a, "Hello")
      ])
    })
  )

  for (const { name, options, send } of conventions) {
    it.effect.prop(`restores the whole messages: ${name}`, [messages], ([messages]) =>
      Effect.gen(function* () {
        assert.deepStrictEqual(
          yield* through(messages.flatMap(send), MeshStream.joinPartials(options)),
          messages.map(whole)
        )
      })
    )

    it.effect.prop(`joins each task for itself: ${name}`, [messages, sizes], ([messages, turns]) =>
      Effect.gen(function* () {
        const joined = yield* through(
          weave([ofTask(messages, a).flatMap(send), ofTask(messages, b).flatMap(send)], turns),
          MeshStream.joinPartials(options)
        )
        for (const task of [a, b]) {
          assert.deepStrictEqual(
            joined.filter((event) => event.taskId === task),
            ofTask(messages, task).map(whole)
          )
        }
      })
    )
  }

  it.effect.prop(
    "loses no text and doubles none, whatever the bounds and the gaps",
    [events, sizes],
    ([events, sizes]) =>
      Effect.gen(function* () {
        const joined = yield* through(
          events,
          MeshStream.joinPartials({ closing: "piece", maxLength: sizes[0] ?? 1, maxTasks: sizes[1] ?? 1 })
        )
        for (const task of ["a", "b", "c"].map((id) => TaskId.make(id))) {
          for (const type of ["assistant", "tool_use", "result"]) {
            assert.strictEqual(textOf(joined, task, type), textOf(events, task, type))
          }
        }
        assert.deepStrictEqual(others(joined), others(events))
      })
  )

  it.effect.prop("emits no piece that is not marked unfinished, and is idempotent", [events], ([events]) =>
    Effect.gen(function* () {
      const joined = yield* through(events, MeshStream.joinPartials)
      for (const event of joined) {
        if (event._tag === "TaskOutput") assert.strictEqual(event.isPartial === true, event.unfinished === true)
      }
      assert.deepStrictEqual(yield* through(joined, MeshStream.joinPartials), joined)
    })
  )

  itEndsTextAtMarks(MeshStream.joinPartials())
})
