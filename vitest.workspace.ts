import { defineConfig } from "vitest/config"

// Vitest 5 has no workspace file of its own: this is the config that
// `vitest --config vitest.workspace.ts` takes, one project a package.
// A machine with more to do than this needs its time: what waits for sockets and processes may, and no test that is
// well takes so long.
const project = (name: string, root: string) => ({
  test: { name, root, include: ["test/**/*.test.ts"], testTimeout: 30_000 }
})

export default defineConfig({
  test: {
    // The JSON report is what `.ci/run` counts from.
    reporters: ["default", ["json", { outputFile: "build/test-report.json" }]],
    projects: [
      project("core", "packages/core"),
      project("node", "packages/node"),
      project("test-kit", "packages/test-kit"),
      project("examples", "examples"),
      project("scripts", "scripts")
    ]
  }
})
