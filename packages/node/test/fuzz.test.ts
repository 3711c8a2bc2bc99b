/**
 * Hostile servers on a real socket: damaged, malicious and giant frames, end to end. The client is a process that
 * reports uncaught errors.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { execFile } from "node:child_process"
import { constants, deflateRawSync } from "node:zlib"
import { fileOf } from "../../test-kit/test/support/programs.ts"
import * as Servers from "./support/servers.ts"

const Follower = Schema.Struct({
  counts: Schema.Record(Schema.String, Schema.Int),
  died: Schema.Boolean,
  ended: Schema.String
})

const Report = Schema.fromJsonString(
  Schema.Struct({
    reports: Schema.Struct({ stream: Follower, client: Follower }),
    uncaught: Schema.Array(Schema.String),
    maxRssMiB: Schema.Finite
  })
)
type Report = typeof Report.Type

/** Runs a stream against a server, and then a client against another. */
const run = (urls: { readonly stream: string; readonly client: string }): Effect.Effect<Report> =>
  Effect.callback((resume) => {
    const path = fileOf("packages/node/test/fixtures/fuzzed")
    const child = execFile(process.execPath, [path, urls.stream, urls.client], (error, stdout, stderr) => {
      resume(
        error === null
          ? Effect.sync(() => Schema.decodeUnknownSync(Report)(stdout))
          : Effect.die(new Error(`the process ended: ${error.message}\n${stderr}`))
      )
    })
    return Effect.sync(() => child.kill("SIGKILL"))
  })

/**
 * Asserts that there was no crash, no defect and no uncaught error, that each feed ended by the server's close, and that the
 * process stayed within a number of MiB. Returns what the stream and the client counted.
 */
const counts = ({ maxRssMiB, reports, uncaught }: Report, maxMiB: number) => {
  assert.deepStrictEqual(uncaught, [])
  assert.isBelow(maxRssMiB, maxMiB)
  return [reports.stream, reports.client].map(({ counts, died, ended }) => {
    assert.isFalse(died, ended)
    assert.include(ended, "4400")
    return counts
  })
}

/** A seeded random source of bytes. */
const random = (seed: number) => {
  let state = seed
  const next = (): number => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return state / 0x1_0000_0000
  }
  const below = (n: number) => Math.floor(next() * n)
  return { next, below, pick: <A>(items: ReadonlyArray<A>) => items[below(items.length)] as A }
}

const close = (code: number, reason = ""): Buffer => {
  const payload = Buffer.from(`..${reason}`)
  payload.writeUInt16BE(code)
  return Servers.frame(8, payload)
}

const text = (value: string | Buffer) => Servers.frame(1, value)

const update = `{"type":"taskUpdated","taskId":"a","version":1,"status":"running","updatedFields":["x"]}`
const output = `{"type":"taskOutput","taskId":"a","messageType":"assistant","content":"hello","toolInput":{"a":[1,{}]}}`

const deep = (open: string, shut: string, depth: number) => open.repeat(depth) + "0" + shut.repeat(depth)
const deepArray = deep("[", "]", 50_000)
const deepObject = deep(`{"a":`, "}", 50_000)

