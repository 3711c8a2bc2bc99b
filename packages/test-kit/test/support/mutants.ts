import { cpSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs"
import { join, resolve } from "node:path"
import { pathToFileURL } from "node:url"

const root = resolve(import.meta.dirname, "../../../..")

/** One change to one file of core. The text `from` must occur exactly once. */
export interface Patch {
  readonly file: string
  readonly from: string
  readonly to: string
}

/**
 * Copies core and the kit, and patches the copy of core. Modules in the copy
 * import both from the copy. Returns its path.
 */
export const copyWith = (name: string, patches: ReadonlyArray<Patch>): string => {
  const copy = join(root, "build/mutants", name)
  rmSync(copy, { recursive: true, force: true })
  mkdirSync(join(copy, "node_modules/@makima-stream"), { recursive: true })
  for (const part of ["core", "test-kit"]) {
    mkdirSync(join(copy, part), { recursive: true })
    cpSync(join(root, "packages", part, "src"), join(copy, part, "src"), { recursive: true })
    cpSync(join(root, "packages", part, "package.json"), join(copy, part, "package.json"))
    symlinkSync(join("../..", part), join(copy, "node_modules/@makima-stream", part))
  }
  for (const { file, from, to } of patches) {
    const path = join(copy, "core/src", file)
    const parts = readFileSync(path, "utf8").split(from)
    if (parts.length !== 2) throw new Error(`${name}: ${file} contains this ${parts.length - 1} times:\n${from}`)
    writeFileSync(path, parts.join(to))
  }
  return copy
}

/** Imports `Simulation` from such a copy, so that it runs the patched core. */
export const simulationWith = (
  name: string,
  patches: ReadonlyArray<Patch>
): Promise<typeof import("../../src/Simulation.ts")> =>
  import(/* @vite-ignore */ pathToFileURL(join(copyWith(name, patches), "test-kit/src/Simulation.ts")).href)
