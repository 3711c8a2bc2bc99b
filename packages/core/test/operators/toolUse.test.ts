import { assert, describe, it } from "@effect/vitest"
import * as MeshStream from "@makima-stream/core/MeshStream"
import type * as MeshEvent from "@makima-stream/core/MeshEvent"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { a, at, b, connected, events, output, place, resync, through, updated } from "../support/events.ts"

const tool = (toolName: string | undefined, toolInput?: Exclude<Schema.Json, null>, isPartial?: boolean) =>
  output(a, "", {
    messageType: "tool_use",
    ...(toolName === undefined ? {} : { toolName }),
    ...(toolInput === undefined ? {} : { toolInput }),
    ...(isPartial === undefined ? {} : { isPartial })
  })

const Bash = Schema.Struct({ command: Schema.String, timeout: Schema.optionalKey(Schema.NumberFromString) })
const Read = Schema.Struct({ path: Schema.String })

describe("toolUse", () => {
  it.effect("emits the decoded input of each tool, by the schema of its name", () =>
    Effect.gen(function* () {
      const bash = tool("Bash", { command: "ls", timeout: "5" })
      const read = tool("Read", { path: "README.md" })
      assert.deepStrictEqual(yield* through([bash, read], MeshStream.toolUse({ Bash, Read })), [
        { _tag: "ToolUse", taskId: a, toolName: "Bash", input: { command: "ls", timeout: 5 }, output: bash },
        { _tag: "ToolUse", taskId: a, toolName: "Read", input: { path: "README.md" }, output: read }
      ])
    })
  )

  it.effect("an input that does not fit, or is missing, is a value and not a failure", () =>
    Effect.gen(function* () {
      const wrong = tool("Bash", { command: 1 })
      const missing = tool("Bash")
      const right = tool("Bash", { command: "ls" })
      const uses = yield* through([wrong, missing, right], MeshStream.toolUse({ Bash }))
      assert.deepStrictEqual(
        uses.map((use) => [use._tag, use.toolName, use.taskId, use.output]),
        [
          ["ToolUseMismatch", "Bash", a, wrong],
          ["ToolUseMismatch", "Bash", a, missing],
          ["ToolUse", "Bash", a, right]
        ]
      )
      const [mismatch] = uses
      assert.isTrue(mismatch?._tag === "ToolUseMismatch" && mismatch.error.message.includes("command"))
    })
  )

  it.effect("drops the tools that have no schema, even where their name is that of an object's method", () =>
    Effect.gen(function* () {
      const input = [tool("Write", { path: "x" }), tool("constructor", {}), tool(undefined, { command: "ls" })]
      assert.deepStrictEqual(yield* through(input, MeshStream.toolUse({ Bash })), [])
    })
  )

  it.effect("reads every tool's input through a single schema, also of a tool without a name", () =>
    Effect.gen(function* () {
      const uses = yield* through(
        [tool("Write", { path: "x" }), tool(undefined, { path: "y" }), tool("Bash", {})],
        MeshStream.toolUse(Read)
      )
      assert.deepStrictEqual(
        uses.map((use) => [use._tag, use.toolName]),
        [
          ["ToolUse", "Write"],
          ["ToolUse", undefined],
          ["ToolUseMismatch", "Bash"]
        ]
      )
    })
  )

  it.effect("drops pieces, output of other types, and every other event", () =>
    Effect.gen(function* () {
      const input: ReadonlyArray<MeshEvent.MeshEvent> = [
        connected(),
        tool("Bash", { command: "ls" }, true),
        output(a, "", { messageType: "tool_result", toolName: "Bash", toolInput: { command: "ls" } }),
        updated(a),
        resync()
      ]
      assert.deepStrictEqual(yield* through(input, MeshStream.toolUse({ Bash })), [])
      assert.deepStrictEqual(yield* through(input, MeshStream.toolUse({ Bash }, { keep: "resync" })), [resync()])
    })
  )

  it.effect("can be narrowed to a task afterwards", () =>
    Effect.gen(function* () {
      const other = { ...tool("Bash", { command: "pwd" }), taskId: b }
      const uses = MeshStream.toolUse(Stream.make(tool("Bash", { command: "ls" }), other), { Bash })
      assert.deepStrictEqual(
        (yield* Stream.runCollect(MeshStream.filterTask(uses, b))).map((use) => use.output),
        [other]
      )
    })
  )

  it.effect.prop(
    "keeps a Resync at any position, and what is around it is the same",
    [events, place],
    ([events, place]) =>
      Effect.gen(function* () {
        const operator = MeshStream.toolUse(Schema.Unknown, { keep: "resync" })
        const index = at(place, events)
        const before = events.slice(0, index)
        const after = events.slice(index)
        assert.deepStrictEqual(yield* through([...before, resync(), ...after], operator), [
          ...(yield* through(before, operator)),
          resync(),
          ...(yield* through(after, operator))
        ])
      })
  )
})
