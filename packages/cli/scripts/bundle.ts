/**
 * Bundles the command into one file, `dist/bin/makima-stream.js`. Only `ws` stays
 * a dependency.
 *
 * Modules that are imported dynamically, and the modules that only they need, run
 * when they are asked for. So do `ws` and the modules of Node: loading `node:tls`
 * and its like takes longer than everything else at the start.
 *
 * Run by `pnpm run build`, and by the tests if a source has changed since.
 */
import { createHash } from "node:crypto"
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs"
import { builtinModules, createRequire } from "node:module"
import { join, resolve } from "node:path"
import { build, type Plugin } from "vite"

const cli = resolve(import.meta.dirname, "..")
const outDir = join(cli, "dist/bin")
const stampFile = join(outDir, "sources.txt")

/** The bundle. */
export const file = join(outDir, "makima-stream.js")

const prefix = "\0lazy:"
const require = createRequire(import.meta.url)

/** The modules that stay outside the bundle, by their names in `import`. */
const outside: ReadonlySet<string> = new Set(["ws", ...builtinModules.map((name) => name.replace(/^node:/, ""))])

const isName = (name: string): boolean => /^[A-Za-z_$][\w$]*$/.test(name) && name !== "default"

/** Turns an `import` of a module outside the bundle into a call at the time when its importer runs. */
const lazy: Plugin = {
  name: "lazy",
  enforce: "pre",
  resolveId: (id) =>
    outside.has(id.replace(/^node:/, "")) ? { id: prefix + id.replace(/^node:/, ""), moduleSideEffects: false } : null,
  load: (id) => {
    if (!id.startsWith(prefix)) return null
    const name = id.slice(prefix.length)
    const [source, module] =
      name === "ws"
        ? [`process.getBuiltinModule("node:module").createRequire(import.meta.url)("ws")`, "ws"]
        : [`process.getBuiltinModule("node:${name}")`, `node:${name}`]
    const names = Object.keys(Object(require(module))).filter(isName)
    return [
      `const module = ${source}`,
      `export default module`,
      ...names.map((name, i) => `const x${i} = /*#__PURE__*/ (() => module.${name})()\nexport { x${i} as ${name} }`)
    ].join("\n")
  }
}

/** `__esmMin((() => …))` is compiled at once by V8, which takes brackets as a sign that a function is called soon. */
const compileLazily: Plugin = {
  name: "compile-lazily",
  renderChunk: (code) => ({
    code: code.replaceAll(/__esm(Min)?\(\(\(\)/g, (text) => `${text.slice(0, -2)}0,()`),
    map: null
  })
}

/** Writes the bundle. */
export const bundle = async (): Promise<void> => {
  const stamp = sources()
  const temporary = join(cli, `dist/bin.${process.pid}`)
  await build({
    root: cli,
    configFile: false,
    logLevel: "warn",
    plugins: [lazy, compileLazily],
    build: {
      ssr: true,
      target: "node22",
      minify: false,
      outDir: temporary,
      emptyOutDir: true,
      rolldownOptions: { input: { "makima-stream": join(cli, "src/bin.ts") }, output: { codeSplitting: false } }
    },
    ssr: { noExternal: true, target: "node" }
  })
  mkdirSync(outDir, { recursive: true })
  const built = join(temporary, "makima-stream.js")
  writeFileSync(built, `#!/usr/bin/env node\n${readFileSync(built, "utf8")}`)
  chmodSync(built, 0o755)
  renameSync(built, file)
  rmSync(temporary, { recursive: true, force: true })
  writeFileSync(stampFile, stamp)
}

/** A hash of everything that the bundle is made of. */
const sources = (): string => {
  const hash = createHash("sha256")
  const add = (directory: string): void => {
    for (const entry of readdirSync(directory, { withFileTypes: true }).toSorted((a, b) =>
      a.name.localeCompare(b.name)
    )) {
      const path = join(directory, entry.name)
      if (entry.isDirectory()) add(path)
      else hash.update(path).update("\0").update(readFileSync(path))
    }
  }
  for (const name of ["core", "node", "test-kit", "log", "nats", "gateway", "cli"]) add(resolve(cli, "..", name, "src"))
  hash.update(readFileSync(import.meta.filename))
  hash.update(readFileSync(resolve(cli, "../../pnpm-lock.yaml")))
  return hash.digest("hex")
}

/** Writes the bundle unless it is up to date. */
export const ensure = async (): Promise<void> => {
  if (existsSync(file) && existsSync(stampFile) && readFileSync(stampFile, "utf8") === sources()) return
  await bundle()
}

if (process.argv[1] === import.meta.filename) await bundle()
