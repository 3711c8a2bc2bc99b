import { assert, describe, it } from "@effect/vitest"
import * as Workload from "@makima-stream/test-kit/Workload"
import * as Arbitrary from "effect/Arbitrary"
import * as Iterable from "effect/Iterable"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as ExactIntegers from "../src/internal/wire/exactIntegers.ts"
import * as DecodeText from "../src/internal/wire/decodeText.ts"
import * as Frame from "../src/internal/wire/frame.ts"
import { serverMessages } from "../src/internal/wire/protocol.ts"
import { invalidMessage } from "../src/internal/wire/decodeObject.ts"
import { toDecodeError } from "../src/internal/wire/schemaError.ts"
import type { MayBeWanted } from "../src/internal/pushdown.ts"
import * as ServerMessage from "../src/ServerMessage.ts"
import { TaskId } from "../src/TaskId.ts"
import { assertSame } from "./support/assertSame.ts"

const id = TaskId.make("7f1c")

const decode = (frame: string | Uint8Array) => ServerMessage.decodeFrame(frame)

const failure = (frame: string | Uint8Array) => {
  const result = decode(frame)
  if (Result.isSuccess(result)) return assert.fail(`decoded to ${result.success._tag}`)
  return result.failure
}

const bytes = (text: string) => new TextEncoder().encode(text)

// Each schema on its own: a generator of the union does not know that `raw` must not have a known type.
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
 * Whether no member of a value has a backslash in its name. V8 has a bug here (nodejs/node#63785): after it has parsed an
 * object with a name that ends in a backslash, as in `{"a":1,"\\":1}`, it reads the name in `{"a":1,"\n":1}` as that name.
 * A second parse of the same frame can then return something else.
 */
const hasPlainNames = (value: unknown): boolean =>
  typeof value !== "object" ||
  value === null ||
  Object.entries(value).every(([name, member]) => !name.includes("\\") && hasPlainNames(member))

const anyMessage = Arbitrary.filter(Arbitrary.schema(Schema.Union(messages)), hasPlainNames)

const anyJson = Arbitrary.filter(Arbitrary.schema(Schema.Json), hasPlainNames)

/** JSON has no -0, so a generated -0 decodes to 0. */
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

/** A JSON value that may contain integers of any size, as `{ digits }`. */
type Value =
  | string
  | number
  | { readonly digits: string }
  | ReadonlyArray<Value>
  | { readonly members: ReadonlyArray<readonly [string, Value]> }

const anyToolInput: Arbitrary.Arbitrary<Value> = Arbitrary.map(
  Arbitrary.array(
    Arbitrary.all([
      Arbitrary.schema(Schema.Literals(["a", "1234567890123456789", `"`, " : ", "\n"])),
      Arbitrary.schema(Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 10 ** 15 }))),
      Arbitrary.schema(Schema.Literals(["text", "number", "digits", "negative", "array", "members"]))
    ]),
    { maxLength: 8 }
  ),
  (parts) =>
    parts.reduce<Value>((inner, [text, number, kind]): Value => {
      switch (kind) {
        case "text":
          return [inner, text]
        case "number":
          return [number / 8, inner]
        case "digits":
          return [{ digits: `1${number}${number}` }, inner, text]
        case "negative":
          return [inner, { digits: `-9${number}00${number}` }]
        case "array":
          return [inner]
        case "members":
          return {
            members: [
              [text, inner],
              ["z", number]
            ]
          }
      }
    }, "end")
)

const toText = (value: Value): string => {
  if (typeof value !== "object") return JSON.stringify(value)
  if ("digits" in value) return value.digits
  if ("members" in value)
    return `{${value.members.map(([name, member]) => `${JSON.stringify(name)}: ${toText(member)}`).join()}}`
  return `[${value.map(toText).join(" , ")}]`
}

