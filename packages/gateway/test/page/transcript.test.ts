import { assert, describe, it } from "@effect/vitest"
import type { JoinedOutput } from "@makima-stream/core/MeshStream"
import * as Transcript from "../../dashboard/src/model/transcript.ts"
import { id, output, result, said, started, updated } from "./events.ts"

const kinds = (transcripts: Transcript.Transcripts, task = "a") => transcripts.get(task).items.map(({ kind }) => kind)

describe("transcript", () => {
  it("keeps messages, changes of status and the end of a run in order", () => {
    const transcripts = Transcript.make()
    transcripts.fold(
      [updated("a", "running", 1, "daemon"), said("a", "hello"), result("a", 0.5), updated("a", "done", 2)],
      7
    )
    assert.deepStrictEqual(kinds(transcripts), ["status", "message", "runEnd", "status"])
    assert.deepInclude(transcripts.get("a").items[0], { id: 1, at: 7, status: "running", by: "daemon" })
    assert.deepInclude(transcripts.get("a").items[2], { costUsd: 0.5, durationMs: 900 })
  })

  it("an update that changes no status is not shown", () => {
    const transcripts = Transcript.make()
    transcripts.fold([updated("a", "running", 1), updated("a", "running", 2)], 0)
    assert.deepStrictEqual(kinds(transcripts), ["status"])
  })

  it("puts a result into the oldest call of its tool that waits for one", () => {
    const transcripts = Transcript.make()
    const call = (toolName: string) => output("a", "tool_use", "", { toolName, toolInput: { n: toolName } })
    transcripts.fold([call("Read"), call("Bash"), call("Read")], 1)
    transcripts.fold([output("a", "tool_result", "bash", { toolName: "Bash", isError: true })], 2)
    transcripts.fold([output("a", "tool_result", "read", { toolName: "Read" })], 3)
    const results = transcripts.get("a").items.map((item) => (item.kind === "tool" ? item.result : undefined))
    assert.deepStrictEqual(results, [
      { content: "read", isError: false, at: 3 },
      { content: "bash", isError: true, at: 2 },
      undefined
    ])
  })

  it("a result without a call is an item of its own", () => {
    const transcripts = Transcript.make()
    transcripts.fold([output("a", "tool_result", "x", { toolName: "Bash" })], 0)
    assert.deepStrictEqual(kinds(transcripts), ["toolResult"])
  })

  it("an unfinished message says why its rest is missing", () => {
    const transcripts = Transcript.make()
    const unfinished: JoinedOutput = { ...said("a", "half"), isPartial: true, unfinished: true, why: "Resync" }
    transcripts.fold([unfinished], 0)
    assert.deepInclude(transcripts.get("a").items[0], { kind: "message", content: "half", unfinished: "Resync" })
  })

  it("shows the pieces of a message until the message is complete", () => {
    const transcripts = Transcript.make()
    const piece = (content: string) => output("a", "assistant", content, { isPartial: true })
    transcripts.pieces([piece("Hel"), piece("lo")])
    assert.deepStrictEqual(transcripts.get("a").pending, [{ messageType: "assistant", text: "Hello" }])
    assert.strictEqual(transcripts.pendingText("a"), "Hello")
    transcripts.pieces([said("a", "Hello")])
    assert.deepStrictEqual(transcripts.get("a").pending, [])
    transcripts.pieces([piece("x"), started])
    assert.strictEqual(transcripts.pendingText("a"), "")
  })

  it("puts a gap of all tasks into each live task, and not into tasks that have ended", () => {
    const transcripts = Transcript.make()
    transcripts.fold([updated("a", "running"), updated("b", "running"), updated("b", "done")], 0)
    transcripts.gap(5, undefined, 1)
    assert.deepInclude(transcripts.get("a").items.at(-1), { kind: "gap", gapId: 5 })
    assert.deepStrictEqual(kinds(transcripts, "b"), ["status", "status"])
    transcripts.gap(6, id("b"), 1)
    assert.deepInclude(transcripts.get("b").items.at(-1), { kind: "gap", gapId: 6 })
  })

  it("drops the oldest items above its bound and counts them, and ids stay", () => {
    const transcripts = Transcript.make({ maxItems: 10 })
    for (let i = 1; i <= 25; i++) transcripts.fold([said("a", String(i))], i)
    const { dropped, items } = transcripts.get("a")
    assert.isAtMost(items.length, 10)
    assert.strictEqual(items.length + dropped, 25)
    assert.strictEqual(items.at(-1)?.id, 25)
    assert.strictEqual(items[0]?.id, dropped + 1)
  })

  it("shortens other transcripts before the open one when all together are too large", () => {
    const transcripts = Transcript.make({ maxChars: 20_000 })
    transcripts.open("a")
    for (let i = 0; i < 10; i++) transcripts.fold([said("a", "x".repeat(1000))], i)
    for (let i = 0; i < 50; i++) transcripts.fold([said("b", "y".repeat(1000))], i)
    assert.strictEqual(transcripts.get("a").items.length, 10)
    assert.isAbove(transcripts.get("b").dropped, 30)
    // Alone, the open one keeps the bound too.
    for (let i = 0; i < 50; i++) transcripts.fold([said("a", "z".repeat(1000))], i)
    const { dropped, items } = transcripts.get("a")
    assert.isAtMost(items.length * 1000, 20_000)
    assert.strictEqual(items.length + dropped, 60)
  })

  it("drops the transcript of the task that appeared first when there are too many tasks, but not the open one", () => {
    const transcripts = Transcript.make({ maxTasks: 3 })
    transcripts.open("t0")
    for (let i = 0; i < 6; i++) transcripts.fold([said(`t${i}`, "x")], i)
    const kept = Array.from({ length: 6 }, (_, i) => transcripts.get(`t${i}`).items.length)
    assert.deepStrictEqual(kept, [1, 0, 0, 0, 1, 1])
  })

  it("a result still finds its call after older items were dropped, and is lost with its call", () => {
    const transcripts = Transcript.make({ maxItems: 10 })
    transcripts.fold([output("a", "tool_use", "", { toolName: "Old" })], 0)
    for (let i = 0; i < 9; i++) transcripts.fold([said("a", String(i))], 0)
    transcripts.fold([output("a", "tool_use", "", { toolName: "New" }), said("a", "next")], 0)
    transcripts.fold(
      [output("a", "tool_result", "n", { toolName: "New" }), output("a", "tool_result", "o", { toolName: "Old" })],
      1
    )
    const { items } = transcripts.get("a")
    const found = items.find((item) => item.kind === "tool")
    assert.strictEqual(found?.kind === "tool" ? found.result?.content : undefined, "n")
    assert.strictEqual(items.at(-1)?.kind, "toolResult")
  })

  it("a result does not answer a call that was dropped while a newer one waits", () => {
    const transcripts = Transcript.make({ maxItems: 10 })
    const call = output("a", "tool_use", "", { toolName: "Bash" })
    transcripts.fold([call, ...Array.from({ length: 10 }, (_, i) => said("a", String(i))), call], 0)
    transcripts.fold([output("a", "tool_result", "ok", { toolName: "Bash" })], 1)
    const last = transcripts.get("a").items.at(-1)
    assert.strictEqual(last?.kind === "tool" ? last.result?.content : undefined, "ok")
  })

  it("returns the same transcript while nothing changes", () => {
    const transcripts = Transcript.make()
    transcripts.fold([said("a", "x"), said("b", "y")], 0)
    const before = transcripts.get("a")
    transcripts.fold([said("b", "z")], 1)
    assert.strictEqual(transcripts.get("a"), before)
    transcripts.fold([said("a", "z")], 1)
    assert.notStrictEqual(transcripts.get("a"), before)
  })
})
