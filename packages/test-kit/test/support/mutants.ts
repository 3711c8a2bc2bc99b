import { cpSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs"
import { join, resolve } from "node:path"
import { pathToFileURL } from "node:url"

const root = resolve(import.meta.dirname, "../../../..")

/** One change to one file. The text `from` must occur exactly once. */
export interface Patch {
  /** Whose file it is. Defaults to `core`. */
  readonly part?: "core" | "test-kit"
  readonly file: string
  readonly from: string
  readonly to: string
}

/**
 * Copies core and the kit, and patches the copy. Modules in the copy
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
  for (const { file, from, part = "core", to } of patches) {
    const path = join(copy, part, "src", file)
    const parts = readFileSync(path, "utf8").split(from)
    if (parts.length !== 2) throw new Error(`${name}: ${file} contains this ${parts.length - 1} times:\n${from}`)
    writeFileSync(path, parts.join(to))
  }
  return copy
}

/** Imports a module of such a copy. The caller names its type, which the path does not say. */
const importFrom = <Module>(copy: string, path: string): Promise<Module> =>
  import(/* @vite-ignore */ pathToFileURL(join(copy, path)).href)

/** The modules of a copy that judge, and the client that they judge. */
export interface Modules {
  readonly Simulation: typeof import("../../src/Simulation.ts")
  readonly Audit: typeof import("../../src/Audit.ts")
  readonly MeshClient: typeof import("../../../core/src/MeshClient.ts")
}

/** Imports the modules of such a copy, so that they run the patched sources. */
export const modulesWith = async (name: string, patches: ReadonlyArray<Patch>): Promise<Modules> => {
  const copy = copyWith(name, patches)
  return {
    Simulation: await importFrom(copy, "test-kit/src/Simulation.ts"),
    Audit: await importFrom(copy, "test-kit/src/Audit.ts"),
    MeshClient: await importFrom(copy, "core/src/MeshClient.ts")
  }
}