/** The value that a program receives: judged by `BigInt`, which represents every integer. */
const toExact = (value: Value): Schema.Json => {
  if (typeof value !== "object") return value
  if ("digits" in value)
    return String(Number(value.digits)) === String(BigInt(value.digits)) ? Number(value.digits) : value.digits
  if ("members" in value) return Object.fromEntries(value.members.map(([name, member]) => [name, toExact(member)]))
  return value.map(toExact)
}

const wishes: ReadonlyArray<MayBeWanted> = [
  () => false,
  (_, taskId) => taskId === "a",
  (type) => type === "TaskOutput",
  (type) => type === "TaskUpdated"
]

/** Replaces each number by one beyond the range of a double. The text stays valid JSON. */
const overflowing = (text: string): string => text.replaceAll(/-?\d+(?:\.\d+)?(?:e[+-]?\d+)?/g, "1e999")

/** A parsed frame with exact integers in the places whose content the protocol does not define. */
const withExactIntegers = (parsed: Frame.Parsed): Frame.JsonObject => {
  const { object } = parsed
  const exact = ExactIntegers.restore(parsed)
  if (typeof object.type !== "string" || !serverMessages.has(object.type)) return exact
  return object.type === "taskOutput" && exact.toolInput !== undefined
    ? { ...object, toolInput: exact.toolInput }
    : object
}

/** Every frame decodes to what the schema returns for it: the same message, or the same error. */
const assertDecodeAgrees = (frame: string | Uint8Array): void => {
  const parsed = Frame.parse(frame)
  if ("_tag" in parsed) return assertSame<unknown>(decode(frame), Result.fail(parsed))
  const object = withExactIntegers(parsed)
  const { type } = object
  const messageType = typeof type === "string" && serverMessages.has(type) ? type : undefined
  const expected = Result.mapError(decodeBySchema(object), (error) => {
    const same = toDecodeError(error, frame.length, messageType)
    // In a message that the protocol does not define, the name of a member is payload, even if other messages have such a member.
    return messageType === undefined && typeof type === "string" ? invalidMessage([], same.expected, same.size) : same
  })
  assertSame<unknown>(decode(frame), expected)
}

