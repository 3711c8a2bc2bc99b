import { fileURLToPath } from "node:url"
import { availableParallelism } from "node:os"
import { defineConfig } from "vitest/config"
import { BaseSequencer, type TestSpecification } from "vitest/node"

// Node caches compiled modules here, for the workers and for the processes that tests start. That saves about half of the
// CPU time of a process that imports the packages.
process.env.NODE_COMPILE_CACHE ??= fileURLToPath(new URL("build/compile-cache", import.meta.url))

/** Files whose tests mostly wait: for processes, for real time, or for a browser. */
const waiting =
  /takeovers\.test|chaos\.test|floods\.test|\.process\.test|doctor\.test|\/nats\/test\/|\/gateway\/test\/(dashboard|browser)\//

/** Runs the files that wait first, so that the others fill the cores meanwhile. Of each kind, the longest file is first. */
class WaitingFirst extends BaseSequencer {
  override async sort(files: Array<TestSpecification>): Promise<Array<TestSpecification>> {
    const sorted = await super.sort(files)
    const isWaiting = ({ moduleId }: TestSpecification): boolean => waiting.test(moduleId)
    return [...sorted.filter(isWaiting), ...sorted.filter((file) => !isWaiting(file))]
  }
}

// Vitest 5 has no workspace file of its own: this is the config for `vitest --config vitest.workspace.ts`. All packages are
// one project, so that the files of all packages share the workers and the modules that they have loaded.
export default defineConfig({
  test: {
    include: ["packages/*/test/**/*.test.ts", "examples/test/**/*.test.ts", "scripts/test/**/*.test.ts"],
    // Builds what the tests of some packages start or show, if its sources have changed.
    globalSetup: "scripts/test/support/setup.ts",
    // All files of a worker share one process and its loaded modules. No module here has state of its own.
    isolate: false,
    // Many tests wait, so there are more workers than cores.
    maxWorkers: 2 * availableParallelism(),
    sequence: { sequencer: WaitingFirst },
    // These only end what would never end. Nothing needs this long, however busy the machine is.
    testTimeout: 1_200_000,
    hookTimeout: 1_200_000,
    teardownTimeout: 120_000,
    // The JSON report is what `.ci/run` counts from.
    reporters: ["default", ["json", { outputFile: "build/test-report.json" }]]
  }
})
