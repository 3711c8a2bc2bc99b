import * as Interest from "@makima-stream/core/Interest"
import * as ServerMessage from "@makima-stream/core/ServerMessage"
import * as TaskId from "@makima-stream/core/TaskId"
import * as Workload from "@makima-stream/test-kit/Workload"
import { assert, describe, it } from "@effect/vitest"
import * as Arr from "effect/Array"
import * as Iterable from "effect/Iterable"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import { assertSame } from "../../core/test/support/assertSame.ts"

const Ratio = Schema.Finite.check(Schema.isBetween({ minimum: 0, maximum: 1 }))
const Count = (minimum: number, maximum: number) => Schema.Int.check(Schema.isBetween({ minimum, maximum }))

/** Every option, over its whole range. */
const Options = Schema.Struct({
  seed: Schema.Union([Schema.String, Schema.Int]),
  tasks: Count(0, 30),
  concurrency: Count(1, 8),
  outputsPerTask: Count(2, 30),
  partialRatio: Ratio,
  toolUseRatio: Ratio,
  failureRatio: Ratio,
  pauseRatio: Ratio,
  meanIntervalMillis: Count(0, 200),
  contentSize: Count(0, 300)
})

const isUpdate = (message: Workload.Message): message is ServerMessage.TaskUpdated => message._tag === "TaskUpdated"
const isOutput = (message: Workload.Message): message is ServerMessage.TaskOutput => message._tag === "TaskOutput"

const byTask = <M extends Workload.Message>(messages: ReadonlyArray<M>): ReadonlyArray<ReadonlyArray<M>> =>
  Object.values(Arr.groupBy(messages, ({ taskId }) => taskId))

const histories = (workload: Workload.Workload): ReadonlyArray<ReadonlyArray<Workload.Message>> =>
  byTask(workload.map(({ message }) => message))

const terminal = new Set(["done", "merged", "failed", "cancelled"])

const sum = (counts: Readonly<Record<string, number>>) => Object.values(counts).reduce((a, b) => a + b, 0)

const take = (count: number, options?: Workload.TaskOptions) =>
  Array.from(Iterable.take(Workload.endless(options), count))

/** Each property looks at every message of a run, and no property depends on a rare combination of options. */
const runs = { arbitrary: { runs: 15 } }

