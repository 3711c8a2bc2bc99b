import { assert, describe, it } from "@effect/vitest"
import * as Workload from "@makima-stream/test-kit/Workload"
import * as Arbitrary from "effect/Arbitrary"
import * as Iterable from "effect/Iterable"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as HotPath from "../src/internal/wire/fastDecode.ts"
import { skip } from "../src/internal/wire/skip.ts"
import type { MayBeWanted } from "../src/internal/pushdown.ts"
import * as ServerMessage from "../src/ServerMessage.ts"
import { TaskId } from "../src/TaskId.ts"

const id = TaskId.make("7f1c")

const decode = (frame: string | Uint8Array) => ServerMessage.decodeFrame(frame)

const failure = (frame: string | Uint8Array) => {
  const result = decode(frame)
  if (Result.isSuccess(result)) return assert.fail(`decoded to ${result.success._tag}`)
  return result.failure
}

const bytes = (text: string) => new TextEncoder().encode(text)

// A generator has no way to know that a raw object may not be of a known type, so each member is generated apart.
const messages = [
  ServerMessage.TaskUpdated,
  ServerMessage.TaskOutput,
  ServerMessage.ServerError,
  ServerMessage.SubscribedAll,
  ServerMessage.UnsubscribedAll,
  ServerMessage.Subscribed,
  ServerMessage.Unsubscribed,
  ServerMessage.OutputSubscribed,
  ServerMessage.OutputUnsubscribed,
  ServerMessage.UnknownMessage
] as const

/**
 * Whether no member of a value has a backslash in its name. Once V8 has parsed an object with a name that ends in one, it
 * takes an escape that follows the same beginning for that name, as in `{"a":1,"\\":1}` and then `{"a":1,"\n":1}`
 * (nodejs/node#63785). What parses a frame a second time then has something else before it.
 */
const hasPlainNames = (value: unknown): boolean =>
  typeof value !== "object" ||
  value === null ||
  Object.entries(value).every(([name, member]) => !name.includes("\\") && hasPlainNames(member))

const anyMessage = Arbitrary.filter(Arbitrary.schema(Schema.Union(messages)), hasPlainNames)

const anyJson = Arbitrary.filter(Arbitrary.schema(Schema.Json), hasPlainNames)

/** JSON has one zero, so a generated -0 comes back as 0: the same number. */
const likeJson = (value: unknown): unknown => {
  if (Object.is(value, -0)) return 0
  if (Array.isArray(value)) return value.map(likeJson)
  if (typeof value !== "object" || value === null) return value
  const out: Record<string, unknown> = {}
  for (const [key, member] of Object.entries(value)) {
    // Plain assignment would set the prototype for a member called `__proto__`.
    Object.defineProperty(out, key, { value: likeJson(member), enumerable: true, writable: true, configurable: true })
  }
  return out
}

const wishes: ReadonlyArray<MayBeWanted> = [
  () => false,
  (_, taskId) => taskId === "a",
  (type) => type === "TaskOutput",
  (type) => type === "TaskUpdated"
]

/** A JSON text with numbers that no double holds: JSON, to which JavaScript has nothing equal. */
const overflowing = (text: string): string => text.replaceAll(/-?\d+(?:\.\d+)?(?:e[+-]?\d+)?/g, "1e999")

/** Every outcome of decoding is a value: a throw would fail the property by itself. */
const judge = (frame: string | Uint8Array) => {
  const result = decode(frame)
  if (Result.isFailure(result)) assert.strictEqual(result.failure._tag, "DecodeError")
}

