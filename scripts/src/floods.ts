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
import * as Herd from "./floods/herd.ts"

const Holdings = Schema.Struct({
  seen: Schema.Int,
  rssMiB: Schema.Finite,
  heapMiB: Schema.Finite,
  handles: Schema.Int,
  listeners: Schema.Int
})
const Objects = Schema.Struct({ fibers: Schema.Int, sockets: Schema.Int, webSockets: Schema.Int })
const Line = Schema.fromJsonString(Schema.Union([Holdings, Objects, Schema.Struct({ seconds: Schema.Finite })]))
const decode = Schema.decodeUnknownSync(Line)

/** Runs a consumer against a server, each in its own process. */
const flood = Effect.fnUntraced(function* (mode: "events" | "reconnects", count: number) {
  const server = yield* Child.start("./floods/server.ts", [mode, String(count)])
  const url = `http://127.0.0.1:${yield* Queue.take(server.lines)}`
  const consumer = yield* Child.start(
    "./floods/consumer.ts",
    [mode, url, String(count)],
    ["--expose-gc", "--disable-warning=ExperimentalWarning"]
  )
  const samples: Array<typeof Holdings.Type> = []
  const objects: Array<typeof Objects.Type> = []
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

/** The difference between late and early values of a run. The first tenth is the warm-up. */
const rise = (values: ReadonlyArray<number>): number => {
  const half = Math.floor(values.length / 2)
  return Math.round((Math.max(...values.slice(half)) - Math.max(...values.slice(0, half))) * 100) / 100
}

const growths = ({ objects, samples }: Effect.Success<ReturnType<typeof flood>>) => {
  const late = samples.slice(1)
  return {
    rssMiB: rise(late.map(({ rssMiB }) => rssMiB)),
    heapMiB: rise(late.map(({ heapMiB }) => heapMiB)),
    handles: rise(late.map(({ handles }) => handles)),
    listeners: rise(late.map(({ listeners }) => listeners)),
    fibers: rise(objects.map(({ fibers }) => fibers)),
    sockets: rise(objects.map(({ sockets }) => sockets)),
    webSockets: rise(objects.map(({ webSockets }) => webSockets))
  }
}

/**
 * Whether nothing grew. Objects on the heap are counted exactly, after a garbage collection. The RSS also depends on the
 * operating system and varies.
 */
const isFlat = ({ rssMiB, heapMiB, ...counts }: ReturnType<typeof growths>): boolean =>
  rssMiB <= 32 && heapMiB <= 2 && Object.values(counts).every((count) => count <= 2)

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
    const growthOf = { events: growths(events), reconnects: growths(reconnects) }
    const clean = even && isFlat(growthOf.events) && isFlat(growthOf.reconnects)
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
