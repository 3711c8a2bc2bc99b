/** Bundles a page of the tests with Vite, from the sources, and serves it on a free port. */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { createServer } from "node:http"
import { join, resolve } from "node:path"
import { build } from "vite"
import { listen } from "../../../../../scripts/src/listen.ts"

const packages = resolve(import.meta.dirname, "../../../..")
const pages = resolve(import.meta.dirname, "../pages")

/** Bundles a module of `pages` into one script. */
export const bundle = (entry: string): Effect.Effect<string> =>
  Effect.promise(async () => {
    const output = await build({
      root: pages,
      configFile: false,
      logLevel: "error",
      resolve: { alias: [{ find: /^@makima-stream\/core\/(.*)$/, replacement: join(packages, "core/src/$1.ts") }] },
      build: {
        write: false,
        minify: false,
        modulePreload: { polyfill: false },
        rolldownOptions: { input: join(pages, entry), output: { codeSplitting: false } }
      }
    })
    const results = Array.isArray(output) ? output : [output]
    const chunk = results
      .flatMap((result) => ("output" in result ? result.output : []))
      .find(({ type }) => type === "chunk")
    if (chunk?.type !== "chunk") throw new Error(`Vite has bundled nothing of ${entry}`)
    return chunk.code
  })

/** Serves an empty page that runs the script. Returns its URL. */
export const serve = (script: string): Effect.Effect<string, never, Scope.Scope> =>
  Effect.gen(function* () {
    const server = createServer(({ url }, response) => {
      const isScript = url?.startsWith("/page.js") === true
      response.writeHead(200, { "content-type": `${isScript ? "text/javascript" : "text/html"}; charset=utf-8` })
      response.end(
        isScript
          ? script
          : `<!doctype html><link rel="icon" href="data:," /><ol></ol><script type="module" src="/page.js"></script>`
      )
    })
    return yield* listen(server)
  })
