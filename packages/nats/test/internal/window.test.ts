import { assert, describe, it } from "@effect/vitest"
import { TaskId } from "@makima-stream/core/TaskId"
import type { MeshEvent } from "@makima-stream/core/MeshEvent"
import type { NewEvent } from "@makima-stream/log/MeshLog"
import type { JetStreamClient, JetStreamManager, PubAck } from "@nats-io/jetstream"
import { JetStreamApiError } from "@nats-io/jetstream"
import type { NatsConnection } from "@nats-io/transport-node"
import { Known } from "../../src/internal/known.ts"
import { split, toHeader } from "../../src/internal/message.ts"
import * as Subjects from "../../src/internal/subjects.ts"
import { Publisher } from "../../src/internal/window.ts"

interface Published {
  readonly subject: string
  readonly expected: unknown
  readonly bytes: number
}

type Answer = "stored" | "duplicate" | "conflict"

/** The member of the client that the publisher uses. The other members are never read. */
const pick = <A>(used: Partial<A>): A => used as A

/** A publisher whose server gives these answers, one for each message. */
const make = (answers: ReadonlyArray<Answer>, maxPayload = 1024 * 1024) => {
  const published: Array<Published> = []
  let seq = 10
  const publish = (subject: string, payload: string | Uint8Array, options: { readonly expect?: unknown }) => {
    const answer = answers[published.length]
    published.push({ subject, expected: options.expect, bytes: payload.length })
    if (answer === "conflict") {
      return Promise.reject(new JetStreamApiError({ code: 400, err_code: 10_071, description: "wrong last sequence" }))
    }
    const duplicate = answer === "duplicate"
    return Promise.resolve(pick<PubAck>({ seq: duplicate ? 4 : ++seq, duplicate }))
  }
  const subjects = Subjects.make("tasks")
  const known = new Known({ jsm: pick<JetStreamManager>({}), stream: "s", subjects })
  const publisher = new Publisher(
    {
      nc: pick<NatsConnection>({ info: { max_payload: maxPayload } as NatsConnection["info"] & {} }),
      js: pick<JetStreamClient>({ publish: publish as JetStreamClient["publish"] }),
      subjects,
      timeoutMillis: 1000,
      faults: { messagesLeft: undefined }
    },
    known
  )
  return { published, publisher }
}

const newEvent = (id: string, event: MeshEvent): NewEvent => ({ id, event })
const output = (id: string, content = id): NewEvent =>
  newEvent(id, { _tag: "TaskOutput", taskId: TaskId.make("t"), messageType: "result", content })
const mark = (id: string): NewEvent => newEvent(id, { _tag: "Resync", epoch: 1, reason: { _tag: "Started" } })

describe("Publisher", () => {
  it("expects for each message the sequence and the id of the one before it", async () => {
    const { published, publisher } = make(["stored", "stored"])
    const at = { seq: 10, marks: 0 }
    const outcome = await publisher.window([output("a"), mark("b"), output("c")], 0, 2, at)
    assert.deepStrictEqual(
      published.map(({ expected }) => expected),
      [{ lastSequence: 10 }, { lastSequence: 11, lastMsgID: "a" }]
    )
    assert.deepStrictEqual(outcome, { count: 2, position: 12, isDuplicate: false, isConflict: false })
    assert.deepStrictEqual(at, { seq: 12, marks: 1 })
  })

  it("counts only what was stored before a conflict", async () => {
    const { publisher } = make(["stored", "conflict", "conflict"])
    const at = { seq: 10, marks: 0 }
    const outcome = await publisher.window([output("a"), output("b"), output("c")], 0, 10, at)
    assert.deepStrictEqual(outcome, { count: 1, position: 11, isDuplicate: false, isConflict: true })
    assert.strictEqual(at.seq, 11)
  })

  it("has the old position of an event that was stored before, and sends the events after it again later", async () => {
    const { publisher } = make(["duplicate", "conflict"])
    const at = { seq: 10, marks: 0 }
    const outcome = await publisher.window([output("a"), output("b")], 0, 10, at)
    assert.deepStrictEqual(outcome, { count: 1, position: 4, isDuplicate: true, isConflict: false })
    assert.strictEqual(at.seq, 10)
  })

  it("stores an event that is too large for a message in parts, after the messages before it", async () => {
    const { published, publisher } = make(["stored", "stored", "stored", "stored"], 8 * 1024 + 200)
    const at = { seq: 10, marks: 0 }
    const large = output("b", "x".repeat(400))
    const first = await publisher.window([output("a"), large], 0, 10, at)
    assert.strictEqual(first.count, 1)
    const second = await publisher.window([output("a"), large], 1, 10, at)
    assert.deepStrictEqual([second.count, second.position], [1, 14])
    assert.isTrue(published.slice(1).every(({ bytes }) => bytes <= 201))
  })
})

describe("split", () => {
  it("has no part above the limit, and all bytes in order", () => {
    const bytes = Uint8Array.from({ length: 10 }, (_, i) => i)
    const parts = split(bytes, 4)
    assert.deepStrictEqual(
      parts.map(({ length }) => length),
      [4, 4, 2]
    )
    assert.deepStrictEqual(Uint8Array.from(parts.flatMap((part) => [...part])), bytes)
  })
})

describe("toHeader", () => {
  it("leaves a plain id as it is, and encodes one that a header cannot hold or that looks encoded", () => {
    assert.strictEqual(toHeader("u:a:1"), "u:a:1")
    assert.strictEqual(toHeader("a b").startsWith("="), true)
    assert.notStrictEqual(toHeader("=YSBi"), "=YSBi")
  })
})