// What stands in frames, right and wrong, and what could be mistaken for it.
const crumbs = [
  `"toolName":"Bash"`,
  `"toolName":null`,
  `"toolInput":{"a":1}`,
  `"toolInput":{"a":1`,
  `"toolInput":"`,
  `"toolInput":[`,
  `"toolInput":null`,
  `"toolInput": 7 `,
  `"toolInput":-1e999`,
  `"toolInput":{"a":[1e999]}`,
  `"isError":true`,
  `"isError":"true"`,
  `"costUsd":0.5`,
  `"costUsd":1e999`,
  `"costUsd":-0`,
  `"costUsd":01`,
  `"durationMs":12`,
  `"durationMs":1.5`,
  `"durationMs":9007199254740993`,
  `"isPartial":false`,
  `"isPartial":null`,
  `"version":1`,
  `"version":-1`,
  `"version":01`,
  `"status":"done"`,
  `"status":"\\n"`,
  `"updatedFields":["a","b"]`,
  `"updatedFields":["a" ]`,
  `"updatedFields":[","]`,
  `"updatedFields":[1]`,
  `"updatedBy":"x"`,
  `"content":"again"`,
  `"taskId":"b"`,
  `"unknown":{}`,
  `"__proto__":{}`,
  `}`,
  `]`,
  `,`,
  ` `,
  `\n`,
  `\\`,
  `"`
] as const

