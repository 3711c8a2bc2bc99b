/**
 * 24 tasks in the state in which a person finds them after a coffee: some are done, two have failed, some wait for an answer,
 * the others are at work. It plays within a minute of real time, while the clock of the page goes from 40 minutes ago to now.
 */
import type * as ServerMessage from "@makima-stream/core/ServerMessage"
import * as Effect from "effect/Effect"
import { followed, open as openPage, output, updated, type World } from "./world.ts"

type Message = ServerMessage.TaskUpdated | ServerMessage.TaskOutput

/** What is emitted at one time. */
export interface Step {
  /** How long ago, in minutes. */
  readonly minutesAgo: number
  readonly messages: ReadonlyArray<Message>
}

const id = (n: number): string => `7c1e${(0x9a31 + n * 0x1d3).toString(16)}-04b2-4e6f-8a17-${`${n}`.padStart(12, "5")}`

/** The ids, in the order of their start. */
export const ids: ReadonlyArray<string> = Array.from({ length: 24 }, (_, n) => id(n))

/** The task with a transcript to read. */
export const main = id(3)

/** The statuses at the end, by the place of the task. */
export const endings: ReadonlyArray<string> = [
  "done done failed running blocked running merged running running paused done running",
  "running failed running done running blocked running running done running pending pending"
].flatMap((half) => half.split(" "))

const subjects = [
  "the login form",
  "the retry policy of the uploader",
  "the flaky test of the scheduler",
  "the export to CSV",
  "the migration of the invoices",
  "the cache of the search page"
]

const lines = [
  (subject: string) => `I will start with ${subject}, and read what is there.`,
  (subject: string) => `The tests of ${subject} pass now. One of them was wrong: it compared times in two time zones.`,
  (subject: string) => `There are two ways to change ${subject}. The smaller one keeps the interface as it is.`,
  (subject: string) => `Done with the first half of ${subject}. Next: the edge cases, and a note in the changelog.`
]

type Json = NonNullable<ServerMessage.TaskOutput["toolInput"]>

const tool = (task: string, name: string, input: Json, result: string, isError = false): ReadonlyArray<Message> => [
  output(task, "", {
    messageType: "tool_use",
    toolName: name,
    toolInput: input
  }),
  output(task, result, { messageType: "tool_result", toolName: name, isError })
]

const transcript: ReadonlyArray<Message> = [
  output(
    main,
    [
      "I have read the exporter. It builds the whole file in memory, which is why it fails for **large accounts**. My plan:",
      "",
      "1. Write the rows as they come, through `Readable.from`.",
      "2. Escape quotes and line breaks as RFC 4180 says.",
      "3. Keep the old function for callers that want a string."
    ].join("\n")
  ),
  ...tool(
    main,
    "Bash",
    { command: "pnpm test export --run" },
    "\u001b[32m✓\u001b[39m writes a header\n\u001b[32m✓\u001b[39m escapes quotes\n\u001b[31m✗\u001b[39m exports 200,000 rows\n\n 2 passed, 1 failed",
    true
  ),
  ...tool(
    main,
    "Edit",
    {
      file_path: "src/export.ts",
      old_string: 'export const toCsv = (rows: Array<Row>) =>\n  rows.map(format).join("\\n")',
      new_string: "export const toCsv = (rows: Iterable<Row>) =>\n  Readable.from(lines(rows))"
    },
    "The file src/export.ts has been updated."
  ),
  ...tool(
    main,
    "Bash",
    { command: "pnpm test export --run" },
    "\u001b[32m✓\u001b[39m writes a header\n\u001b[32m✓\u001b[39m escapes quotes\n\u001b[32m✓\u001b[39m exports 200,000 rows\n\n 3 passed"
  ),
  output(main, "All three tests pass, and the memory stays below 40 MB. I will now write the note for the changelog.")
]

const started = (n: number): number => 38 - n * 1.3

/** What task `n` has cost in a minute, in US dollars. A result has the cost of its run so far. */
const costAfter = (n: number, minute: number): number => Math.round(minute * (3 + (n % 4)) + ((n * 13) % 20)) / 100

