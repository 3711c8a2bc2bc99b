import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import type * as MeshLog from "@makima-stream/log/MeshLog"
import * as LogLaws from "../src/LogLaws.ts"

type Log = MeshLog.Service

/** Breaks a log. `handle` counts the logs that a harness has opened. */
type Saboteur = (log: Log, handle: number) => Log

const reading =
  (change: (entries: ReadonlyArray<MeshLog.Entry>) => ReadonlyArray<MeshLog.Entry>): Saboteur =>
  (log) => ({
    ...log,
    read: (options) =>
      log.read(options).pipe(
        Stream.mapArray((entries) => change(entries) as typeof entries),
        Stream.filter(() => true)
      )
  })

const asking =
  (change: (options: MeshLog.ReadOptions) => MeshLog.ReadOptions): Saboteur =>
  (log) => ({ ...log, read: (options) => log.read(change(options ?? {})) })

const appending =
  (change: (event: MeshLog.NewEvent, handle: number) => MeshLog.NewEvent): Saboteur =>
  (log, handle) => ({
    ...log,
    append: (events, options) =>
      log.append(
        events.map((event) => change(event, handle)),
        options
      )
  })

const consuming =
  (change: (consumer: MeshLog.Consumer) => MeshLog.Consumer): Saboteur =>
  (log) => ({ ...log, consumer: (name, options) => Effect.map(log.consumer(name, options), change) })

const withoutMark = reading((entries) =>
  entries.filter(({ event }) => event._tag !== "Resync" || event.reason._tag !== "LogTruncated")
)

const twice = (entries: ReadonlyArray<MeshLog.Entry>): ReadonlyArray<MeshLog.Entry> => {
  const [first] = entries
  return first === undefined ? entries : [first, ...entries]
}

/** A log that breaks each law. */
const saboteurs: { readonly [Name in Exclude<LogLaws.Name, "crash" | "damage">]: Saboteur } = {
  order: reading(([first, second, ...rest]) =>
    first === undefined || second === undefined
      ? [first, second].flatMap((entry) => entry ?? [])
      : [second, first, ...rest]
  ),
  events: reading((entries) =>
    entries.map((entry) => {
      if (entry.event._tag !== "TaskOutput") return entry
      const { toolInput: _, ...event } = entry.event
      return { ...entry, event }
    })
  ),
  idempotent: (() => {
    let count = 0
    return appending((event) => ({ ...event, id: `${event.id} ${count++}` }))
  })(),
  writers: appending((event, handle) => ({ ...event, id: `${event.id} ${handle}` })),
  positions: asking((options) =>
    options.from?._tag === "After"
      ? { ...options, from: { _tag: "After", position: options.from.position + 1 } }
      : options
  ),
  lastPerTask: asking((options) =>
    options.from?._tag === "LastPerTask" ? { ...options, from: { _tag: "Beginning" } } : options
  ),
  filters: asking(({ filter, ...options }) =>
    filter === undefined ? options : { ...options, filter: { ...filter, keep: "resync" } }
  ),
  follow: (log) => ({
    ...log,
    read: (options) => (options?.follow === true ? reading(twice)(log, 0).read(options) : log.read(options))
  }),
  newest: asking((options) => (options.from?._tag === "New" ? { ...options, from: { _tag: "Beginning" } } : options)),
  followFilters: asking(({ filter, ...options }) =>
    options.follow === true || filter === undefined ? options : { ...options, filter }
  ),
  retentionByCount: withoutMark,
  retentionBySize: withoutMark,
  retentionByAge: withoutMark,
  large: appending((event) =>
    event.event._tag === "TaskOutput"
      ? { ...event, event: { ...event.event, content: event.event.content.slice(0, 1 << 20) } }
      : event
  ),
  consumerResumes: consuming((consumer) => ({ ...consumer, acknowledge: () => Effect.void })),
  consumerShares: (log, handle) => ({
    ...log,
    consumer: (name, options) => log.consumer(`${name} ${handle}`, options)
  }),
  consumerMarks: consuming((consumer) => ({
    ...consumer,
    entries: Stream.flatMap(consumer.entries, (entry) =>
      entry.event._tag === "Resync" ? Stream.make(entry, entry) : Stream.succeed(entry)
    )
  })),
  lease: (log, handle) => ({ ...log, lease: (name, options) => log.lease(`${name} ${handle}`, options) }),
  fence: (log) => ({ ...log, append: (events) => log.append(events) })
}

const harnessOf = (change: (good: LogLaws.Harness["Service"]) => LogLaws.Harness["Service"]) =>
  Layer.effect(LogLaws.Harness, Effect.map(LogLaws.Harness, change)).pipe(Layer.provide(LogLaws.layerMemory))

const expectBroken = (law: LogLaws.Law, harness: Layer.Layer<LogLaws.Harness>) =>
  Effect.map(Effect.flip(LogLaws.checkIn(law, harness)), (error) => assert.strictEqual(error._tag, "LawBroken"))

describe("LogLaws", () => {
  for (const [name, sabotage] of Object.entries(saboteurs)) {
    // The keys of an object literal are those of its type.
    const law = LogLaws.laws[name as keyof typeof saboteurs]
    it.effect(`detects a log that breaks the law: ${law.promise}`, () =>
      Effect.suspend(() => {
        let handles = 0
        return expectBroken(
          law,
          harnessOf((good) => ({
            ...good,
            open: (options) => Effect.map(good.open(options), (log) => sabotage(log, ++handles))
          }))
        )
      })
    )
  }

  it.effect(`detects a log that breaks the law: ${LogLaws.laws.crash.promise}`, () =>
    expectBroken(
      LogLaws.laws.crash,
      harnessOf((good) => ({
        ...good,
        crash: {
          steps: ["halfway"],
          // Stores the second half of the events only.
          open: () =>
            Effect.map(good.open(), (log) => ({
              ...log,
              append: (events) => Effect.andThen(log.append(events.slice(events.length / 2)), Effect.die("killed"))
            }))
        }
      }))
    )
  )

  it.effect(`detects a log that breaks the law: ${LogLaws.laws.damage.promise}`, () =>
    expectBroken(
      LogLaws.laws.damage,
      harnessOf((good) => ({ ...good, damage: () => Effect.void }))
    )
  )
})