describe("ServerMessage", () => {
  describe("the wire's spelling", () => {
    it("decodes an update with everything", () => {
      assert.deepStrictEqual(
        decode(
          `{"type":"taskUpdated","taskId":"7f1c","version":3,"status":"running","updatedFields":["status"],"updatedBy":"daemon","extra":1}`
        ),
        Result.succeed({
          _tag: "TaskUpdated",
          taskId: id,
          version: 3,
          status: "running",
          updatedFields: ["status"],
          updatedBy: "daemon"
        })
      )
    })

    it("decodes an output with everything", () => {
      assert.deepStrictEqual(
        decode(
          `{"type":"taskOutput","taskId":"7f1c","messageType":"tool_use","content":"","toolName":"Bash","toolInput":{"command":["ls"]},"isError":false,"costUsd":0.25,"durationMs":12,"isPartial":true}`
        ),
        Result.succeed({
          _tag: "TaskOutput",
          taskId: id,
          messageType: "tool_use",
          content: "",
          toolName: "Bash",
          toolInput: { command: ["ls"] },
          isError: false,
          costUsd: 0.25,
          durationMs: 12,
          isPartial: true
        })
      )
    })

    it("takes null for missing, in every optional member", () => {
      assert.deepStrictEqual(
        decode(
          `{"type":"taskUpdated","taskId":"7f1c","version":null,"status":null,"updatedFields":null,"updatedBy":null}`
        ),
        Result.succeed({ _tag: "TaskUpdated", taskId: id })
      )
      assert.deepStrictEqual(
        decode(
          `{"type":"taskOutput","taskId":"7f1c","messageType":"raw","content":"x","toolName":null,"toolInput":null,"isError":null,"costUsd":null,"durationMs":null,"isPartial":null}`
        ),
        Result.succeed({ _tag: "TaskOutput", taskId: id, messageType: "raw", content: "x" })
      )
      assert.deepStrictEqual(
        decode(`{"type":"subscribed","taskId":null}`),
        Result.succeed({ _tag: "Subscribed" as const })
      )
    })

    it("gives an error its defaults", () => {
      const expected = Result.succeed({ _tag: "ServerError" as const, code: "ERROR", message: "" })
      assert.deepStrictEqual(decode(`{"type":"error"}`), expected)
      assert.deepStrictEqual(decode(`{"type":"error","code":null,"message":null}`), expected)
    })

    it("accepts statuses and message types that were never seen before", () => {
      assert.isTrue(Result.isSuccess(decode(`{"type":"taskUpdated","taskId":"a","status":"levitating"}`)))
      assert.isTrue(Result.isSuccess(decode(`{"type":"taskOutput","taskId":"a","messageType":"smell","content":""}`)))
    })

    it("keeps the whole object of an unknown type", () => {
      assert.deepStrictEqual(
        decode(`{"type":"daemonJoined","host":"h","load":[0.5]}`),
        Result.succeed({ _tag: "UnknownMessage", raw: { type: "daemonJoined", host: "h", load: [0.5] } })
      )
    })

    it("takes a name of Object.prototype for an unknown type", () => {
      for (const type of ["constructor", "__proto__", "toString", "hasOwnProperty"]) {
        const result = decode(JSON.stringify({ type }))
        assert.isTrue(Result.isSuccess(result) && result.success._tag === "UnknownMessage", type)
      }
    })
  })

  describe("what is no message", () => {
    it("says what was wrong and where", () => {
      const cases: ReadonlyArray<readonly [string, ReturnType<typeof failure>["problem"], string]> = [
        ["", "InvalidJson", ""],
        ["{", "InvalidJson", ""],
        ["\uFEFF{}", "InvalidJson", ""],
        ["null", "NotAnObject", ""],
        ["[]", "NotAnObject", ""],
        ["3", "NotAnObject", ""],
        ["{}", "InvalidMessage", "type"],
        [`{"type":7}`, "InvalidMessage", "type"],
        [`{"type":"taskUpdated"}`, "InvalidMessage", "taskId"],
        [`{"type":"taskUpdated","taskId":""}`, "InvalidMessage", "taskId"],
        [`{"type":"taskUpdated","taskId":"a","version":1.5}`, "InvalidMessage", "version"],
        [`{"type":"taskUpdated","taskId":"a","version":"1"}`, "InvalidMessage", "version"],
        [`{"type":"taskUpdated","taskId":"a","version":9007199254740992}`, "InvalidMessage", "version"],
        [`{"type":"taskUpdated","taskId":"a","updatedFields":["x",1]}`, "InvalidMessage", "updatedFields.1"],
        [
          `{"type":"taskOutput","taskId":"a","messageType":"result","content":"","costUsd":1e999}`,
          "InvalidMessage",
          "costUsd"
        ],
        [
          `{"type":"taskOutput","taskId":"a","messageType":"tool_use","content":"","toolInput":{"a":[1e999]}}`,
          "InvalidMessage",
          "toolInput"
        ],
        [`{"type":"daemonJoined","load":{"a":-1e999}}`, "InvalidMessage", "load"],
        [`{"type":"taskOutput","taskId":"a","messageType":"raw"}`, "InvalidMessage", "content"],
        [`{"type":"error","code":5}`, "InvalidMessage", "code"]
      ]
      for (const [frame, problem, path] of cases) {
        const error = failure(frame)
        assert.strictEqual(error.problem, problem, frame)
        assert.strictEqual(error.path.join("."), path, frame)
        assert.strictEqual(error.size, frame.length)
      }
    })

    it("names the frame's type where it is a known one", () => {
      assert.strictEqual(failure(`{"type":"taskUpdated"}`).messageType, "taskUpdated")
      assert.isFalse("messageType" in failure(`{"type":7}`))
    })

    it("refuses bytes that are not UTF-8", () => {
      assert.strictEqual(failure(new Uint8Array([0x7b, 0xff, 0x7d])).problem, "InvalidUtf8")
    })

    it("never repeats what the frame held", () => {
      const secret = "hunter2"
      for (const frame of [
        `{"type":"taskUpdated","taskId":"a","version":"${secret}"}`,
        `{"type":"taskUpdated","taskId":"a","status":{"${secret}":"${secret}"}}`,
        `{"type":"taskOutput","taskId":"a","messageType":"raw","content":["${secret}"]}`,
        `{"type":{"a":"${secret}"}}`,
        secret
      ]) {
        const error = failure(frame)
        assert.notInclude(error.message + JSON.stringify(error) + String(error.stack), secret, frame)
      }
    })
  })

  describe("the round trip", () => {
    it.prop(
      "decodes what it encodes, as text and as bytes",
      [anyMessage],
      ([message]) => {
        const frame = Result.getOrThrow(ServerMessage.encodeFrame(message))
        const expected: unknown = Result.succeed(likeJson(message))
        assert.deepStrictEqual<unknown>(decode(frame), expected)
        assert.deepStrictEqual<unknown>(decode(bytes(frame)), expected)
      },
      { arbitrary: { runs: 500 } }
    )
  })

  describe("damage", () => {
    it.prop("every prefix of a frame gives a value or a typed error", [anyMessage], ([message]) => {
      const frame = bytes(Result.getOrThrow(ServerMessage.encodeFrame(message)))
      for (let length = 0; length < frame.length; length++) judge(frame.subarray(0, length))
    })

    it.prop("every flipped bit gives a value or a typed error", [anyMessage], ([message]) => {
      const frame = bytes(Result.getOrThrow(ServerMessage.encodeFrame(message)))
      for (let bit = 0; bit < frame.length * 8; bit++) {
        const damaged = frame.slice()
        damaged[bit >> 3] = (damaged[bit >> 3] ?? 0) ^ (1 << (bit & 7))
        judge(damaged)
      }
    })

    it.prop(
      "a member of another type gives a value or a typed error, the same from the short way as from the schema",
      [anyMessage, anyJson],
      ([message, swap]) => {
        const whole: Record<string, Schema.Json> = JSON.parse(Result.getOrThrow(ServerMessage.encodeFrame(message)))
        for (const key of Object.keys(whole)) {
          const damaged = JSON.parse(JSON.stringify({ ...whole, [key]: swap }))
          judge(JSON.stringify(damaged))
          assertHotPathAgrees(damaged)
          assertHotPathAgrees(JSON.parse(overflowing(JSON.stringify(damaged))))
        }
      },
      { arbitrary: { runs: 300 } }
    )
  })

  describe("the short way", () => {
    it.prop(
      "gives what the schema gives",
      [anyMessage],
      ([message]) => {
        assertHotPathAgrees(JSON.parse(Result.getOrThrow(ServerMessage.encodeFrame(message))))
      },
      { arbitrary: { runs: 500 } }
    )

    it.prop(
      "gives from a frame's text what the schema gives, whatever bit of it is damaged",
      [anyMessage],
      ([message]) => {
        const frame = Result.getOrThrow(ServerMessage.encodeFrame(message))
        assertTextPathAgrees(frame)
        assertTextPathAgrees(overflowing(frame))
        const whole = bytes(frame)
        const decoder = new TextDecoder()
        for (let bit = 0; bit < whole.length * 8; bit++) {
          const damaged = whole.slice()
          damaged[bit >> 3] = (damaged[bit >> 3] ?? 0) ^ (1 << (bit & 7))
          assertTextPathAgrees(decoder.decode(damaged))
        }
      }
    )

    it.prop(
      "gives from text that only looks like a frame what the schema gives",
      [Arbitrary.array(Arbitrary.schema(Schema.Literals(crumbs)), { maxLength: 12 }), Arbitrary.schema(Schema.Boolean)],
      ([soup, isOutput]) => {
        const start = isOutput
          ? `{"type":"taskOutput","taskId":"a","messageType":"raw","content":"x"`
          : `{"type":"taskUpdated","taskId":"a"`
        assertTextPathAgrees(start + soup.join("") + "}")
        assertTextPathAgrees(start + soup.map((crumb) => (crumb.startsWith(`"`) ? `,${crumb}` : crumb)).join("") + "}")
      },
      { arbitrary: { runs: 3000 } }
    )

    it("takes a frame as servers write it, with escapes and with null for what is absent", () => {
      const frames = [
        `{"type":"taskUpdated","taskId":"a"}`,
        `{"type":"taskUpdated","taskId":"a","version":3,"status":"running","updatedFields":["x",",","y"],"updatedBy":null}`,
        `{"type":"taskUpdated","taskId":"a","version":null,"status":null,"updatedFields":[],"updatedBy":"daemon"}`,
        `{"type":"taskOutput","taskId":"a","messageType":"raw","content":"a \\"b\\" \\u0041\\n"}`,
        `{"type":"taskOutput","taskId":"a","messageType":"raw","content":"","toolName":"B","toolInput":{"isError":[true]},"isError":true,"costUsd":-1.5e-7,"durationMs":0,"isPartial":false}`,
        `{"type":"taskOutput","taskId":"a","messageType":"raw","content":"","toolName":null,"toolInput":null,"isError":null,"costUsd":null,"durationMs":null,"isPartial":null}`
      ]
      for (const frame of frames) {
        assert.isDefined(HotPath.decodeText(frame), frame)
        assertTextPathAgrees(frame)
      }
      for (const message of Iterable.take(Workload.endless(), 1000)) {
        assert.isDefined(HotPath.decodeText(Result.getOrThrow(ServerMessage.encodeFrame(message))))
      }
    })

    it("leaves a frame to the longer way whose parts would keep much of it in memory", () => {
      const frame = (length: number) =>
        `{"type":"taskOutput","taskId":"a","messageType":"raw","content":"${"x".repeat(length)}"}`
      assert.isDefined(HotPath.decodeText(frame(900)))
      assert.isUndefined(HotPath.decodeText(frame(1100)))
    })

    it("is taken by the two frequent messages", () => {
      assert.isDefined(HotPath.decode({ type: "taskUpdated", taskId: "a", version: 1, status: null }))
      assert.isDefined(HotPath.decode({ type: "taskOutput", taskId: "a", messageType: "raw", content: "" }))
    })
  })

  describe("the way past what nobody wants", () => {
    const nobody: MayBeWanted = () => false

    it("is taken by frames as servers write them, with escapes, and with plain tool input", () => {
      for (const frame of [
        `{"type":"taskUpdated","taskId":"a"}`,
        `{"type":"taskUpdated","taskId":"a","version":3,"status":"run\\u0041ning","updatedFields":["x","\\n"],"updatedBy":null}`,
        `{"type":"taskOutput","taskId":"a","messageType":"raw","content":"a \\"b\\" \\u0041\\n"}`,
        `{"type":"taskOutput","taskId":"a","messageType":"raw","content":"","toolName":"B","toolInput":{"path":"a\\"b","all":true,"n":1.5,"no":null},"isError":true,"costUsd":-1.5,"durationMs":0,"isPartial":false}`,
        `{"type":"taskOutput","taskId":"a","messageType":"raw","content":"","toolInput":{}}`
      ]) {
        assert.isDefined(skip(frame, nobody), frame)
        assertSkipAgrees(frame)
      }
      for (const message of Iterable.take(Workload.endless(), 1000)) {
        assert.strictEqual<unknown>(skip(Result.getOrThrow(ServerMessage.encodeFrame(message)), nobody), message._tag)
      }
    })

    it("is not taken by a frame that only a parse can judge, or that is wrong", () => {
      for (const frame of [
        `{"type":"taskOutput","taskId":"a","messageType":"raw","content":"","toolInput":{"deep":{"isPartial":true}}}`,
        `{"type":"taskOutput","taskId":"a","messageType":"raw","content":"","toolInput":{"a":1,}}`,
        `{"type":"taskOutput","taskId":"a","messageType":"raw","content":"","costUsd":1e999}`,
        `{"type":"taskOutput","taskId":"a","messageType":"raw","content":"\\x"}`,
        `{"type":"taskOutput","taskId":"a","messageType":"raw","content":"\\u00g0"}`,
        `{"type":"taskOutput","taskId":"a","messageType":"raw","content":"\n"}`,
        `{"type":"taskOutput","taskId":"","messageType":"raw","content":""}`,
        `{"type":"taskOutput","taskId":"a","messageType":"raw"}`,
        `{"type":"taskUpdated","taskId":"a","version":1.5}`,
        `{"type":"taskUpdated","taskId":"a","version":9007199254740993}`
      ]) {
        assert.isUndefined(skip(frame, nobody), frame)
      }
    })

    it("is not taken by a wanted task whose id is written with escapes", () => {
      const wanted: MayBeWanted = (_, taskId) => taskId === "a"
      for (const taskId of ["a", "\\u0061"]) {
        assert.isUndefined(skip(`{"type":"taskUpdated","taskId":"${taskId}"}`, wanted))
        const output = `{"type":"taskOutput","taskId":"${taskId}","messageType":"raw","content":""}`
        assert.isUndefined(skip(output, wanted))
      }
    })
  })

  describe("hostile frames", () => {
    it("leaves Object.prototype alone", () => {
      const before = Object.getOwnPropertyNames(Object.prototype).length
      const frames = [
        `{"type":"taskUpdated","taskId":"a","__proto__":{"polluted":true},"constructor":{"prototype":{"polluted":true}}}`,
        `{"type":"taskOutput","taskId":"a","messageType":"raw","content":"","toolInput":{"__proto__":{"polluted":true}}}`,
        `{"type":"new","__proto__":{"polluted":true}}`,
        `{"type":"error","__proto__":{"code":"polluted"}}`
      ]
      for (const frame of frames) {
        const result = Result.getOrThrow(decode(frame))
        assert.isUndefined((result as { readonly polluted?: unknown }).polluted)
        assert.strictEqual(Object.getPrototypeOf(result), Object.prototype)
      }
      assert.isUndefined(({} as { readonly polluted?: unknown }).polluted)
      assert.strictEqual(Object.getOwnPropertyNames(Object.prototype).length, before)
      const error = Result.getOrThrow(decode(`{"type":"error","__proto__":{"code":"polluted"}}`))
      assert.strictEqual(error._tag === "ServerError" ? error.code : "", "ERROR")
    })

    it("survives nesting of any depth", () => {
      const depth = 1_000_000
      const deep = "[".repeat(depth) + "]".repeat(depth)
      for (const frame of [
        `{"type":"taskOutput","taskId":"a","messageType":"tool_use","content":"","toolInput":${deep}}`,
        `{"type":"mystery","x":${deep}}`
      ]) {
        assert.isTrue(Result.isSuccess(decode(frame)))
      }
      for (const frame of [deep, `{"type":"taskUpdated","taskId":"a","version":${deep}}`, `{"type":${deep}}`]) {
        assert.strictEqual(failure(frame)._tag, "DecodeError")
      }
    })
  })
})

