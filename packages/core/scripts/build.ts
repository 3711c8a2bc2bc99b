/**
 * Builds the JavaScript of the published package. `tsc` writes only the declarations.
 *
 * The time of an import grows with the number of files, so the modules are bundled into few: one chunk with what needs no
 * streams, one with the rest of what the root exports, and a file of a few lines for each public module, which exports from
 * the chunks. So each class and each service exists once, whatever a program imports. `RepairHttp` is not in the root, and
 * loads the HTTP modules of Effect, so it is a file of its own. See `docs/decisions/005-cost-of-an-import.md`.
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

/** The modules that need no streams. A program that imports only these does not load the modules of Effect for streams. */
const base = new Set(
  ["ClientMessage", "DecodeError", "Endpoint", "Interest", "MeshError", "MeshEvent", "ServerMessage"]
    .concat("TaskId", "TaskStatus", "internal/bounds")
    .map((name) => join(source, `${name}.ts`))
)

/** The modules that the root does not export. */
const apart = new Set([index, join(source, "RepairHttp.ts")])

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
    codeSplitting: {
      // A group takes the modules that its modules import, too.
      groups: [
        { name: "base", test: (id) => base.has(id), priority: 1 },
        { name: "feed", test: (id) => id.startsWith(source) && !apart.has(id) }
      ]
    }
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