/** Valid frames with malicious contents. */
const hostile: ReadonlyArray<string> = [
  "",
  "null",
  "[]",
  "{}",
  `"text"`,
  deepArray,
  deepObject,
  `{"type":"x","raw":${deepArray}}`,
  `{"type":"taskOutput","taskId":"a","messageType":"m","content":"c","toolInput":${deepObject}}`,
  // The same for frames that the fast decoder passes on to the schema.
  `{"type":"taskOutput","taskId":"a","messageType":"m","content":"c","isError":"no","toolInput":${deepObject}}`,
  `{"type":"taskOutput","taskId":"a","messageType":"m","content":"c","durationMs":1.5,"toolInput":${deepArray}}`,
  `{"type":"taskUpdated","taskId":${deepArray}}`,
  `{"type":"taskUpdated","taskId":"a","updatedFields":${deepArray}}`,
  `{"type":${deepArray}}`,
  `{"type":"error","code":${deepObject},"message":${deepObject}}`,
  `{"type":"subscribed","taskId":${deepObject}}`,
  `{"type":"__proto__"}`,
  `{"__proto__":{"type":"taskUpdated"},"taskId":"a"}`,
  `{"type":"x","__proto__":{"polluted":true},"constructor":{"prototype":{"polluted":true}}}`,
  `{"type":"constructor","toString":1,"valueOf":2,"toJSON":3}`,
  `{"type":"taskOutput","taskId":"a","messageType":"m","content":"c","costUsd":1e999,"durationMs":-1e308}`,
  `{"type":"taskUpdated","taskId":"a","version":9007199254740993}`,
  `{"type":"taskUpdated","taskId":"\\ud800","status":"\\udfff\\u0000"}`,
  `{"type":"taskUpdated","taskId":"","status":1}`,
  `{"type":"taskUpdated","taskId":"${"x".repeat(500_000)}"}`,
  `{"type":"taskUpdated","taskId":"a","updatedFields":[${'"f",'.repeat(100_000)}"f"]}`,
  `{${Array.from({ length: 50_000 }, (_, i) => `"k${i}":${i}`).join()},"type":"taskUpdated","taskId":"a"}`,
  `\uFEFF${update}`,
  `${update}${update}`,
  `${update}\u0000`
]

/** Whole messages, damaged. */
const damaged = (seed: number): Buffer => {
  const { below, pick } = random(seed)
  const bytes = Buffer.from(pick([update, output, `{"type":"error"}`, `{"type":"subscribedAll"}`]))
  for (let i = 1 + below(4); i > 0; i--) {
    const at = below(bytes.length)
    bytes[at] = pick([below(256), 0x22, 0x7b, 0x5d, 0x30, 0xff])
  }
  return pick([bytes, bytes.subarray(0, below(bytes.length)), Buffer.concat([bytes, bytes])])
}

/** Bytes that a WebSocket server must not send. Each of them ends a connection. */
const illegal = (seed: number): Buffer => {
  const { below, next, pick } = random(seed)
  const junk = Buffer.from(Array.from({ length: 1 + below(300) }, () => below(256)))
  return pick<() => Buffer>([
    () => junk,
    () => Servers.frame(3 + below(5), junk),
    () => Servers.frame(11 + below(5), junk),
    // A continuation without a start; a fragment interrupted by another message; a fragmented ping.
    () => Servers.frame(0, junk),
    () => Buffer.concat([Servers.frame(1, "{", { fin: false }), text(update)]),
    () => Servers.frame(9, junk.subarray(0, 100), { fin: false }),
    // A ping too long, reserved bits, a masked frame, a length that was written too long.
    () => Servers.frame(9, Buffer.alloc(126)),
    () => Buffer.concat([Buffer.from([0x81 | (0x10 << below(3)), 2]), Buffer.from("{}")]),
    () => Buffer.concat([Buffer.from([0x81, 0x80 | 4, 1, 2, 3, 4]), junk]),
    // A frame that claims to be giant: 8 exabytes, or just above the limit.
    () => Buffer.from([0x81, 127, 0x7f, 255, 255, 255, 255, 255, 255, 255]),
    () => Buffer.from([0x82, 127, 0, 0, 0, 0, 0, 0x10, 0, 1]),
    // Compressed data that cannot be inflated.
    () => Buffer.concat([Buffer.from([0xc1, Math.min(125, junk.length)]), junk.subarray(0, 125)]),
    // Close frames of one byte, with a code that may not be sent, and with a reason that is no UTF-8.
    () => Servers.frame(8, "x"),
    () => close(pick([0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65_535])),
    () => Servers.frame(8, Buffer.from([0x03, 0xe8, 0xff, 0xfe, 0xfd])),
    // A whole message, and half of one.
    () => Buffer.concat([text(update), text(output).subarray(0, 1 + Math.floor(next() * 40))])
  ])()
}

/** A server that sends each of these on its own connection, drops it, and at the end closes with 4400. */
const oneByOne = (attacks: ReadonlyArray<Buffer>) =>
  Effect.gen(function* () {
    const server = yield* Servers.rawServer
    yield* Effect.forkScoped(
      Effect.gen(function* () {
        for (const attack of attacks) {
          const { closed, socket } = yield* server.accept
          // The client may close during the attack, and has time to answer valid frames.
          socket.end(attack)
          yield* closed
        }
        const { socket } = yield* server.accept
        socket.end(close(4400, "it is over"))
      })
    )
    return server.url
  })