/** A frame that is skipped is the message that the schema sees in it, and one that was not wanted. */
function assertSkipAgrees(text: string): void {
  for (const mayBeWanted of wishes) {
    const skipped = skip(text, mayBeWanted)
    if (skipped === undefined) continue
    const message = Result.getOrThrow(decodeBySchema(JSON.parse(text)))
    assert.strictEqual(message._tag, skipped, text)
    if (message._tag !== "TaskOutput" && message._tag !== "TaskUpdated") return assert.fail(message._tag)
    assert.isFalse(mayBeWanted(message._tag, message.taskId), text)
  }
}

/** What comes from a frame's text is the schema's own answer to the object in it. */
function assertTextPathAgrees(text: string): void {
  assertSkipAgrees(text)
  const hot = HotPath.decodeText(text)
  if (hot === undefined) return
  const object: Record<string, Schema.Json> = JSON.parse(text)
  assert.deepStrictEqual(decodeBySchema(object), Result.succeed(hot))
}

const decodeBySchema = Schema.decodeUnknownResult(ServerMessage.ServerMessage)

/** The short way never decides that something is wrong, and what it decides is the schema's own answer. */
function assertHotPathAgrees(object: Record<string, Schema.Json>): void {
  const hot = HotPath.decode(object)
  if (hot !== undefined) assert.deepStrictEqual(decodeBySchema(object), Result.succeed(hot))
}
