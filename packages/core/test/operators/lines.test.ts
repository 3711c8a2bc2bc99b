import { assert, describe, it } from "@effect/vitest"
import * as MeshStream from "@makima-stream/core/MeshStream"
import * as TaskId from "@makima-stream/core/TaskId"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { assertSame } from "../support/assertSame.ts"
import { a, b, connected, output, piece, resync, serverError, sizes, through, updated } from "../support/events.ts"
import { itEndsTextAtMarks } from "../support/textMarks.ts"
import { conventions, messages, ofTask, weave, whole } from "../support/messages.ts"

const line = (text: string, taskId = a, messageType = "assistant"): MeshStream.TaskLine => ({
  _tag: "TaskLine",
  taskId,
  messageType,
  text
})

const part = (
  text: string,
  why: MeshStream.UnfinishedReason,
  taskId = a,
  messageType = "assistant"
): MeshStream.TaskLine => ({
  ...line(text, taskId, messageType),
  unfinished: true,
  why
})

const raw = (content: string) => output(a, content, { messageType: "raw" })
const rawLines = MeshStream.lines({ messageType: "raw", ends: "newline" })

describe("lines", () => {
  it.effect("a whole message ends its last line, with a newline at its end or without", () =>
    Effect.gen(function* () {
      const input = [output(a, "one\ntwo"), output(a, "three\n"), output(a, ""), output(a, "\nfour\n\n")]
      assert.deepStrictEqual(yield* through(input, MeshStream.lines), [
        line("one"),
        line("two"),
        line("three"),
        line(""),
        line("four"),
        line("")
      ])
    })
  )

  it.effect("joins a line that is split across pieces, and emits it as soon as it is whole", () =>
    Effect.gen(function* () {
      const seen: Array<number> = []
      const feed = Stream.make(piece(a, "on"), piece(a, "e\ntw"), piece(a, "o"), output(a, "one\ntwo")).pipe(
        Stream.rechunk(1),
        Stream.mapArray((events, index) => {
          seen.push(index)
          return events
        }),
        MeshStream.lines,
        Stream.map((line) => [line.text, seen.length] as const)
      )
      assert.deepStrictEqual(yield* Stream.runCollect(feed), [
        ["one", 2],
        ["two", 4]
      ])
    })
  )

  it.effect("joins a line that is split across whole outputs if only a newline ends a line", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* through([raw("on"), raw("e\ntw"), raw("o"), raw("\n"), raw("x")], rawLines), [
        line("one", a, "raw"),
        line("two", a, "raw"),
        part("x", "Ended", a, "raw")
      ])
    })
  )

  it.effect("treats \\r\\n as one line end, even if it is split, and leaves a single \\r in the line", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* through([raw("a\r\nb\r"), raw("\nc\rd\n\r\n")], rawLines), [
        line("a", a, "raw"),
        line("b", a, "raw"),
        line("c\rd", a, "raw"),
        line("", a, "raw")
      ])
    })
  )

  it.effect("reads the assistant's messages, or the types of the options, each type and task for itself", () =>
    Effect.gen(function* () {
      const input = [connected(), piece(a, "a1"), piece(b, "b1"), raw("r\n"), updated(a), serverError, piece(a, "a2\n")]
      assert.deepStrictEqual(yield* through(input, MeshStream.lines), [line("a1a2"), part("b1", "Ended", b)])
      assert.deepStrictEqual(yield* through(input, MeshStream.lines({ messageType: ["raw", "assistant"] })), [
        line("r", a, "raw"),
        line("a1a2"),
        part("b1", "Ended", b)
      ])
    })
  )

  it.effect("emits an open line unfinished right before a Resync that concerns its task", () =>
    Effect.gen(function* () {
      const input = [piece(a, "x\ny"), piece(b, "z"), resync(a), piece(a, "1\n"), resync()]
      assert.deepStrictEqual(yield* through(input, MeshStream.lines({ keep: "resync" })), [
        line("x"),
        part("y", "Resync"),
        resync(a),
        line("1"),
        part("z", "Resync", b),
        resync()
      ])
      assert.deepStrictEqual(yield* through(input, MeshStream.lines), [
        line("x"),
        part("y", "Resync"),
        line("1"),
        part("z", "Resync", b)
      ])
    })
  )

  it.effect("reads the message that closes pieces from before a Resync from its beginning", () =>
    Effect.gen(function* () {
      for (const gap of [resync(), resync(a)]) {
        const input = [piece(a, "one\ntw"), gap, output(a, "one\ntwo")]
        assert.deepStrictEqual(yield* through(input, MeshStream.lines), [
          line("one"),
          part("tw", "Resync"),
          line("one"),
          line("two")
        ])
      }
    })
  )

  it.effect("emits an open line unfinished when the stream fails", () =>
    Effect.gen(function* () {
      const seen: Array<string> = []
      const error = yield* Stream.make(piece(a, "x\ny")).pipe(
        Stream.concat(Stream.fail("lost")),
        MeshStream.lines,
        Stream.runForEach((line) => Effect.sync(() => seen.push(`${line.text} ${line.why}`))),
        Effect.flip
      )
      assert.strictEqual(error, "lost")
      assert.deepStrictEqual(seen, ["x undefined", "y Ended"])
    })
  )

  it.effect("reads a closing message from its start if it differs from the pieces before it", () =>
    Effect.gen(function* () {
      const input = [piece(a, "lo\nwo"), output(a, "Hello\nworld")]
      assert.deepStrictEqual(yield* through(input, MeshStream.lines), [
        line("lo"),
        part("wo", "Replaced"),
        line("Hello"),
        line("world")
      ])
    })
  )

  it.effect("reads a snapshot from its beginning where it does not continue the one before", () =>
    Effect.gen(function* () {
      const input = [piece(a, "one\ntw"), piece(a, "uno\ndu"), piece(a, "uno\ndue"), output(a, "uno\ndue\n")]
      assert.deepStrictEqual(yield* through(input, MeshStream.lines({ pieces: "snapshot" })), [
        line("one"),
        part("tw", "Replaced"),
        line("uno"),
        line("due")
      ])
    })
  )

  it.effect("sees a change in the last 64 characters that it read, also where the line was given already", () =>
    Effect.gen(function* () {
      const input = [piece(a, "one\n"), output(a, "ons\ntwo")]
      assert.deepStrictEqual(yield* through(input, MeshStream.lines), [line("one"), line("ons"), line("two")])
    })
  )

  it.effect("emits a line longer than maxLength in parts, and marks all but the last", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* through([output(a, "abcdefgh\nij")], MeshStream.lines({ maxLength: 3 })), [
        part("abc", "TooLong"),
        part("def", "TooLong"),
        line("gh"),
        line("ij")
      ])
      assert.deepStrictEqual(yield* through([piece(a, "abc"), piece(a, "d\n")], MeshStream.lines({ maxLength: 3 })), [
        part("abc", "TooLong"),
        line("d")
      ])
    })
  )

  it.effect("a line of exactly maxLength is whole", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* through([output(a, "abc\ndef")], MeshStream.lines({ maxLength: 3 })), [
        line("abc"),
        line("def")
      ])
    })
  )

  it.effect("never cuts a character in two", () =>
    Effect.gen(function* () {
      for (const maxLength of [Number.NaN, 0, 2, 2.5, 3]) {
        assert.deepStrictEqual(
          (yield* through([output(a, "\u{1F600}\u{1F600}\u{1F600}")], MeshStream.lines({ maxLength }))).map(
            (line) => line.text
          ),
          ["\u{1F600}", "\u{1F600}", "\u{1F600}"]
        )
      }
    })
  )

  it.effect("evicts the oldest open line when there is one task more than maxTasks", () =>
    Effect.gen(function* () {
      const c = TaskId.make("c")
      const input = [piece(a, "1"), piece(b, "x"), piece(a, "2"), piece(c, "y"), piece(a, "\n"), piece(b, "z\n")]
      assert.deepStrictEqual(yield* through(input, MeshStream.lines({ maxTasks: 2 })), [
        part("x", "Evicted", b),
        line("12"),
        // What b says now drives c out, because a's message is still open.
        line("z", b),
        part("y", "Evicted", c)
      ])
    })
  )

  it.effect("evicts the oldest open line beyond maxTotalLength", () =>
    Effect.gen(function* () {
      const c = TaskId.make("c")
      const input = [piece(a, "1"), piece(b, "xx"), piece(a, "2"), piece(c, "yy"), piece(a, "\n"), piece(b, "zz")]
      assert.deepStrictEqual(yield* through(input, MeshStream.lines({ maxTotalLength: 5 })), [
        part("xx", "Evicted", b),
        line("12"),
        part("yy", "Ended", c),
        part("zz", "Ended", b)
      ])
    })
  )

  it.effect("does not count a task whose lines were emitted", () =>
    Effect.gen(function* () {
      const c = TaskId.make("c")
      for (const end of [output(a, "1"), resync(a)]) {
        const lines = yield* through(
          [piece(b, "x"), piece(a, "1"), end, piece(c, "y"), output(b, "x"), output(c, "y")],
          MeshStream.lines({ maxTasks: 2 })
        )
        assert.deepStrictEqual(lines.slice(-2), [line("x", b), line("y", c)])
      }
    })
  )

  it.effect("keeps sixteen message types of a task, and evicts the oldest open line for a seventeenth", () =>
    Effect.gen(function* () {
      const types = Array.from({ length: 17 }, (_, i) => `type ${i}`)
      const sixteen = types.slice(0, 16).map((messageType) => piece(a, "x", { messageType }))
      assert.deepStrictEqual(
        yield* through([...sixteen, ...sixteen], MeshStream.lines({ messageType: () => true })),
        types.slice(0, 16).map((type) => part("xx", "Ended", a, type))
      )
      assert.deepStrictEqual(
        yield* through(
          types.map((messageType, i) => piece(a, `${i}`, { messageType })),
          MeshStream.lines({ messageType: () => true })
        ),
        types.map((type, i) => part(`${i}`, i === 0 ? "Evicted" : "Ended", a, type))
      )
    })
  )

  it.effect("data-first takes the options too", () =>
    Effect.gen(function* () {
      const feed = Stream.make(output(a, "x"), resync())
      assert.deepStrictEqual(yield* Stream.runCollect(MeshStream.lines(feed)), [line("x")])
      assert.deepStrictEqual(yield* Stream.runCollect(MeshStream.lines(feed, { keep: "resync" })), [
        line("x"),
        resync()
      ])
    })
  )

  for (const { name, options, send } of conventions) {
    for (const ends of ["message", "newline"] as const) {
      it.effect.prop(
        `the lines of pieces are those of whole messages, a ${ends} ends them: ${name}`,
        [messages, sizes],
        ([messages, sizes]) =>
          Effect.gen(function* () {
            const lines = MeshStream.lines({
              ...options,
              ends,
              messageType: () => true,
              maxLength: (sizes[0] ?? 1) + 1
            })
            const actual = yield* through(
              weave([ofTask(messages, a).flatMap(send), ofTask(messages, b).flatMap(send)], sizes),
              lines
            )
            for (const task of [a, b]) {
              assertSame(
                actual.filter((line) => line.taskId === task),
                yield* through(ofTask(messages, task).map(whole), lines)
              )
            }
          })
      )
    }

    it.effect.prop(`reads the same after joinPartials: ${name}`, [messages], ([messages]) =>
      Effect.gen(function* () {
        const lines = MeshStream.lines({ ...options, messageType: () => true })
        const sent = messages.flatMap(send)
        assertSame(
          yield* through(sent, (feed) => feed.pipe(MeshStream.joinPartials(options), lines)),
          yield* through(sent, lines)
        )
      })
    )
  }

  it.effect.prop("emits for whole messages the lines of their text", [messages], ([messages]) =>
    Effect.gen(function* () {
      const expected = messages.flatMap((message) => {
        const lines = message.parts.join("").split("\n")
        const last = lines.pop() ?? ""
        return [...lines.map((line) => line.replace(/\r$/, "")), ...(last === "" ? [] : [last])]
      })
      const actual = yield* through(messages.map(whole), MeshStream.lines({ messageType: () => true }))
      assert.deepStrictEqual(
        actual.map((line) => line.text),
        expected
      )
    })
  )

  itEndsTextAtMarks(MeshStream.lines({ keep: "resync", messageType: () => true }))
})