/** A message of 256 MiB, all spaces, compressed to 256 KiB. */
const makeBomb = (): Buffer => {
  const { Z_FINISH, Z_FULL_FLUSH } = constants
  // A block that ends with a full flush does not refer to what is before it, so it can be repeated.
  const block = deflateRawSync(Buffer.alloc(1 << 20, " "), { finishFlush: Z_FULL_FLUSH })
  const end = deflateRawSync(Buffer.alloc(0), { finishFlush: Z_FINISH })
  return Buffer.concat([...Array.from({ length: 256 }, () => block), end])
}

describe("fuzz", () => {
  it.live(
    "reads on after damaged and malicious messages in a stream and a client, and marks each message that cannot be decoded",
    () =>
      Effect.gen(function* () {
        const frames = hostile.flatMap((frame) => [text(frame), Servers.frame(2, frame), text(update)])
        for (let seed = 1; seed <= 600; seed++) frames.push(text(damaged(seed)), text(update))
        const attack = Effect.gen(function* () {
          const server = yield* Servers.rawServer
          yield* Effect.forkScoped(
            Effect.gen(function* () {
              const { socket } = yield* server.accept
              for (const frame of frames) socket.write(frame)
              socket.end(close(4400, "it is over"))
            })
          )
          return server.url
        })
        for (const found of counts(yield* run({ stream: yield* attack, client: yield* attack }), 500)) {
          // One connection received everything, and the valid frames arrived between the bad ones.
          assert.strictEqual(found["Connected"], 1)
          assert.isAtLeast(found["TaskUpdated"] ?? 0, hostile.length + 600)
          for (const problem of ["InvalidJson", "InvalidMessage", "InvalidUtf8", "NotAnObject"]) {
            assert.isAbove(found[problem] ?? 0, 0, problem)
          }
        }
      })
  )

  it.live("reconnects after every violation of the protocol in a stream and a client", () =>
    Effect.gen(function* () {
      const attacks = Array.from({ length: 80 }, (_, i) => illegal(i + 1))
      const report = yield* run({ stream: yield* oneByOne(attacks), client: yield* oneByOne(attacks) })
      for (const found of counts(report, 500)) {
        assert.strictEqual(found["Connected"], attacks.length + 1)
        assert.isAbove(found["FrameTooLarge"] ?? 0, 0)
      }
    })
  )

  it.live("rejects giant frames and compressed bombs in a stream and a client with bounded memory", () =>
    Effect.gen(function* () {
      const whole = makeBomb()
      const compressed = (payload: Buffer) => {
        const framed = Servers.frame(1, payload)
        framed[0] = 0xc1
        return framed
      }
      const inPieces = Array.from({ length: 64 }, (_, i) => {
        const piece = whole.subarray((i * whole.length) / 64, ((i + 1) * whole.length) / 64)
        const framed = Servers.frame(i === 0 ? 1 : 0, piece, { fin: i === 63 })
        if (i === 0) framed[0] = 0x41
        return framed
      })
      // A giant message without an end, in valid fragments.
      const endless = Array.from({ length: 300 }, (_, i) =>
        Servers.frame(i === 0 ? 1 : 0, Buffer.alloc(65_536, "x"), { fin: false })
      )
      const attacks = [[compressed(whole)], inPieces, endless].flatMap((attack) => [attack, attack])
      const attack = Effect.gen(function* () {
        const server = yield* Servers.webSocketServer({ perMessageDeflate: true })
        yield* Effect.forkScoped(
          Effect.gen(function* () {
            for (const attack of attacks) {
              const { closed, request, ws } = yield* server.accept
              assert.include(ws.extensions, "permessage-deflate")
              for (const bytes of attack) request.socket.write(bytes)
              yield* closed
            }
            const { ws } = yield* server.accept
            ws.close(4400, "it is over")
          })
        )
        return server.url
      })
      for (const found of counts(yield* run({ stream: yield* attack, client: yield* attack }), 400)) {
        assert.strictEqual(found["FrameTooLarge"], 6)
      }
    })
  )
})
