import { assert, describe, it } from "@effect/vitest"
import * as Arbitrary from "effect/Arbitrary"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type { Writable } from "node:stream"
import * as ws from "ws"
import * as Frames from "../../src/internal/frames.ts"

interface Part {
  readonly first: number
  readonly payload: string
  readonly masked: boolean
}

const frame = ({ first, payload, masked }: Part): Buffer => {
  const data = Buffer.from(payload)
  const mask = masked ? 0x80 : 0
  const header =
    data.length < 126
      ? Buffer.from([first, mask | data.length])
      : data.length < 65_536
        ? Buffer.from([first, mask | 126, data.length >> 8, data.length & 0xff])
        : Buffer.from([
            first,
            mask | 127,
            0,
            0,
            0,
            0,
            0,
            data.length >> 16,
            (data.length >> 8) & 0xff,
            data.length & 0xff
          ])
  return Buffer.concat(masked ? [header, Buffer.alloc(4), data] : [header, data])
}

const maxFrameBytes = 70_000

// The types of `ws` do not know its parser.
const Receiver = Reflect.get(ws, "Receiver") as new (options: {
  readonly maxPayload: number
  readonly skipUTF8Validation: boolean
}) => Writable

const receiver = (log: Array<string>) => {
  const parser = new Receiver({ maxPayload: maxFrameBytes, skipUTF8Validation: true })
  parser.on("message", (data: Buffer, isBinary: boolean) => log.push(`${isBinary ? "binary" : "text"} ${data}`))
  parser.on("ping", (data: Buffer) => log.push(`ping ${data}`))
  parser.on("pong", (data: Buffer) => log.push(`pong ${data}`))
  parser.on("conclude", (code: number) => log.push(`close ${code}`))
  parser.on("error", (error) => log.push(`error ${error.message}`))
  return parser
}

/** Feeds the bytes in pieces, as `ws` is fed: no further once it has seen the end. */
const feed = (pieces: ReadonlyArray<Buffer>, log: ReadonlyArray<string>, write: (piece: Buffer) => void) => {
  for (const piece of pieces) {
    if (log.some((line) => line.startsWith("close"))) return
    write(piece)
  }
}

const cut = (bytes: Buffer, sizes: ReadonlyArray<number>): ReadonlyArray<Buffer> => {
  const pieces: Array<Buffer> = []
  let at = 0
  for (let n = 0; at < bytes.length; n++) {
    const size = Math.max(1, sizes[n % Math.max(1, sizes.length)] ?? bytes.length)
    pieces.push(bytes.subarray(at, at + size))
    at += size
  }
  return pieces
}

const settled = () => new Promise<void>((resolve) => setImmediate(resolve))

const compare = async (parts: ReadonlyArray<Part>, sizes: ReadonlyArray<number>, handOverAfter?: number) => {
  const pieces = cut(Buffer.concat(parts.map(frame)), sizes)
  const expected: Array<string> = []
  const alone = receiver(expected)
  feed(pieces, expected, (piece) => alone.write(piece))
  const actual: Array<string> = []
  const behind = receiver(actual)
  let taken = 0
  const splitter = Frames.make({
    maxFrameBytes,
    onText: (chunk, start, end) => {
      taken++
      actual.push(`text ${chunk.subarray(start, end)}`)
    },
    pass: (bytes) => behind.write(bytes),
    onHandOver: () => {}
  })
  let fed = 0
  feed(pieces, actual, (piece) => {
    if (fed++ === handOverAfter) splitter.handOver()
    splitter.write(piece)
  })
  // A parser reports errors in a later tick.
  await settled()
  assert.deepStrictEqual(actual, expected)
  return taken
}

const kinds = [
  [0x81, 8],
  [0x82, 2],
  [0x89, 2],
  [0x8a, 2],
  [0x88, 1],
  [0x01, 1],
  [0x00, 1],
  [0x80, 1],
  [0xc1, 1],
  [0x83, 1],
  [0x09, 1]
] as const
const payloads = [
  "",
  "{}",
  "マキマ",
  "x".repeat(125),
  "y".repeat(126),
  "z".repeat(300),
  "long ".repeat(13_200),
  "w".repeat(70_001)
]

const part = Arbitrary.map(
  Arbitrary.schema(
    Schema.Struct({
      first: Schema.Literals(kinds.flatMap(([first, weight]) => Array.from({ length: weight }, () => first))),
      payload: Schema.Literals([...payloads, ...payloads.slice(0, 6), ...payloads.slice(0, 6)]),
      odds: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 30 }))
    })
  ),
  ({ first, payload, odds }): Part => ({
    first,
    // A close frame's payload would start with its code.
    payload: first === 0x88 ? "" : payload,
    masked: odds === 0
  })
)
const sizes = Arbitrary.array(Arbitrary.schema(Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 400 }))), {
  minLength: 1,
  maxLength: 8
})

describe("frames", () => {
  it.effect.prop(
    "decodes any bytes in any pieces to the same frames as ws alone",
    [Arbitrary.array(part, { maxLength: 12 }), sizes],
    ([parts, sizes]) => Effect.promise(() => compare(parts, sizes)),
    { arbitrary: { runs: 80 } }
  )

  it.effect.prop(
    "loses nothing when a connection is passed to ws between two chunks",
    [
      Arbitrary.array(part, { maxLength: 12 }),
      sizes,
      Arbitrary.schema(Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 9 })))
    ],
    ([parts, sizes, after]) => Effect.promise(() => compare(parts, sizes, after)),
    { arbitrary: { runs: 80 } }
  )

  it("takes whole text frames past ws", async () => {
    const parts = Array.from({ length: 10 }, (_, n) => ({ first: 0x81, payload: `{"n":${n}}`, masked: false }))
    assert.strictEqual(await compare(parts, []), 10)
    // Nine, where a cut goes through one.
    assert.strictEqual(await compare(parts, [12, 1000]), 9)
  })

  it("leaves everything after the first fragment to ws", async () => {
    const text = { first: 0x81, payload: "{}", masked: false }
    const fragments = [
      { first: 0x01, payload: "{", masked: false },
      { first: 0x80, payload: "}", masked: false }
    ]
    assert.strictEqual(await compare([text, ...fragments, text], []), 1)
  })
})
