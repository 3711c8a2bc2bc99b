/**
 * The programs that tests start as processes, bundled into one file each with what they share: such a process starts in a
 * third of the CPU time. See `docs/decisions/162-test-programs-are-bundled.md`.
 */
import { fileURLToPath } from "node:url"

/** The root of the repository. */
export const root = fileURLToPath(new URL("../../../../", import.meta.url))

/** Where the bundles are. */
export const directory = `${root}build/programs/`

/** The programs, by their paths in the repository without the ending. */
export const programs = [
  "examples/src/01_follow-one-task",
  "examples/src/02_cost-meter",
  "examples/src/03_notify-on-failures",
  "examples/src/04_ci-gate",
  "examples/src/05_audit-pipeline",
  "examples/src/06_otlp",
  "examples/src/07_prometheus",
  // Shared with `killed-totals`: inside that bundle, it would take itself for the program that was started.
  "examples/src/09_exactly-once",
  "examples/src/demo",
  "examples/test/support/killed-totals",
  "packages/log/test/support/killed",
  "packages/node/test/fixtures/follow",
  "packages/node/test/fixtures/fuzzed",
  "packages/node/test/fixtures/secret",
  "packages/node/test/fixtures/shutdown",
  "scripts/src/chaos/client",
  "scripts/src/chaos/server",
  "scripts/src/floods/consumer",
  "scripts/src/takeovers/relay"
] as const

/** One of the programs. */
export type Program = (typeof programs)[number]

/** The file to start. */
export const fileOf = (program: Program): string => `${directory}${program}.js`