/** The messages of task `n` in minute `minute`. */
const work = (n: number, minutesAgo: number): ReadonlyArray<Message> => {
  const task = id(n)
  const minute = Math.round(started(n) - minutesAgo)
  const subject = subjects[n % subjects.length] ?? ""
  if (minute === 0) return [updated(task, 1, n >= 22 ? "pending" : "running")]
  if (n >= 22 || minute < 0) return []
  const ending = endings[n] ?? "running"
  const end = ending === "running" ? Number.POSITIVE_INFINITY : 6 + (n % 5) * 2
  if (minute > end) return []
  if (minute === end) {
    const cost = ending === "blocked" || ending === "paused" ? undefined : costAfter(n, minute)
    return [
      ...(cost === undefined
        ? [output(task, `I need an answer before I change ${subject}: may I drop the old column?`)]
        : [
            output(task, ending === "failed" ? "The budget is used up." : `Finished ${subject}.`, {
              messageType: "result",
              costUsd: cost,
              durationMs: end * 60_000,
              isError: ending === "failed"
            })
          ]),
      updated(task, 2, ending)
    ]
  }
  if (n === 3 && minute === 32) return transcript
  if (minute % 3 !== n % 3) return []
  const line = lines[(minute + n) % lines.length] ?? String
  return [
    ...(minute % 2 === 0 ? tool(task, "Read", { file_path: `src/module-${n}.ts` }, "120 lines") : []),
    output(task, line(subject)),
    ...(minute % 4 === 1
      ? [
          output(task, `The tests of ${subject} pass. Ready for the next step.`, {
            messageType: "result",
            costUsd: costAfter(n, minute),
            durationMs: 65_000
          })
        ]
      : [])
  ]
}

/** The whole story, minute by minute. */
export const steps: ReadonlyArray<Step> = Array.from({ length: 40 }, (_, n) => 39 - n).map((minutesAgo) => ({
  minutesAgo,
  messages: ids.flatMap((_, n) => work(n, minutesAgo))
}))

/** Everything that the tasks have cost, in US dollars: the last result of each. */
export const costUsd = [
  ...new Map(
    steps
      .flatMap(({ messages }) => messages)
      .flatMap((message) =>
        message._tag === "TaskOutput" && message.costUsd !== undefined
          ? [[message.taskId, message.costUsd] as const]
          : []
      )
  ).values()
].reduce((sum, cost) => sum + cost, 0)

/** Whether a frame has this message. */
const has = (payload: string | Buffer, message: Message): boolean => {
  const frame = String(payload)
  const what = message._tag === "TaskOutput" ? JSON.stringify(message.content) : `"version":${message.version}`
  return frame.includes(message.taskId) && frame.includes(what)
}

/** The time at the end of the story, in milliseconds since 1970. It is fixed, so that pictures do not differ without a reason. */
const end = Date.UTC(2026, 10, 20, 14, 5)

/** Opens a page, and plays the story to it. The clock of the page goes along. */
export const open = Effect.fnUntraced(function* (world: World) {
  const at = (minutesAgo: number): number => end - minutesAgo * 60_000
  const opened = yield* openPage(world, { time: at(40) })
  const { page, socket } = opened
  yield* Effect.promise(() => page.getByRole("status", { name: "Connection" }).getByText("Online").waitFor())
  for (const { messages, minutesAgo } of steps) {
    const last = messages.at(-1)
    if (last === undefined) continue
    yield* Effect.promise(() => page.clock.setFixedTime(at(minutesAgo)))
    const arrived = socket.waitForEvent("framereceived", ({ payload }) => has(payload, last))
    yield* world.server.emitAll(messages)
    yield* Effect.promise(() => arrived)
    yield* followed(
      world,
      messages.filter(({ _tag }) => _tag === "TaskUpdated").map(({ taskId }) => taskId)
    )
  }
  yield* Effect.promise(() => page.clock.setFixedTime(end))
  return opened
})
