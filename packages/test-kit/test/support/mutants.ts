import { cpSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs"
import { join, resolve } from "node:path"
import { pathToFileURL } from "node:url"

const root = resolve(import.meta.dirname, "../../../..")

/** One change to one file of core. The text must be there exactly once. */
export interface Patch {
  readonly file: string
  readonly from: string
  readonly to: string
}

/**
 * A copy of core and of the kit, with core changed; what is in it, and what is
 * put into it, imports the two from there. Gives its path.
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
    if (parts.length !== 2) throw new Error(`${name}: ${file} has this ${parts.length - 1} times:\n${from}`)
    writeFileSync(path, parts.join(to))
  }
  return copy
}

/** The simulation of such a copy: a search in it looks at the changed core. */
export const simulationWith = (
  name: string,
  patches: ReadonlyArray<Patch>
): Promise<typeof import("../../src/Simulation.ts")> =>
  import(/* @vite-ignore */ pathToFileURL(join(copyWith(name, patches), "test-kit/src/Simulation.ts")).href)
