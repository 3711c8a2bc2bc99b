/** Whole messages, and the same messages in the pieces that a server sends while the agent writes them. */
import * as Arbitrary from "effect/Arbitrary"
import * as Schema from "effect/Schema"
import * as TaskId from "@makima-stream/core/TaskId"
import type * as ServerMessage from "@makima-stream/core/ServerMessage"
import { output, piece } from "./events.ts"

/** Text that matters for lines: line ends, halves of line ends, long lines, surrogate pairs. */
const Part = Schema.Literals(["", "x", "yy", "\n", "\r\n", "\r", "\n\n", "zzzzz", "\u{1F600}", "one\ntwo"])

const Message = Schema.Struct({
  taskId: Schema.Literals(["a", "b"]),
  messageType: Schema.Literals(["assistant", "tool_result"]),
  parts: Schema.Array(Part)
})

/** A message: its task, its type, and its text in the parts in which the server sends it. */
export interface Message {
  readonly taskId: TaskId.TaskId
  readonly messageType: string
  readonly parts: ReadonlyArray<string>
}

export const messages: Arbitrary.Arbitrary<Array<Message>> = Arbitrary.map(
  Arbitrary.array(Arbitrary.schema(Message), { maxLength: 8 }),
  (messages) => messages.map((message) => ({ ...message, taskId: TaskId.make(message.taskId) }))
)

/** The messages of one task. */
export const ofTask = (messages: ReadonlyArray<Message>, taskId: TaskId.TaskId): ReadonlyArray<Message> =>
  messages.filter((message) => message.taskId === taskId)

/** A message as one output. */
export const whole = ({ messageType, parts, taskId }: Message): ServerMessage.TaskOutput =>
  output(taskId, parts.join(""), { messageType, costUsd: parts.length })

const closing = (message: Message, content: string): ServerMessage.TaskOutput => ({ ...whole(message), content })

type Convention = {
  readonly pieces?: "delta" | "snapshot"
  readonly closing?: "whole" | "piece"
}

/** Every convention, and how a server that follows it sends a message. */
export const conventions: ReadonlyArray<{
  readonly name: string
  readonly options: Convention
  readonly send: (message: Message) => ReadonlyArray<ServerMessage.TaskOutput>
}> = [
  {
    name: "deltas closed by the whole text, the default",
    options: {},
    send: (message) => [...deltas(message, message.parts), whole(message)]
  },
  {
    name: "deltas closed by an empty text",
    options: { pieces: "delta", closing: "whole" },
    send: (message) => [...deltas(message, message.parts), closing(message, "")]
  },
  {
    name: "deltas closed by the last piece",
    options: { closing: "piece" },
    send: (message) => [
      ...deltas(message, message.parts.slice(0, -1)),
      closing(message, message.parts[message.parts.length - 1] ?? "")
    ]
  },
  {
    name: "snapshots closed by the whole text",
    options: { pieces: "snapshot" },
    send: (message) => [...snapshots(message), whole(message)]
  },
  {
    name: "snapshots closed by the whole text, with any option for the closing",
    options: { pieces: "snapshot", closing: "piece" },
    send: (message) => [...snapshots(message), whole(message)]
  },
  {
    name: "snapshots closed by an empty text",
    options: { pieces: "snapshot" },
    send: (message) => [...snapshots(message), closing(message, "")]
  }
]

const deltas = (
  { messageType, taskId }: Message,
  parts: ReadonlyArray<string>
): ReadonlyArray<ServerMessage.TaskOutput> => parts.map((part) => piece(taskId, part, { messageType }))

const snapshots = ({ messageType, parts, taskId }: Message): ReadonlyArray<ServerMessage.TaskOutput> =>
  parts.map((_, i) => piece(taskId, parts.slice(0, i + 1).join(""), { messageType }))

/** Merges sequences into one, in turns of the given sizes. Each sequence keeps its order. */
export const weave = <A>(sequences: ReadonlyArray<ReadonlyArray<A>>, turns: ReadonlyArray<number>): Array<A> => {
  const rest = sequences.map((sequence) => [...sequence])
  const woven: Array<A> = []
  for (let turn = 0; rest.some((sequence) => sequence.length > 0); turn++) {
    woven.push(...(rest[turn % rest.length]?.splice(0, turns[turn % turns.length] ?? 1) ?? []))
  }
  return woven
}
