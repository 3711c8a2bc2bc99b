/** Compares `docs/telemetry.md` with what the code records. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Logger from "effect/Logger"
import * as Metric from "effect/Metric"
import * as References from "effect/References"
import * as Stream from "effect/Stream"
import * as Tracer from "effect/Tracer"
import { readFileSync } from "node:fs"
import * as Interest from "@makima-stream/core/Interest"
import * as MeshError from "@makima-stream/core/MeshError"
import * as MeshEvent from "@makima-stream/core/MeshEvent"
import * as MeshMetrics from "@makima-stream/core/MeshMetrics"
import * as MeshStream from "@makima-stream/core/MeshStream"
import * as Repair from "@makima-stream/core/Repair"
import * as ScriptedMesh from "@makima-stream/test-kit/ScriptedMesh"
import { a, awaitRequest, pass, settle } from "./support/mesh.ts"

const read = (path: string) => readFileSync(new URL(path, import.meta.url), "utf8")
const page = read("../../docs/telemetry.md")
const source = read("../../packages/core/src/MeshMetrics.ts")

const cellsOf = (row: string): ReadonlyArray<string> => row.split("|").map((cell) => cell.trim())
const codesIn = (text: string): ReadonlyArray<string> => [...text.matchAll(/`([^`]+)`/g)].map(([, code = ""]) => code)

/** The rows of the table under a heading, by the code in their first cell. */
const tableUnder = (heading: string): ReadonlyMap<string, ReadonlyArray<string>> => {
  const [, section = ""] = page.split(`\n## ${heading}\n`)
  const [body = ""] = section.split("\n## ")
  return new Map(
    body
      .split("\n")
      .filter((line) => line.startsWith("| `"))
      .map((line) => {
        const [, first = "", ...rest] = cellsOf(line)
        return [codesIn(first)[0] ?? "", rest] as const
      })
  )
}

/** The docstring of an export of `MeshMetrics`, without the line breaks. */
const docstringOf = (name: string): string => {
  const before = source.slice(0, source.indexOf(`export const ${name}:`))
  return before.slice(before.lastIndexOf("/**")).replaceAll(/\s*\n \*\s*/g, " ")
}

const metrics = Object.entries(MeshMetrics).flatMap(([name, value]) =>
  Metric.isMetric(value) ? [[name, value] as const] : []
)

describe("docs/telemetry.md", () => {
  it("lists every metric, and no other", () => {
    assert.deepStrictEqual([...tableUnder("Metrics").keys()].sort(), metrics.map(([, { id }]) => id).sort())
    assert.isAbove(metrics.length, 10)
  })

  for (const [name, metric] of metrics) {
    it(`states the type, the unit and the attributes of ${metric.id}`, () => {
      const [type, unit, attributes = ""] = tableUnder("Metrics").get(metric.id) ?? []
      const docstring = docstringOf(name)
      assert.strictEqual(type, metric.type.toLowerCase())
      assert.strictEqual(unit, /Unit: ([a-z]+)/.exec(docstring)?.[1])
      const recorded = metric.attributes?.unit
      if (recorded !== undefined || unit === "milliseconds" || unit === "bytes") assert.strictEqual(unit, recorded)
      assert.deepStrictEqual(
        codesIn(attributes),
        [...docstring.matchAll(/attribute `([a-z]+)`/g)].map(([, key]) => key)
      )
    })
  }

  it("lists every value of the attributes", () => {
    const valuesOf = (start: string): ReadonlyArray<string> => {
      const [, after = ""] = page.split(`- ${start}: `)
      const [sentence = ""] = after.split(".")
      return [...codesIn(sentence)].sort()
    }
    const kinds: Record<MeshEvent.Data["_tag"], true> = {
      TaskUpdated: true,
      TaskOutput: true,
      ServerError: true,
      UnknownMessage: true
    }
    assert.deepStrictEqual(valuesOf("`kind` of `makima.events`"), Object.keys(kinds).sort())
    assert.deepStrictEqual(
      valuesOf("`reason` of `makima.gaps`"),
      Object.keys(MeshEvent.ResyncReason.cases)
        // These marks say where knowledge begins.
        .filter((reason) => reason !== "Started" && reason !== "Subscribed")
        .sort()
    )
    assert.deepStrictEqual(
      valuesOf("`reason` of `makima.connection.disconnects`"),
      MeshError.ConnectionReason.members.map(({ identifier }) => identifier.split("/").at(-1) ?? "").sort()
    )
  })

  it.effect("lists every span and log line of a connection that is refused, lost, opened again and repaired", () =>
    Effect.gen(function* () {
      const spans = new Map<string, ReadonlyArray<string>>()
      const lines = new Map<string, ReadonlyArray<string>>()
      const started: Array<Tracer.Span> = []
      const tracer = Tracer.make({
        span: (options) => {
          const span = new Tracer.NativeSpan(options)
          started.push(span)
          return span
        }
      })
      const logger = Logger.make(({ fiber, message }) => {
        const [text] = Array.isArray(message) ? message : [message]
        lines.set(String(text), Object.keys(fiber.getRef(References.CurrentLogAnnotations)).sort())
      })
      const mesh = yield* ScriptedMesh.ScriptedMesh
      yield* mesh.refuse(1, 503)
      const following = yield* MeshStream.connect({ interest: Interest.task(a) }).pipe(
        Repair.repair({ fetch: () => Effect.succeed([]), spread: 0 }),
        Stream.runDrain,
        Effect.provideService(Tracer.Tracer, tracer),
        Effect.provideService(References.MinimumLogLevel, "Debug"),
        Effect.provide(Logger.layer([logger])),
        Effect.forkScoped
      )
      yield* settle
      yield* pass(2)
      yield* awaitRequest(mesh, 1)
      yield* mesh.kill()
      yield* settle
      yield* pass(4)
      yield* awaitRequest(mesh, 2)
      yield* Fiber.interrupt(following)
      for (const { attributes, name } of started) spans.set(name, [...attributes.keys()].sort())

      const documented = (heading: string, column: number) =>
        new Map([...tableUnder(heading)].map(([name, cells]) => [name, [...codesIn(cells[column] ?? "")].sort()]))
      assert.deepStrictEqual(new Map([...spans].sort()), new Map([...documented("Spans", 1)].sort()))
      assert.deepStrictEqual(new Map([...lines].sort()), new Map([...documented("Logs", 0)].sort()))
      assert.isTrue(started.every(({ kind }) => kind === "client"))
    }).pipe(Effect.provide(ScriptedMesh.layer()))
  )
})
