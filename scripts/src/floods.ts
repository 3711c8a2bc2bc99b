/**
 * Flood tests: ten million events through one process, a thousand reconnects, and five hundred clients that lose one server
 * at the same time. The resources of the process must not grow, and the dials must be spread.
 *
 * `pnpm floods`, `pnpm floods --events 300000 --reconnects 200 --clients 100`
 */
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import * as Schema from "effect/Schema"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Program from "@makima-stream/cli/Program"
import * as Child from "./child.ts"
import * as Growth from "./floods/growth.ts"
import * as Herd from "./floods/herd.ts"
import * as Server from "./floods/server.ts"

const Line = Schema.fromJsonString(
  Schema.Union([Growth.Holdings, Growth.Objects, Schema.Struct({ seconds: Schema.Finite })])
)
const decode = Schema.decodeUnknownSync(Line)

/** Runs a consumer, in its own process, against a server in this process. */
const flood = Effect.fnUntraced(function* (mode: "events" | "reconnects", count: number) {
  const { url } = yield* Server.start(mode, count)
  const consumer = yield* Child.start(
    "floods/consumer",
    [mode, url, String(count)],
    ["--expose-gc", "--disable-warning=ExperimentalWarning"]
  )
  const samples: Array<typeof Growth.Holdings.Type> = []
  const objects: Array<typeof Growth.Objects.Type> = []
  while (true) {
    const line = decode(yield* Queue.take(consumer.lines))
    if ("seconds" in line) return { samples, objects, seconds: line.seconds }
    if ("fibers" in line) {
      objects.push(line)
      yield* Console.log(`          ${line.fibers} fibers, ${line.sockets} sockets, ${line.webSockets} WebSockets`)
    } else {
      samples.push(line)
      yield* Console.log(
        `${String(line.seen).padStart(9)} ${mode}: RSS ${line.rssMiB.toFixed(0)} MiB, heap ${line.heapMiB} MiB, ` +
          `${line.handles} handles, ${line.listeners} listeners`
      )
    }
  }
}, Effect.scoped)

const spread = Effect.fnUntraced(function* (clients: number) {
  const [first = [], , , , fifth = []] = yield* Herd.delays({ clients, dials: 5, seed: 1 })
  const lines: Array<string> = []
  let even = true
  for (const [name, values, from, to] of [
    ["first", first, 1000, 2000],
    ["fifth", fifth, 15_000, 30_000]
  ] as const) {
    const counts = Herd.histogram(values, from, to, 10)
    lines.push(`The time that ${clients} clients waited before their ${name} dial:`)
    lines.push(...(counts === undefined ? ["outside the range of the jitter"] : Herd.draw(counts, from, to)))
    // Each part has a tenth of the clients, within five standard deviations.
    const allowed = 5 * Math.sqrt(clients * 0.09)
    even &&= counts?.every((count) => Math.abs(count - clients / 10) <= allowed) ?? false
  }
  yield* Console.log(lines.join("\n"))
  return even
})

const count = (name: string, initial: number, description: string) =>
  Flag.Int(name).pipe(
    Flag.withDescription(description),
    Flag.withSchema(Schema.Int.check(Schema.isBetween({ minimum: 10, maximum: 1_000_000_000 }))),
    Flag.withDefault(initial)
  )

/** The command line of this program. */
export const command = Command.make(
  "floods",
  {
    events: count("events", 10_000_000, "The number of events through one process"),
    reconnects: count("reconnects", 1000, "The number of reconnects of one client"),
    clients: count("clients", 500, "The number of clients that lose one server at the same time")
  },
  Effect.fnUntraced(function* (flags) {
    const events = yield* flood("events", flags.events)
    const reconnects = yield* flood("reconnects", flags.reconnects)
    const even = yield* spread(flags.clients)
    const growthOf = { events: Growth.growths(events), reconnects: Growth.growths(reconnects) }
    const clean = even && Growth.isFlat(growthOf.events) && Growth.isFlat(growthOf.reconnects)
    yield* Console.log(
      JSON.stringify({
        clean,
        ...flags,
        eventsPerSecond: Math.round(flags.events / events.seconds),
        reconnectsPerSecond: Math.round(flags.reconnects / reconnects.seconds),
        maxRssMiB: Math.max(...events.samples.map(({ rssMiB }) => rssMiB)),
        growth: growthOf,
        spread: even
      })
    )
    if (!clean)
      return yield* new Program.Failure({
        message: "A resource grew, or the dials were not spread: see the figures",
        exitCode: 1
      })
  })
).pipe(Command.withDescription("Floods one process, and measures its resources"))

if (Program.isMain(import.meta)) Program.main(command)
