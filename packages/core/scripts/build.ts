/**
 * Builds the JavaScript of the published package. `tsc` writes only the declarations.
 *
 * The time of an import grows with the number of files, so the modules are bundled into few: three chunks, and a file of a
 * few lines for each public module, which exports from the chunks. Each class and each service exists once, whatever a program
 * imports. See `docs/decisions/005-cost-of-an-import.md`.
 *
 * Run by `pnpm run build`.
 */
import { globSync, mkdirSync, rmSync, writeFileSync } from "node:fs"
import { basename, dirname, join, resolve } from "node:path"
import { rolldown, type Plugin } from "rolldown"
import { pure } from "./pure.ts"

const core = resolve(import.meta.dirname, "..")
const source = join(core, "src")
const index = join(source, "index.ts")

/**
 * The chunks, and the public modules in each: those that load the same modules of Effect, so that an import of one loads
 * no others. A chunk contains what its modules import, too. A chunk of one public module is the file of that module.
 * All other modules are in `feed`.
 */
const chunks: Readonly<Record<string, ReadonlyArray<string>>> = {
  plain: ["Interest", "TaskStatus", "internal/bounds"],
  MeshMetrics: ["MeshMetrics"],
  ReconnectPolicy: ["ReconnectPolicy"],
  schemas: ["ClientMessage", "DecodeError", "Endpoint", "MeshError", "MeshEvent", "ServerMessage", "TaskId"]
}

/** The root, and what it does not export: `RepairHttp` loads the HTTP modules of Effect. Each is a file of its own. */
const apart = new Set([index, join(source, "RepairHttp.ts")])

const groups = [
  ...Object.entries(chunks).map(([name, modules], i) => {
    const files = new Set(modules.map((module) => join(source, `${module}.ts`)))
    return { name, test: (id: string) => files.has(id), priority: 10 - i }
  }),
  { name: "feed", test: (id: string) => id.startsWith(source) && !apart.has(id) }
]

/** The root exports from the files of the public modules: a namespace of a chunk would keep the whole module in a bundle. */
const root: Plugin = {
  name: "root",
  resolveId: (id, importer) =>
    importer === index ? { id: id.replace(/\.ts$/, ".js"), external: true, moduleSideEffects: false } : null
}

/** Writes the files into a directory, and removes the files of an earlier build. */
export const build = async (directory: string = join(core, "dist")): Promise<void> => {
  const modules = globSync("*.ts", { cwd: source })
  const bundle = await rolldown({
    cwd: core,
    input: Object.fromEntries(modules.map((file) => [basename(file, ".ts"), join(source, file)])),
    external: /^effect\//,
    platform: "neutral",
    preserveEntrySignatures: "strict",
    plugins: [root, pure]
  })
  const { output } = await bundle.generate({
    // The maps are relative to this directory.
    dir: directory,
    format: "esm",
    sourcemap: true,
    sourcemapExcludeSources: true,
    comments: { annotation: true, jsdoc: false, legal: false },
    minifyInternalExports: false,
    chunkFileNames: "chunks/[name].js",
    codeSplitting: { groups }
  })
  await bundle.close()
  for (const file of globSync("**/*.js{,.map}", { cwd: directory })) rmSync(join(directory, file))
  for (const file of output) {
    const path = join(directory, file.fileName)
    mkdirSync(dirname(path), { recursive: true })
    writeFileSync(path, file.type === "chunk" ? file.code : file.source)
  }
}

if (process.argv[1] === import.meta.filename) await build()
