/** The size of core in a browser's bundle: minified, gzipped, in bytes. */
import { join, resolve } from "node:path"
import { gzipSync } from "node:zlib"
import { build } from "vite"

const root = resolve(import.meta.dirname, "../..")

const weigh = async (code: string, withEffect: boolean): Promise<number> => {
  const result = await build({
    root: import.meta.dirname,
    configFile: false,
    logLevel: "error",
    plugins: [
      {
        name: "entry",
        resolveId: (id) => (id === "entry.js" ? id : undefined),
        load: (id) => (id === "entry.js" ? code : undefined)
      }
    ],
    build: {
      write: false,
      minify: true,
      modulePreload: { polyfill: false },
      chunkSizeWarningLimit: 10_000,
      rolldownOptions: {
        input: "entry.js",
        preserveEntrySignatures: "strict",
        ...(withEffect ? {} : { external: /^effect(\/|$)/ })
      }
    }
  })
  let bytes = 0
  for (const { output } of [result].flat().filter((built) => "output" in built)) {
    for (const file of output) if (file.type === "chunk") bytes += gzipSync(file.code, { level: 9 }).length
  }
  return bytes
}

export interface Bundle {
  readonly client: number
  readonly connect: number
  readonly all: number
  readonly program: number
}

export const measure = async (): Promise<Bundle> => ({
  client: await weigh(`export * from "@makima-stream/core/MeshClient"`, false),
  connect: await weigh(`export { connect } from "@makima-stream/core/MeshStream"`, false),
  all: await weigh(`export * from "@makima-stream/core"`, false),
  program: await weigh(`import ${JSON.stringify(join(root, "scripts/browser/small.ts"))}`, true)
})