// Parts of valid and of invalid frames, and text that looks like them.
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

    it("decodes null in an optional member like a missing one", () => {
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

    it("decodes an error without code and message to the defaults", () => {
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

    it("decodes a type named like a member of Object.prototype as an unknown message", () => {
      for (const type of ["constructor", "__proto__", "toString", "hasOwnProperty"]) {
        const result = decode(JSON.stringify({ type }))
        assert.isTrue(Result.isSuccess(result) && result.success._tag === "UnknownMessage", type)
      }
    })
  })

  describe("a bad frame", () => {
    it("fails with what is wrong and where", () => {
      const cases: ReadonlyArray<readonly [string, ReturnType<typeof failure>["problem"], string]> = [
        ["", "InvalidJson", ""],
        ["{", "InvalidJson", ""],
        ["\uFEFF", "InvalidJson", ""],
        ["\uFEFF\uFEFF{}", "InvalidJson", ""],
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
        [`{"type":"daemonJoined","load":{"a":-1e999}}`, "InvalidMessage", ""],
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

    it("fails with the type of the frame if the protocol defines it", () => {
      assert.strictEqual(failure(`{"type":"taskUpdated"}`).messageType, "taskUpdated")
      assert.isFalse("messageType" in failure(`{"type":7}`))
    })

    it("fails on bytes that are not UTF-8", () => {
      assert.strictEqual(failure(new Uint8Array([0x7b, 0xff, 0x7d])).problem, "InvalidUtf8")
    })

    it("fails without values or unknown names of the frame in the error", () => {
      const secret = "hunter2"
      for (const frame of [
        `{"type":"taskUpdated","taskId":"a","version":"${secret}"}`,
        `{"type":"taskUpdated","taskId":"a","status":{"${secret}":"${secret}"}}`,
        `{"type":"taskOutput","taskId":"a","messageType":"raw","content":["${secret}"]}`,
        `{"type":{"a":"${secret}"}}`,
        `{"type":{"${secret}":1}}`,
        `{"type":"${secret}","x":1e999}`,
        `{"type":"daemonJoined","${secret}":1e999}`,
        `{"type":"daemonJoined","status":{"${secret}":1e999}}`,
        `{"type":"taskOutput","taskId":"a","messageType":"raw","content":"","toolInput":{"${secret}":1e999}}`,
        secret
      ]) {
        const error = failure(frame)
        assert.notInclude(error.message + JSON.stringify(error) + String(error.stack), secret, frame)
      }
    })
  })

  describe("a byte order mark", () => {
    it("is ignored at the start of a frame, as text and as bytes", () => {
      for (const frame of [
        `{"type":"subscribedAll"}`,
        `{"type":"taskUpdated","taskId":"a","version":1}`,
        `{"type":"taskOutput","taskId":"a","messageType":"raw","content":"\uFEFFx"}`
      ]) {
        const expected = decode(frame)
        assert.isTrue(Result.isSuccess(expected))
        assert.deepStrictEqual(decode(`\uFEFF${frame}`), expected)
        assert.deepStrictEqual(decode(bytes(`\uFEFF${frame}`)), expected)
      }
    })

    it("counts in the size of a bad frame", () => {
      assert.strictEqual(failure("\uFEFF{").size, 2)
      assert.strictEqual(failure(bytes("\uFEFF{")).size, 4)
    })
  })

  describe("an integer that a number cannot keep", () => {
    const output = (toolInput: string, rest = "") =>
      `{"type":"taskOutput","taskId":"a","messageType":"tool_use","content":""${rest},"toolInput":${toolInput}}`
    const input = (frame: string) => {
      const message = Result.getOrThrow(decode(frame))
      return message._tag === "TaskOutput" ? message.toolInput : assert.fail(message._tag)
    }

    it("decodes to a string of its digits in toolInput and in unknown messages", () => {
      const cases: ReadonlyArray<readonly [string, Schema.Json]> = [
        ["1234567890123456789", "1234567890123456789"],
        ["-9007199254740993", "-9007199254740993"],
        [
          `{"id":1234567890123456789,"ids":[[12345678901234567],{}]}`,
          { id: "1234567890123456789", ids: [["12345678901234567"], {}] }
        ],
        [`{ "id" : 12345678901234567 }`, { id: "12345678901234567" }],
        [
          `["1234567890123456789","\\"1234567890123456789",1234567890123456789]`,
          ["1234567890123456789", `"1234567890123456789`, "1234567890123456789"]
        ]
      ]
      for (const [json, expected] of cases) {
        for (const frame of [output(json), ` ${output(json)}`, output(json, `,"costUsd":null`)]) {
          assert.deepStrictEqual(input(frame), expected, frame)
        }
        const unknown = Result.getOrThrow(decode(`{"type":"daemonJoined","x":${json}}`))
        assert.deepStrictEqual<unknown>(unknown, { _tag: "UnknownMessage", raw: { type: "daemonJoined", x: expected } })
      }
    })

    it("leaves other numbers as they are", () => {
      for (const json of ["9007199254740991", "9007199254740992", "1234567890123456800", "100000000000000000000"]) {
        assert.strictEqual(input(output(json)), Number(json), json)
        assert.strictEqual(input(` ${output(json)}`), Number(json), json)
      }
      for (const json of [
        "0.1234567890123456789",
        "1234567890123456789.5",
        "1234567890123456789e2",
        "1e22",
        "-0.5E-20"
      ]) {
        assert.strictEqual(input(output(json)), Number(json), json)
        assert.strictEqual(input(` ${output(json)}`), Number(json), json)
      }
    })

    it("is a number in the members that the protocol defines", () => {
      const message = Result.getOrThrow(decode(output("1234567890123456789", `,"costUsd":1234567890123456789`)))
      assert.deepStrictEqual(message._tag === "TaskOutput" ? [message.costUsd, message.toolInput] : [], [
        1234567890123456800,
        "1234567890123456789"
      ])
      const error = failure(output("1234567890123456789", `,"durationMs":1234567890123456789`))
      assert.deepStrictEqual([error.path, error.expected], [["durationMs"], "an integer"])
    })

    it.prop(
      "decodes the same with every decoder",
      [anyToolInput],
      ([value]) => {
        const json = toText(value)
        const expected = toExact(value)
        for (const frame of [output(json), ` ${output(json)}`, output(json, `,"toolName":"\\n"`)]) {
          assertSame<unknown>(input(frame), expected)
          assertSame<unknown>(decode(bytes(frame)), decode(frame))
          // An unknown member does not change the message, but only the longer ways take it.
          assertSame<unknown>(input(frame.replace(`"type"`, `"extra":1,"type"`)), expected)
          const parsed = Frame.parse(frame)
          if ("_tag" in parsed) return assert.fail(parsed.message)
          const bySchema = Result.getOrThrow(decodeBySchema(withExactIntegers(parsed)))
          assertSame<unknown>(bySchema, Result.getOrThrow(decode(frame)))
        }
        const unknown = Result.getOrThrow(decode(`{"type":"daemonJoined","x":${json}}`))
        assert.deepStrictEqual<unknown>(unknown._tag === "UnknownMessage" ? unknown.raw.x : undefined, expected)
      },
      { arbitrary: { runs: 200 } }
    )

    it("decodes any number of digits and any depth of nesting", () => {
      const digits = "7".repeat(5_000_000)
      assert.strictEqual(input(output(digits)), digits)
      const depth = 100_000
      const deep = `${"[".repeat(depth)}1234567890123456789${"]".repeat(depth)}`
      assert.isTrue(Result.isSuccess(decode(output(deep))))
      assert.isTrue(Result.isSuccess(decode(`{"type":"mystery","x":${deep}}`)))
    })

    it("is searched only in texts with sixteen digits in a row", () => {
      const json = `{"a":123456789012345,"b":"x"}`
      assert.strictEqual(ExactIntegers.quoteInexact(json), json)
      const object = JSON.parse(json)
      assert.strictEqual(ExactIntegers.restore({ json, object }), object)
    })
  })

  describe("the round trip", () => {
    it.prop(
      "decodes what it encodes, as text and as bytes",
      [anyMessage],
      ([message]) => {
        const frame = Result.getOrThrow(ServerMessage.encodeFrame(message))
        const expected: unknown = Result.succeed(likeJson(message))
        assertSame<unknown>(decode(frame), expected)
        assertSame<unknown>(decode(bytes(frame)), expected)
      },
      { arbitrary: { runs: 200 } }
    )
  })

  describe("damage", () => {
    it.prop("every prefix of a frame decodes to what the schema returns", [anyMessage], ([message]) => {
      const frame = bytes(Result.getOrThrow(ServerMessage.encodeFrame(message)))
      for (let length = 0; length < frame.length; length++) assertDecodeAgrees(frame.subarray(0, length))
    })

    it.prop(
      "every frame with a flipped bit decodes to what the schema returns",
      [anyMessage],
      ([message]) => {
        const frame = bytes(Result.getOrThrow(ServerMessage.encodeFrame(message)))
        for (let bit = 0; bit < frame.length * 8; bit++) {
          const damaged = frame.slice()
          damaged[bit >> 3] = (damaged[bit >> 3] ?? 0) ^ (1 << (bit & 7))
          assertDecodeAgrees(damaged)
        }
      },
      { arbitrary: { runs: 15 } }
    )

    it.prop(
      "a missing member, and a member of another type, decode to what the schema returns",
      [anyMessage, anyJson],
      ([message, swap]) => {
        const whole: Record<string, Schema.Json> = JSON.parse(Result.getOrThrow(ServerMessage.encodeFrame(message)))
        for (const key of Object.keys(whole)) {
          const { [key]: _, ...rest } = whole
          assertDecodeAgrees(JSON.stringify(rest))
          const damaged = JSON.stringify({ ...whole, [key]: swap })
          assertDecodeAgrees(damaged)
          assertDecodeAgrees(overflowing(damaged))
        }
      },
      { arbitrary: { runs: 100 } }
    )
  })

  describe("the fast decoder", () => {
    it.prop(
      "returns what the schema returns",
      [anyMessage],
      ([message]) => {
        assertDecodeAgrees(` ${Result.getOrThrow(ServerMessage.encodeFrame(message))}`)
      },
      { arbitrary: { runs: 200 } }
    )

    it.prop(
      "returns from the text of a frame what the schema returns, with any bit damaged",
      [anyMessage],
      ([message]) => {
        const frame = Result.getOrThrow(ServerMessage.encodeFrame(message))
        assertDecodeTextAgrees(frame)
        assertDecodeTextAgrees(overflowing(frame))
        const whole = bytes(frame)
        const decoder = new TextDecoder()
        for (let bit = 0; bit < whole.length * 8; bit++) {
          const damaged = whole.slice()
          damaged[bit >> 3] = (damaged[bit >> 3] ?? 0) ^ (1 << (bit & 7))
          assertDecodeTextAgrees(decoder.decode(damaged))
        }
      },
      // A run has thousands of frames: each with one bit flipped.
      { arbitrary: { runs: 15 } }
    )

    it.prop(
      "returns from text that only looks like a frame what the schema returns",
      [Arbitrary.array(Arbitrary.schema(Schema.Literals(crumbs)), { maxLength: 12 }), Arbitrary.schema(Schema.Boolean)],
      ([soup, isOutput]) => {
        const start = isOutput
          ? `{"type":"taskOutput","taskId":"a","messageType":"raw","content":"x"`
          : `{"type":"taskUpdated","taskId":"a"`
        assertDecodeTextAgrees(start + soup.join("") + "}")
        assertDecodeTextAgrees(
          start + soup.map((crumb) => (crumb.startsWith(`"`) ? `,${crumb}` : crumb)).join("") + "}"
        )
      },
      { arbitrary: { runs: 1000 } }
    )

    it("decodes frames as servers write them, with escapes and with null for absent members", () => {
      const frames = [
        `{"type":"taskUpdated","taskId":"a"}`,
        `{"type":"taskUpdated","taskId":"a","version":3,"status":"running","updatedFields":["x",",","y"],"updatedBy":null}`,
        `{"type":"taskUpdated","taskId":"a","version":null,"status":null,"updatedFields":[],"updatedBy":"daemon"}`,
        `{"type":"taskOutput","taskId":"a","messageType":"raw","content":"a \\"b\\" \\u0041\\n"}`,
        `{"type":"taskOutput","taskId":"a","messageType":"raw","content":"","toolName":"B","toolInput":{"isError":true},"isError":true,"costUsd":-1.5,"durationMs":0,"isPartial":false}`,
        `{"type":"taskOutput","taskId":"a","messageType":"raw","content":"","toolName":null,"toolInput":null,"isError":null,"costUsd":null,"durationMs":null,"isPartial":null}`
      ]
      for (const frame of frames) {
        assert.isDefined(DecodeText.decode(frame), frame)
        assertDecodeTextAgrees(frame)
      }
      for (const message of Iterable.take(Workload.endless(), 1000)) {
        assert.isDefined(DecodeText.decode(Result.getOrThrow(ServerMessage.encodeFrame(message))))
      }
    })

    it("leaves acknowledgements to the longer way", () => {
      const frames = [
        `{"type":"outputSubscribed","taskId":"a"}`,
        `{"type":"outputSubscribed","taskId":""}`,
        `{"type":"outputSubscribed","taskId":"a\\u0062"}`,
        `{"type":"outputSubscribed","taskId":"a","x":1}`,
        `{"type":"outputSubscribed"}`,
        `{"type":"outputUnsubscribed","taskId":"a"}`
      ]
      for (const frame of frames) {
        assert.isUndefined(DecodeText.decode(frame), frame)
        assertDecodeTextAgrees(frame)
      }
    })

    it("leaves long frames to the longer way, because substrings keep them in memory", () => {
      const frame = (length: number) =>
        `{"type":"taskOutput","taskId":"a","messageType":"raw","content":"${"x".repeat(length)}"}`
      assert.isDefined(DecodeText.decode(frame(900)))
      assert.isUndefined(DecodeText.decode(frame(1100)))
    })
  })

  describe("skip", () => {
    const nothing: MayBeWanted = () => false

    it("skips frames as servers write them, with escapes, and with plain tool input", () => {
      for (const frame of [
        `{"type":"taskUpdated","taskId":"a"}`,
        `{"type":"taskUpdated","taskId":"a","version":3,"status":"running","updatedFields":["x","y"],"updatedBy":null}`,
        `{"type":"taskOutput","taskId":"a","messageType":"raw","content":"a \\"b\\" \\u0041\\n"}`,
        `{"type":"taskOutput","taskId":"a","messageType":"raw","content":"","toolName":"B","toolInput":{"path":"a\\"b","all":true,"n":1.5,"no":null},"isError":true,"costUsd":-1.5,"durationMs":0,"isPartial":false}`,
        `{"type":"taskOutput","taskId":"a","messageType":"raw","content":"","toolInput":{}}`
      ]) {
        assert.isDefined(skip(frame, nothing), frame)
        assertSkipAgrees(frame)
      }
      for (const message of Iterable.take(Workload.endless(), 1000)) {
        assert.strictEqual<unknown>(skip(Result.getOrThrow(ServerMessage.encodeFrame(message)), nothing), message._tag)
      }
    })

    it("does not skip a frame that is invalid, or that only JSON.parse can check", () => {
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
        assert.isUndefined(skip(frame, nothing), frame)
      }
    })

    it("does not skip a wanted task whose id is written with escapes", () => {
      const wanted: MayBeWanted = (_, taskId) => taskId === "a"
      for (const taskId of ["a", "\\u0061"]) {
        assert.isUndefined(skip(`{"type":"taskUpdated","taskId":"${taskId}"}`, wanted))
        const output = `{"type":"taskOutput","taskId":"${taskId}","messageType":"raw","content":""}`
        assert.isUndefined(skip(output, wanted))
      }
    })
  })

  describe("hostile frames", () => {
    it("do not change Object.prototype", () => {
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

    it("decode or fail at any depth of nesting, and never throw", () => {
      // A recursive decoder overflows the stack at about a tenth of this.
      const depth = 100_000
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

/** Returns the type of a message that is validated and not decoded. */
function skip(frame: string, mayBeWanted: MayBeWanted) {
  const result = DecodeText.decode(frame, mayBeWanted)
  return typeof result === "string" ? result : undefined
}

/** A skipped frame is a message by the schema, of the type that `skip` returned, and an unwanted one. */
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

/** What `decodeText` returns for a text is what the schema returns for the object in it. */
function assertDecodeTextAgrees(text: string): void {
  assertSkipAgrees(text)
  const message = DecodeText.decode(text)
  if (message === undefined || typeof message === "string") return
  const object = withExactIntegers({ json: text, object: JSON.parse(text) })
  assertSame<unknown>(decodeBySchema(object), Result.succeed(message))
}

const decodeBySchema = Schema.decodeUnknownResult(ServerMessage.ServerMessage)
