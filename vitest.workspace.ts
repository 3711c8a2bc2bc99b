import { defineConfig } from "vitest/config"

// Vitest 5 has no workspace file of its own: this is the config that
// `vitest --config vitest.workspace.ts` takes, one project a package.
const project = (name: string, root: string) => ({ test: { name, root, include: ["test/**/*.test.ts"] } })

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
