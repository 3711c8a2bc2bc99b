/**
 * Builds the page that the gateway serves: `dashboard/` into `dist/dashboard/`.
 *
 * Run by `pnpm run build`. Tests and scripts that need the page call `ensure`, which builds it if a source has changed.
 */
import { createHash } from "node:crypto"
import { existsSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs"
import { join, resolve } from "node:path"
import { gzipSync } from "node:zlib"

const gateway = resolve(import.meta.dirname, "..")
const source = join(gateway, "dashboard")

/** The directory of the built page. */
export const directory = join(gateway, "dist/dashboard")
const stampFile = join(gateway, "dist/dashboard.txt")

/** The oldest browsers of the page. They know `light-dark()`, container queries and `:has()`. */
const target = ["chrome123", "edge123", "firefox121", "safari17.5"]

/** Builds the page. Throws if Vite has a warning, because a page with a missing module does not run. */
export const build = async (): Promise<void> => {
  const stamp = sources()
  const temporary = `${directory}.${process.pid}`
  try {
    await bundlePage(temporary)
    replace(temporary)
    writeFileSync(stampFile, stamp)
  } finally {
    rmSync(temporary, { recursive: true, force: true })
  }
}

const bundlePage = async (outDir: string): Promise<void> => {
  // Loaded only to build: it takes a while.
  const { build: bundle, createLogger } = await import("vite")
  const logger = createLogger("warn")
  const warnings: Array<string> = []
  logger.warn = (message) => void warnings.push(message)
  await bundle({
    root: source,
    configFile: false,
    customLogger: logger,
    logLevel: "warn",
    oxc: { jsx: { runtime: "automatic", importSource: "preact" } },
    build: {
      outDir,
      emptyOutDir: true,
      target,
      cssTarget: target,
      modulePreload: { polyfill: false },
      // The policy of the gateway allows no inlined files.
      assetsInlineLimit: 0,
      chunkSizeWarningLimit: 2000,
      // A warning that only says how long the machine took must not fail the build.
      rolldownOptions: { checks: { bundlerTimings: false } }
    }
  })
  if (warnings.length > 0) throw new Error(`Vite warned:\n${warnings.join("\n")}`)
}

/** Puts a new directory into the place of the built page. Another process may do the same at this moment. */
const replace = (temporary: string): void => {
  const old = `${temporary}.old`
  for (let attempt = 1; ; attempt++) {
    try {
      if (existsSync(directory)) renameSync(directory, old)
      renameSync(temporary, directory)
      return rmSync(old, { recursive: true, force: true })
    } catch (error) {
      rmSync(old, { recursive: true, force: true })
      if (attempt === 5) throw error
    }
  }
}

const filesOf = (directory: string): ReadonlyArray<string> =>
  readdirSync(directory, { withFileTypes: true })
    .toSorted((a, b) => a.name.localeCompare(b.name))
    .flatMap((entry) => {
      const path = join(directory, entry.name)
      return entry.isDirectory() ? filesOf(path) : [path]
    })

/** A hash of everything that the page is made of. */
const sources = (): string => {
  const hash = createHash("sha256")
  const files = [
    ...filesOf(source),
    ...filesOf(resolve(gateway, "../core/src")),
    import.meta.filename,
    resolve(gateway, "../../pnpm-lock.yaml")
  ]
  for (const path of files) hash.update(path).update("\0").update(readFileSync(path))
  return hash.digest("hex")
}

/** Builds the page unless it is up to date. Returns its directory. */
export const ensure = async (): Promise<string> => {
  const isBuilt = existsSync(join(directory, "index.html")) && existsSync(stampFile)
  if (!isBuilt || readFileSync(stampFile, "utf8") !== sources()) await build()
  return directory
}

/** The size of the page in bytes, by kind of file: as it is, and compressed. */
export const sizes = (): ReadonlyArray<{ readonly file: string; readonly bytes: number; readonly gzip: number }> =>
  filesOf(directory).map((path) => {
    const content = readFileSync(path)
    return {
      file: path.slice(directory.length + 1),
      bytes: content.length,
      gzip: gzipSync(content, { level: 9 }).length
    }
  })

if (process.argv[1] === import.meta.filename) {
  await build()
  for (const { bytes, file, gzip } of sizes()) {
    console.log(
      `${(bytes / 1024).toFixed(1).padStart(8)} KiB ${(gzip / 1024).toFixed(1).padStart(8)} KiB gzip  ${file}`
    )
  }
}
