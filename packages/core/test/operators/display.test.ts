import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { execFile } from "node:child_process"
import { mkdtemp, readFile, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { promisify } from "node:util"

const compiler = fileURLToPath(import.meta.resolve("typescript/package.json").replace(/package\.json$/, "bin/tsc"))
const project = fileURLToPath(new URL("../types/tsconfig.json", import.meta.url))

/** The types of `test/types/display.ts` as an editor shows them, by the name of the export. */
const displayed = Effect.gen(function* () {
  const directory = yield* Effect.acquireRelease(
    Effect.promise(() => mkdtemp(join(tmpdir(), "makima-stream-"))),
    (directory) => Effect.promise(() => rm(directory, { recursive: true }))
  )
  yield* Effect.promise((signal) =>
    promisify(execFile)(process.execPath, [compiler, "-p", project, "--outDir", directory], { signal })
  )
  const file = join(directory, "packages/core/test/types/display.d.ts")
  const declarations = yield* Effect.promise(() => readFile(file, "utf8"))
  return Object.fromEntries(
    declarations
      // An editor shows a name without where it comes from.
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
          outputWithResync: "Stream<Resync | TaskOutput, MeshError, Socket>",
          ofTask: "Stream<TaskUpdated, MeshError, Socket>",
          dedupeUpdates: "Stream<MeshEvent, MeshError, Socket>",
          markGaps: "Stream<MeshEvent, MeshError, Socket>",
          statusChanges: "Stream<MeshStream.StatusUpdated, MeshError, Socket>",
          untilTerminal: "Stream<MeshEvent, MeshError, Socket>",
          takeResult: "Effect<MeshStream.TaskResult, MeshError | MeshStream.NoResult | MeshStream.TaskFailed, Socket>",
          joinPartials: "Stream<MeshStream.JoinedOutput, MeshError, Socket>",
          text: "Stream<string, MeshError, Socket>",
          lines: "Stream<Resync | MeshStream.TaskLine, MeshError, Socket>",
          toolUse:
            'Stream<MeshStream.ToolUse<{ readonly command: string; }, "Bash"> | MeshStream.ToolUseMismatch<"Bash">, MeshError, Socket>'
        })
      }),
    60_000
  )
})
