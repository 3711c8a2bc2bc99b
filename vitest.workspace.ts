import { fileURLToPath } from "node:url"
import { defineConfig } from "vitest/config"

// Node caches compiled modules here, for the workers and for the processes that tests start. That saves about half of the
// CPU time of a process that imports the packages.
process.env.NODE_COMPILE_CACHE ??= fileURLToPath(new URL("build/compile-cache", import.meta.url))

// Bundles the programs that tests start as processes.
const bundle = fileURLToPath(new URL("scripts/test/support/bundle.ts", import.meta.url))

// Vitest 5 has no workspace file of its own: this is the config for `vitest --config vitest.workspace.ts`, with one project
// for each package.
const project = (name: string, root: string, options?: { readonly globalSetup: string }) => ({
  test: {
    name,
    root,
    include: ["test/**/*.test.ts"],
    ...options,
    // All files of a worker share one process and its loaded modules. No module here has state of its own.
    isolate: false,
    // Only ends a test that would never end. No test needs this long, however busy the machine is.
    testTimeout: 300_000
  }
})

export default defineConfig({
  test: {
    // Many tests wait for processes, so every core has work.
    maxWorkers: "100%",
    // The JSON report is what `.ci/run` counts from.
    reporters: ["default", ["json", { outputFile: "build/test-report.json" }]],
    projects: [
      project("core", "packages/core"),
      project("node", "packages/node", { globalSetup: bundle }),
      project("test-kit", "packages/test-kit"),
      project("log", "packages/log", { globalSetup: bundle }),
      project("nats", "packages/nats"),
      // Some of its tests show the built page.
      project("gateway", "packages/gateway", { globalSetup: "test/support/build.ts" }),
      // Its tests run the built command.
      project("cli", "packages/cli", { globalSetup: "test/support/build.ts" }),
      project("examples", "examples", { globalSetup: bundle }),
      project("scripts", "scripts", { globalSetup: bundle })
    ]
  }
})
