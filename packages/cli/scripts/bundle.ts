/**
 * Bundles the command into one file, `dist/bin/main.js`, with a launcher of some
 * lines, `dist/bin/makima-stream.js`. Only `ws` stays a dependency. The dashboard
 * that `serve` reads is copied to `dist/dashboard`.
 *
 * Modules that are imported dynamically, and the modules that only they need, run
 * when they are asked for. So do `ws` and the modules of Node: loading `node:tls`
 * and its like takes longer than everything else at the start.
 *
 * Run by `pnpm run build`, and by the tests if a source has changed since.
 */
import { createHash } from "node:crypto"
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync
} from "node:fs"
import { builtinModules, createRequire } from "node:module"
import { join, resolve } from "node:path"
import { build, type Plugin } from "vite"
import { ensure as ensureDashboard } from "../../gateway/scripts/dashboard.ts"

const cli = resolve(import.meta.dirname, "..")
const outDir = join(cli, "dist/bin")
const stampFile = join(outDir, "sources.txt")
const dashboard = join(cli, "dist/dashboard")

const launcherName = "makima-stream.js"
const bundleName = "main.js"

/** The file to run. */
export const file = join(outDir, launcherName)

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

/** The launcher loads the bundle as a file of its own: V8 caches the code of whole files. */
const besides: Plugin = {
  name: "besides",
  enforce: "pre",
  resolveId: (id) => (id === "./Cli.ts" ? { id: `./${bundleName}`, external: true } : null)
}

/** Bundles one module into one file of a directory. */
const bundleModule = (entry: string, name: string, directory: string, plugins: ReadonlyArray<Plugin>) =>
  build({
    root: cli,
    configFile: false,
    logLevel: "warn",
    plugins: [...plugins],
    build: {
      ssr: true,
      target: "node22",
      minify: false,
      outDir: directory,
      emptyOutDir: false,
      rolldownOptions: {
        input: { [name.replace(/\.js$/, "")]: join(cli, "src", entry) },
        output: { codeSplitting: false }
      }
    },
    ssr: { noExternal: true, target: "node" }
  })

/** Writes the launcher, the bundle and the page. */
export const bundle = async (): Promise<void> => {
  const page = await ensureDashboard()
  const stamp = sources()
  const temporary = join(cli, `dist/bin.${process.pid}`)
  await bundleModule("Cli.ts", bundleName, temporary, [lazy])
  await bundleModule("bin.ts", launcherName, temporary, [besides])
  mkdirSync(outDir, { recursive: true })
  const launcher = join(temporary, launcherName)
  writeFileSync(launcher, `#!/usr/bin/env node\n${readFileSync(launcher, "utf8")}`)
  chmodSync(launcher, 0o755)
  for (const name of [bundleName, launcherName]) renameSync(join(temporary, name), join(outDir, name))
  rmSync(temporary, { recursive: true, force: true })
  rmSync(dashboard, { recursive: true, force: true })
  cpSync(page, dashboard, { recursive: true })
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
  add(resolve(cli, "../gateway/dashboard"))
  hash.update(readFileSync(import.meta.filename))
  hash.update(readFileSync(resolve(cli, "../../pnpm-lock.yaml")))
  return hash.digest("hex")
}

/** Writes the bundle unless it is up to date. */
export const ensure = async (): Promise<void> => {
  const isBuilt = [file, stampFile, join(dashboard, "index.html")].every((path) => existsSync(path))
  if (isBuilt && readFileSync(stampFile, "utf8") === sources()) return
  await bundle()
}

if (process.argv[1] === import.meta.filename) await bundle()
