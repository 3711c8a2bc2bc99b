/** Bundles the programs that tests start as processes, if a module of them has changed since the last time. */
import { createHash } from "node:crypto"
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs"
import { directory, programs, root } from "../../../packages/test-kit/test/support/programs.ts"

const stampFile = `${directory}modules.json`

const hashOf = (path: string): string =>
  existsSync(path) ? createHash("sha256").update(readFileSync(path)).digest("hex") : "none"

/** The hashes of files, as text. */
const stampOf = (paths: ReadonlyArray<string>): string =>
  JSON.stringify(Object.fromEntries(paths.map((path) => [path, hashOf(path)])))

const isCurrent = (): boolean => {
  if (!existsSync(stampFile)) return false
  const stamp = readFileSync(stampFile, "utf8")
  return stampOf(Object.keys(JSON.parse(stamp))) === stamp
}

const bundle = async (): Promise<void> => {
  const { build } = await import("vite")
  const temporary = `${root}build/programs.${process.pid}`
  const modules = new Set([
    import.meta.filename,
    `${root}packages/test-kit/test/support/programs.ts`,
    `${root}pnpm-lock.yaml`
  ])
  await build({
    root,
    configFile: false,
    logLevel: "warn",
    plugins: [
      {
        name: "modules",
        moduleParsed: ({ id }) => {
          if (id.startsWith(root) && !id.includes("/node_modules/")) modules.add(id)
        }
      }
    ],
    build: {
      ssr: true,
      target: "node22",
      minify: false,
      outDir: temporary,
      emptyOutDir: true,
      rolldownOptions: { input: Object.fromEntries(programs.map((name) => [name, `${root}${name}.ts`])) }
    },
    ssr: { noExternal: true, external: ["ws"], target: "node" }
  })
  writeFileSync(`${temporary}/modules.json`, stampOf([...modules]))
  rmSync(directory, { recursive: true, force: true })
  mkdirSync(`${root}build`, { recursive: true })
  renameSync(temporary, directory)
}

/** Bundles the programs if they are not up to date. */
export const ensure = async (): Promise<void> => {
  if (!isCurrent()) await bundle()
}