describe("Workload", () => {
  describe("make", () => {
    it.prop(
      "makes the same workload from the same options",
      [Options],
      ([options]) => {
        assertSame(Workload.make(options), Workload.make(options))
      },
      runs
    )

    it("makes other tasks and another history from another seed", () => {
      const [one, two] = [Workload.make({ seed: 1 }), Workload.make({ seed: 2 })]
      const ids = new Set([...Workload.taskIds({ seed: 1 }), ...Workload.taskIds({ seed: 2 })])
      assert.strictEqual(ids.size, 48)
      assert.notDeepEqual(
        one.map(({ at }) => at),
        two.map(({ at }) => at)
      )
    })

    it("makes the same workload on every machine", () => {
      const workload = Workload.make({ seed: "golden", tasks: 2 })
      assert.deepStrictEqual(workload[1], {
        at: 92,
        message: {
          _tag: "TaskUpdated",
          taskId: TaskId.make("9b9ed634-715c-4953-82f2-000000000002"),
          version: 1,
          status: "pending",
          updatedFields: ["status", "name", "plan"],
          updatedBy: "user"
        }
      })
      assert.strictEqual(Workload.summary(workload).costUsd, 1.5322265625)
      assert.strictEqual(workload.at(-1)?.at, 701)
    })

    it("makes 200,000 outputs of one task, and accepts any concurrency", () => {
      const long = Workload.make({ tasks: 1, outputsPerTask: 200_000, contentSize: 1 })
      assert.strictEqual(Workload.summary(long).outputs, 200_000)
      assert.strictEqual(Workload.make({ tasks: 1, concurrency: Number.POSITIVE_INFINITY }).length > 0, true)
      assert.strictEqual(Workload.summary(Workload.make({ tasks: 3, concurrency: 200_000 })).tasks, 3)
    })

    it("clamps an invalid option to the nearest valid value, and NaN to the least", () => {
      assert.deepStrictEqual(Workload.make({ tasks: Number.NaN }), [])
      const nan = {
        outputsPerTask: NaN,
        concurrency: NaN,
        partialRatio: NaN,
        contentSize: NaN,
        meanIntervalMillis: NaN
      }
      const least = { outputsPerTask: 2, concurrency: 1, partialRatio: 0, contentSize: 0, meanIntervalMillis: 0 }
      assert.deepStrictEqual(Workload.make(nan), Workload.make(least))
      assert.deepStrictEqual(Workload.make({ pauseRatio: 7, tasks: 1.9 }), Workload.make({ pauseRatio: 1, tasks: 1 }))
    })

    it.prop(
      "times are whole milliseconds and never decrease",
      [Options],
      ([options]) => {
        const times = Workload.make(options).map(({ at }) => at)
        assert.isTrue(times.every((at, index) => Number.isSafeInteger(at) && at >= (times[index - 1] ?? 0)))
      },
      runs
    )

    it.prop(
      "every message survives the wire",
      [Options],
      ([options]) => {
        const messages = Workload.make(options).map(({ message }) => message)
        const frames = messages.map((message) => Result.getOrThrow(ServerMessage.encodeFrame(message)))
        assertSame<unknown>(
          frames.map((frame) => Result.getOrThrow(ServerMessage.decodeFrame(frame))),
          messages
        )
      },
      runs
    )

    it.prop(
      "versions start at 1 and have no gap",
      [Options],
      ([options]) => {
        for (const history of histories(Workload.make(options))) {
          const versions = history.filter(isUpdate).map(({ version }) => version)
          assert.deepStrictEqual(
            versions,
            versions.map((_, index) => index + 1)
          )
        }
      },
      runs
    )

    it.prop(
      "a task goes from pending through running to one terminal status, and sends nothing afterwards",
      [Options],
      ([options]) => {
        for (const history of histories(Workload.make(options))) {
          const statuses = history.filter(isUpdate).map(({ status }) => status ?? "")
          assert.deepStrictEqual(statuses.slice(0, 3), ["pending", "starting", "running"])
          assert.deepStrictEqual(
            statuses.map((status) => terminal.has(status)),
            statuses.map((_, index) => index === statuses.length - 1)
          )
          assert.strictEqual(statuses.at(-2), "running")
          assert.strictEqual(history.at(-1)?._tag, "TaskUpdated")
        }
      },
      runs
    )

    it.prop(
      "every update names the changed fields and the author of the change",
      [Options],
      ([options]) => {
        for (const { message } of Workload.make(options)) {
          if (!isUpdate(message)) continue
          assert.include(message.updatedFields ?? [], "status")
          assert.isAbove(message.updatedBy?.length ?? 0, 0)
        }
      },
      runs
    )

    it.prop(
      "a task has exactly outputsPerTask outputs, the first a system message and the last its only result",
      [Options],
      ([options]) => {
        for (const history of histories(Workload.make(options))) {
          const outputs = history.filter(isOutput)
          assert.lengthOf(outputs, options.outputsPerTask)
          assert.strictEqual(outputs[0]?.messageType, "system")
          const results = outputs.filter(({ messageType }) => messageType === "result")
          assert.lengthOf(results, 1)
          assert.strictEqual(results[0], outputs.at(-1))
          assert.strictEqual(results[0], history.at(-2))
          assert.isAbove(results[0]?.costUsd ?? 0, 0)
          assert.isAtLeast(results[0]?.durationMs ?? -1, 0)
        }
      },
      runs
    )

    it.prop(
      "only a running task sends output",
      [Options],
      ([options]) => {
        for (const history of histories(Workload.make(options))) {
          let status: string | undefined
          for (const message of history) {
            if (isUpdate(message)) status = message.status
            else if (status !== "running") assert.fail(`output while ${status}`)
          }
        }
      },
      runs
    )

    it.prop(
      "a tool's result follows its use",
      [Options],
      ([options]) => {
        for (const history of histories(Workload.make(options))) {
          const outputs = history.filter(isOutput)
          for (const [index, { messageType, toolName, toolInput }] of outputs.entries()) {
            if (messageType !== "tool_use") continue
            assert.isDefined(toolInput)
            assert.strictEqual(outputs[index + 1]?.messageType, "tool_result")
            assert.strictEqual(outputs[index + 1]?.toolName, toolName)
          }
        }
      },
      runs
    )

    it.prop(
      "a partial message is sent as two or more deltas and then as a whole",
      [Options],
      ([options]) => {
        for (const history of histories(Workload.make(options))) {
          let pieces: ReadonlyArray<string> = []
          for (const message of history) {
            if (isOutput(message) && message.isPartial === true) {
              pieces = [...pieces, message.content]
            } else if (pieces.length > 0) {
              assert.isAtLeast(pieces.length, 2)
              assert.isTrue(isOutput(message) && message.content === pieces.join(""))
              pieces = []
            }
          }
          assert.lengthOf(pieces, 0)
        }
      },
      runs
    )

    it.prop(
      "whole messages have the size contentSize",
      [Options],
      ([options]) => {
        for (const { message } of Workload.make(options)) {
          if (!isOutput(message) || message.isPartial === true || message.messageType === "tool_use") continue
          if (message.content.length !== options.contentSize) assert.lengthOf(message.content, options.contentSize)
        }
      },
      runs
    )

    it.prop(
      "the duration of a result is the time since the task first ran",
      [Options],
      ([options]) => {
        const since = new Map<TaskId.TaskId, number>()
        for (const { at, message } of Workload.make(options)) {
          if (isUpdate(message)) {
            if (message.status === "running" && !since.has(message.taskId)) since.set(message.taskId, at)
          } else if (message.messageType === "result") {
            assert.strictEqual(message.durationMs, at - (since.get(message.taskId) ?? Number.NaN))
          }
        }
      },
      runs
    )

    it("ratios of 0 and 1 mean never and always", () => {
      const never = Workload.summary(
        Workload.make({ partialRatio: 0, toolUseRatio: 0, failureRatio: 0, pauseRatio: 0 })
      )
      assert.strictEqual(never.partials, 0)
      assert.isUndefined(never.messageTypes.tool_use)
      assert.isTrue(!("failed" in never.statuses) && !("cancelled" in never.statuses))
      assert.strictEqual(never.updates, 24 * 4)

      const always = Workload.summary(Workload.make({ partialRatio: 1, failureRatio: 1, pauseRatio: 1 }))
      assert.isAbove(always.partials, 0)
      assert.isTrue(!("done" in always.statuses) && !("merged" in always.statuses))
      assert.strictEqual(always.updates, 24 * 6)
      assert.isUndefined(Workload.summary(Workload.make({ toolUseRatio: 1, outputsPerTask: 6 })).messageTypes.assistant)
    })

    it("the default workload has every message type, every terminal status and partial messages", () => {
      const { messageTypes, statuses, partials } = Workload.summary(Workload.make())
      assert.hasAllKeys(messageTypes, ["system", "assistant", "tool_use", "tool_result", "result"])
      assert.hasAllKeys(statuses, ["done", "merged", "failed", "cancelled"])
      assert.isAbove(partials, 0)
    })

    it("exactly concurrency tasks run interleaved", () => {
      const workload = Workload.make({ concurrency: 5 })
      const live = new Set<TaskId.TaskId>()
      const counts = workload.map(({ message }) => {
        if (isUpdate(message) && terminal.has(message.status ?? "")) live.delete(message.taskId)
        else live.add(message.taskId)
        return live.size
      })
      assert.strictEqual(Math.max(...counts), 5)
    })

    it.prop(
      "adding tasks does not change the histories of the earlier tasks",
      [Options],
      ([options]) => {
        const more = histories(Workload.make({ ...options, tasks: options.tasks + 3 }))
        const longer = new Map(more.map((history) => [history[0]?.taskId, history]))
        for (const history of histories(Workload.make(options))) {
          assertSame(longer.get(history[0]?.taskId), history)
        }
      },
      runs
    )

    it("meanIntervalMillis is the mean interval of one task", () => {
      const { durationMillis, messages } = Workload.summary(
        Workload.make({ tasks: 200, concurrency: 1, meanIntervalMillis: 40, partialRatio: 0 })
      )
      assert.closeTo(durationMillis / messages, 40, 2)
    })
  })

  describe("taskIds", () => {
    it.prop(
      "taskIds returns the tasks of the workload, in the form of UUIDs",
      [Options],
      ([options]) => {
        const ids = Workload.taskIds(options)
        assert.deepStrictEqual(new Set(ids), new Set(Workload.make(options).map(({ message }) => message.taskId)))
        assert.strictEqual(new Set(ids).size, options.tasks)
        for (const id of ids) assert.match(id, /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/)
        assert.strictEqual(Interest.output(ids).output.size, options.tasks)
      },
      runs
    )
  })

  describe("summary", () => {
    it.prop(
      "the counts of a summary add up",
      [Options],
      ([options]) => {
        const workload = Workload.make(options)
        const summary = Workload.summary(workload)
        const outputs = workload.map(({ message }) => message).filter(isOutput)
        assert.strictEqual(summary.tasks, options.tasks)
        assert.strictEqual(summary.messages, workload.length)
        assert.strictEqual(summary.outputs, outputs.length)
        assert.strictEqual(summary.updates + summary.outputs, summary.messages)
        assert.strictEqual(sum(summary.messageTypes), summary.outputs)
        assert.strictEqual(sum(summary.statuses), summary.tasks)
        assert.strictEqual(summary.messageTypes.result ?? 0, options.tasks)
        assert.strictEqual(summary.partials, outputs.filter(({ isPartial }) => isPartial === true).length)
        assert.strictEqual(summary.durationMillis, workload.at(-1)?.at ?? 0)
      },
      runs
    )

    it.prop(
      "costs are multiples of 1/1024 dollar, so their sum is the same in any order",
      [Options],
      ([options]) => {
        const workload = Workload.make(options)
        let backwards = 0
        for (const { message } of workload.toReversed()) {
          const costUsd = isOutput(message) ? (message.costUsd ?? 0) : 0
          if (!Number.isInteger(costUsd * 1024)) assert.fail(`${costUsd}`)
          backwards += costUsd
        }
        assert.strictEqual(Workload.summary(workload).costUsd, backwards)
      },
      runs
    )
  })

  describe("endless", () => {
    it("each iterator of endless starts again with the same messages", () => {
      const endless = Workload.endless({ seed: "again" })
      assert.deepStrictEqual(Array.from(Iterable.take(endless, 50)), Array.from(Iterable.take(endless, 50)))
      assert.notDeepEqual(Array.from(Iterable.take(endless, 50)), take(50, { seed: "other" }))
    })

    it("endless has four outputs for each update, of all the tasks", () => {
      const messages = take(5000, { tasks: 7 })
      assert.lengthOf(messages.filter(isUpdate), 1000)
      assert.deepStrictEqual(new Set(messages.map(({ taskId }) => taskId)), new Set(Workload.taskIds({ tasks: 7 })))
    })

    it("frames of endless have 150 to 250 bytes, and their sizes vary", () => {
      const sizes = take(5000).map((message) =>
        Buffer.byteLength(Result.getOrThrow(ServerMessage.encodeFrame(message)))
      )
      assert.isAtLeast(Math.min(...sizes), 150)
      assert.isAtMost(Math.max(...sizes), 250)
      assert.isAbove(new Set(sizes).size, 50)
    })

    it("every message survives the wire", () => {
      for (const message of take(1000)) {
        const frame = Result.getOrThrow(ServerMessage.encodeFrame(message))
        assertSame<unknown>(Result.getOrThrow(ServerMessage.decodeFrame(frame)), message)
      }
    })

    it("versions start at 1 and have no gap", () => {
      for (const updates of byTask(take(5000).filter(isUpdate))) {
        assert.deepStrictEqual(
          updates.map(({ version }) => version),
          updates.map((_, index) => index + 1)
        )
      }
    })
  })
})
