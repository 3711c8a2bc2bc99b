import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { execFile } from "node:child_process"
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { promisify } from "node:util"

const compiler = fileURLToPath(import.meta.resolve("typescript/package.json").replace(/package\.json$/, "bin/tsc"))
const project = fileURLToPath(new URL("../types/tsconfig.json", import.meta.url))

/** `pnpm types` checks this project too. Several threads do some of the work several times. */
const fast = ["--noCheck", "--singleThreaded"]

/** The types of `test/types/display.ts` as an editor shows them, by export. */
const displayed = Effect.gen(function* () {
  const directory = yield* Effect.acquireRelease(
    Effect.promise(() => mkdtemp(join(tmpdir(), "makima-stream-"))),
    (directory) => Effect.promise(() => rm(directory, { recursive: true }))
  )
  yield* Effect.promise((signal) =>
    promisify(execFile)(process.execPath, [compiler, "-p", project, "--outDir", directory, ...fast], { signal })
  )
  const file = join(directory, "packages/core/test/types/display.d.ts")
  const declarations = yield* Effect.promise(() => readFile(file, "utf8"))
  return Object.fromEntries(
    declarations
      // An editor shows a name without its module.
      .replaceAll(/import\("[^"]+"\)\./g, "")
      .replaceAll(/\s+/g, " ")
      .split("export declare const ")
      .slice(1)
      .map((declaration) => declaration.replace(/; ?$/, "").split(/: (.*)/s))
  )
})

describe("what an editor shows", () => {
  it.live(
    "names the elements by the interfaces of the vocabulary, and keeps E and R",
    () =>
      Effect.gen(function* () {
        assert.deepStrictEqual(yield* displayed, {
          outputOnly: "Stream<TaskOutput, MeshError, Socket>",
          outputWithResync: "Stream<RepairFailed | Repaired | Resync | TaskOutput, MeshError, Socket>",
          ofTask: "Stream<Restated | TaskUpdated, MeshError, Socket>",
          dedupeUpdates: "Stream<MeshEvent, MeshError, Socket>",
          markGaps: "Stream<MeshEvent, MeshError, Socket>",
          statusChanges: "Stream<MeshStream.StatusRestated | MeshStream.StatusUpdated, MeshError, Socket>",
          untilTerminal: "Stream<MeshEvent, MeshError, Socket>",
          takeResult: "Effect<MeshStream.TaskResult, MeshError | MeshStream.NoResult | MeshStream.TaskFailed, Socket>",
          joinPartials: "Stream<MeshStream.JoinedOutput, MeshError, Socket>",
          text: "Stream<string, MeshError, Socket>",
          lines: "Stream<RepairFailed | Repaired | Resync | MeshStream.TaskLine, MeshError, Socket>",
          toolUse:
            'Stream<MeshStream.ToolUse<{ readonly command: string; }, "Bash"> | MeshStream.ToolUseMismatch<"Bash">, MeshError, Socket>',
          filterTask: "Stream<Restated | TaskOutput | TaskUpdated, MeshError, Socket>",
          groupByTask: "Stream<MeshStream.TaskEvents<MeshEvent, MeshError>, MeshError, Socket>",
          filterStatus: "Stream<MeshStream.StatusRestated | MeshStream.StatusUpdated, MeshError, Socket>",
          filterMessageType: "Stream<TaskOutput, MeshError, Socket>",
          fieldsChanged: "Stream<RepairFailed | Repaired | Restated | Resync | TaskUpdated, MeshError, Socket>",
          dataOnly: "Stream<Restated | Data, MeshError, Socket>",
          lifecycleOnly: "Stream<Lifecycle, MeshError, Socket>",
          serverErrors: "Stream<ServerError, MeshError, Socket>",
          conflateUpdates: "Stream<Restated | Resync | TaskUpdated, MeshError, Socket>",
          boards: "Stream<TaskBoard.TaskBoard, MeshError, Socket>",
          ledger: "Effect<Projection<CostLedger.CostLedger, MeshError>, never, Scope | Socket>",
          client: "Effect<MeshClient.Service, never, Scope | Socket>",
          layer: "Layer<MeshClient.MeshClient, never, Socket>"
        })
      }),
    60_000
  )
})

/** The errors of the compiler for a program. The program is inside the repository, so that its imports are found. */
const complaints = Effect.fnUntraced(function* (program: string) {
  const build = fileURLToPath(new URL("../../../../build/", import.meta.url))
  const directory = yield* Effect.acquireRelease(
    Effect.promise(async () => {
      await mkdir(build, { recursive: true })
      return mkdtemp(join(build, "misspelt-"))
    }),
    (directory) => Effect.promise(() => rm(directory, { recursive: true }))
  )
  const settings = {
    extends: "../../tsconfig.base.json",
    compilerOptions: {
      composite: false,
      declarationMap: false,
      noEmit: true,
      rewriteRelativeImportExtensions: false,
      allowImportingTsExtensions: true
    },
    files: ["program.ts"]
  }
  yield* Effect.promise(() => writeFile(join(directory, "tsconfig.json"), JSON.stringify(settings)))
  yield* Effect.promise(() => writeFile(join(directory, "program.ts"), program))
  return yield* Effect.promise(async (signal) => {
    try {
      await promisify(execFile)(process.execPath, [compiler, "-p", directory], { signal })
      return ""
    } catch (error) {
      // `execFile` rejects with the output of a command that failed.
      return (error as { readonly stdout: string }).stdout
    }
  })
})

describe("a misspelt option", () => {
  it.live(
    "is a type error that names the option",
    () =>
      Effect.gen(function* () {
        const text = yield* complaints(`
          import * as MeshStream from "../../packages/core/src/MeshStream.ts"
          import * as Interest from "../../packages/core/src/Interest.ts"
          import * as TaskId from "../../packages/core/src/TaskId.ts"
          const feed = MeshStream.connect({ interest: Interest.all })
          export const a = feed.pipe(MeshStream.outputOnly({ kep: "resync" }))
          export const b = feed.pipe(MeshStream.filterStatus("done", { keep: "resync", maxTask: 1 }))
          export const c = MeshStream.statusChanges(feed, { maxTasks: 1, restartAftr: 2 })
          export const d = feed.pipe(MeshStream.groupByTask({ capasity: 1 }))
          export const f = MeshStream.filterStatus(feed, "done", { kepp: "resync" })
          export const g = MeshStream.fieldsChanged(feed, "plan", { keep: "resync", keepUnspecifed: true })
          export const h = feed.pipe(MeshStream.takeResult(TaskId.make("a"), { endedTimeToLve: 1 }))
          export const i = feed.pipe(MeshStream.toolUse({}, { kip: "resync" }))
          export const e = feed.pipe(MeshStream.outputOnly({ keep: "resyncs" }))
        `)
        const messages = text.split(/\n(?=\S)/).filter((line) => line.includes("error TS"))
        for (const option of [
          "'kep'",
          'maxTask"',
          'restartAftr"',
          "'capasity'",
          "kepp",
          "keepUnspecifed",
          "endedTimeToLve",
          "kip"
        ]) {
          assert.isTrue(
            messages.some((message) => message.includes(option)),
            `${option} in ${text}`
          )
        }
        assert.include(text, '"resyncs"')
      }),
    60_000
  )
})
