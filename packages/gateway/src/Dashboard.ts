/**
 * The files of the dashboard: a page for someone who watches many tasks.
 *
 * The page is built into this package. It connects to the gateway that serves it, on the same protocol as every other client.
 * `Gateway.make` takes its files as the option `assets`.
 *
 * @since 0.2.0
 */
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import { existsSync } from "node:fs"
import { readdir, readFile } from "node:fs/promises"
import { extname, join, sep } from "node:path"
import { fileURLToPath } from "node:url"
import type { Asset } from "./Gateway.ts"

/**
 * The files of the page could not be read.
 *
 * @category errors
 * @since 0.2.0
 */
export class DashboardError extends Data.TaggedError("DashboardError")<{
  /** The directory that was read. */
  readonly directory: string
  /** The error of the platform. Absent if the directory has no `index.html`. */
  readonly cause?: unknown
}> {
  /** What happened, in one line. */
  override get message(): string {
    return `The dashboard cannot be read from ${this.directory}. In a checkout, \`pnpm run build\` builds it`
  }
}

/**
 * Options of `assets`.
 *
 * @category options
 * @since 0.2.0
 */
export interface Options {
  /** The directory of the built page. Defaults to the one in this package. */
  readonly directory?: string | undefined
}

/** From the sources, and from the published files. */
const places = ["../dist/dashboard/", "./dashboard/"].map((path) => fileURLToPath(new URL(path, import.meta.url)))

const defaultDirectory = (): string => places.find((path) => existsSync(join(path, "index.html"))) ?? places[1] ?? ""

const types: Readonly<Record<string, string>> = {
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".css": "text/css; charset=utf-8",
  ".svg": "image/svg+xml",
  ".png": "image/png",
  ".ico": "image/x-icon",
  ".woff2": "font/woff2",
  ".json": "application/json; charset=utf-8",
  ".txt": "text/plain; charset=utf-8"
}

/**
 * Reads the files of the page, by the path at which the gateway serves them. `/` is its start.
 *
 * **When to use**
 *
 * Use it for the option `assets` of `Gateway.make`.
 *
 * **Details**
 *
 * The files are read once. Fails with `DashboardError` if the directory has no `index.html`, or if a file cannot be read.
 *
 * **Example** (A directory without a page)
 *
 * ```ts
 * import * as Effect from "effect/Effect"
 * import * as Dashboard from "@makima-stream/gateway/Dashboard"
 *
 * const program = Dashboard.assets({ directory: "/nowhere" }).pipe(
 *   Effect.map((assets) => assets.size),
 *   Effect.catchTag("DashboardError", (error) => Effect.succeed(error.directory))
 * )
 * console.log(await Effect.runPromise(program)) // /nowhere
 * ```
 *
 * @category constructors
 * @since 0.2.0
 */
export const assets = (options?: Options): Effect.Effect<ReadonlyMap<string, Asset>, DashboardError> =>
  Effect.suspend(() => {
    const directory = options?.directory ?? defaultDirectory()
    return Effect.tryPromise({
      try: () => read(directory),
      catch: (cause) => new DashboardError({ directory, cause })
    }).pipe(
      Effect.filterOrFail(
        (files) => files.has("/"),
        () => new DashboardError({ directory })
      )
    )
  })

const read = async (directory: string): Promise<ReadonlyMap<string, Asset>> => {
  const entries = await readdir(directory, { recursive: true, withFileTypes: true })
  const paths = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name))
  const files = await Promise.all(
    paths.map(async (path) => {
      const name = `/${path.slice(join(directory, sep).length).split(sep).join("/")}`
      const asset: Asset = { type: types[extname(path)] ?? "application/octet-stream", body: await readFile(path) }
      return [name === "/index.html" ? "/" : name, asset] as const
    })
  )
  return new Map(files)
}
