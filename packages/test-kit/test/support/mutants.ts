/**
 * Loads core and the kit with some lines changed: in this process, from memory. The files stay as they are.
 *
 * Only the patched modules and those that import them are loaded anew. All others, Effect included, are shared.
 */
import { readdirSync, readFileSync } from "node:fs"
import { registerHooks } from "node:module"
import { join, resolve } from "node:path"
import { fileURLToPath, pathToFileURL } from "node:url"

const packages = resolve(import.meta.dirname, "../../..")

/** A package whose modules can be patched. */
type Part = "core" | "test-kit"

const parts: ReadonlyArray<Part> = ["core", "test-kit"]

/** One change to one file. The text `from` must occur exactly once. */
export interface Patch {
  /** Whose file it is. Defaults to `core`. */
  readonly part?: Part
  readonly file: string
  readonly from: string
  readonly to: string
}

const pathOf = ({ file, part = "core" }: Patch): string => join(packages, part, "src", file)

/** The path that an import of `specifier` in a file of `directory` leads to, if it leads to core or the kit. */
const resolveImport = (directory: string, specifier: string): string | undefined => {
  if (specifier.startsWith(".")) return resolve(directory, specifier)
  const [, part, module = "index"] = /^@makima-stream\/(core|test-kit)(?:\/(.+))?$/.exec(specifier) ?? []
  return part === undefined ? undefined : join(packages, part, "src", `${module}.ts`)
}

/** Which modules import a module, by its path. Imports of types only do not count. */
const readImporters = (): ReadonlyMap<string, ReadonlyArray<string>> => {
  const importers = new Map<string, Array<string>>()
  for (const part of parts) {
    const directory = join(packages, part, "src")
    for (const entry of readdirSync(directory, { recursive: true, withFileTypes: true })) {
      if (!entry.name.endsWith(".ts")) continue
      const path = join(entry.parentPath, entry.name)
      const source = readFileSync(path, "utf8")
      for (const [, specifier = ""] of source.matchAll(/^(?:import|export) (?!type )[^"']*?["'](.+?)["']$/gm)) {
        const imported = resolveImport(entry.parentPath, specifier)
        if (imported !== undefined) importers.set(imported, [...(importers.get(imported) ?? []), path])
      }
    }
  }
  return importers
}

/** The patched modules, and all that import them directly or through others. */
const affectedBy = (patches: ReadonlyArray<Patch>): ReadonlySet<string> => {
  const importers = readImporters()
  const affected = new Set(patches.map(pathOf))
  // A set's iterator also visits what is added on the way.
  for (const path of affected) for (const importer of importers.get(path) ?? []) affected.add(importer)
  return affected
}

const patched = (path: string, patches: ReadonlyArray<Patch>): string => {
  let source = readFileSync(path, "utf8")
  for (const patch of patches) {
    if (pathOf(patch) !== path) continue
    const pieces = source.split(patch.from)
    if (pieces.length !== 2) throw new Error(`${path} contains this ${pieces.length - 1} times:\n${patch.from}`)
    source = pieces.join(patch.to)
  }
  return source
}

/**
 * From now on, imports of modules that the patches affect load them anew, under an address with `?mutant=` and the name.
 * Returns how to end that.
 */
export const install = (name: string, patches: ReadonlyArray<Patch>): { readonly deregister: () => void } => {
  const affected = affectedBy(patches)
  const mark = `?mutant=${encodeURIComponent(name)}`
  return registerHooks({
    resolve(specifier, context, next) {
      const resolved = next(specifier, context)
      return resolved.url.startsWith("file:") && affected.has(fileURLToPath(resolved.url))
        ? { ...resolved, url: `${resolved.url.split("?")[0]}${mark}` }
        : resolved
    },
    load(url, context, next) {
      if (!url.endsWith(mark)) return next(url, context)
      return { format: "module-typescript", shortCircuit: true, source: patched(fileURLToPath(url), patches) }
    }
  })
}

/** The modules that judge, and the client that they judge. */
export interface Modules {
  readonly Simulation: typeof import("../../src/Simulation.ts")
  readonly Audit: typeof import("../../src/Audit.ts")
  readonly MeshClient: typeof import("../../../core/src/MeshClient.ts")
  readonly Merge: typeof import("../../../core/src/Merge.ts")
}

/** The caller names the type of the module, which the path does not say. */
const importFrom = <Module>(part: Part, file: string): Promise<Module> =>
  import(/* @vite-ignore */ pathToFileURL(join(packages, part, "src", file)).href)

/** Imports the modules so that they run the patched sources. The name must be unique in this process. */
export const modulesWith = async (name: string, patches: ReadonlyArray<Patch>): Promise<Modules> => {
  const hooks = install(name, patches)
  try {
    return {
      Simulation: await importFrom("test-kit", "Simulation.ts"),
      Audit: await importFrom("test-kit", "Audit.ts"),
      MeshClient: await importFrom("core", "MeshClient.ts"),
      Merge: await importFrom("core", "Merge.ts")
    }
  } finally {
    hooks.deregister()
  }
}
