/**
 * Checks the packages as a user receives them: packs each, checks the tarballs
 * (publint, Are The Types Wrong, source maps), installs them with npm in an empty
 * project outside the workspace, type-checks all declarations and a program
 * there, and runs the program on Node 22 and on this Node. The command
 * `makima-stream` is installed alone in an empty folder, and runs on both, too.
 *
 * Run by `pnpm run packages`, after `pnpm run build`.
 */
import { checkPackage, createPackageFromTarballData, type Problem } from "@arethetypeswrong/core"
import { execFile } from "node:child_process"
import { cp, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { dirname, join, posix, resolve } from "node:path"
import { promisify } from "node:util"
import { publint } from "publint"
import { formatMessage } from "publint/utils"
import * as Supply from "./supply.ts"

/** The oldest supported Node line, in its newest version. */
const oldestNode = "22.23.3"

const root = resolve(import.meta.dirname, "../..")
const exec = promisify(execFile)
const failures: Array<string> = []

interface Manifest extends Supply.Manifest {
  readonly version: string
  readonly exports?: Readonly<Record<string, unknown>>
  readonly bin?: Readonly<Record<string, string>>
  readonly files?: ReadonlyArray<string>
}

// `JSON.parse` is untyped; npm has validated the file.
const readManifest = async (path: string) => JSON.parse(await readFile(path, "utf8")) as Manifest

const step = async <A>(name: string, run: () => Promise<A>): Promise<A> => {
  const start = performance.now()
  const result = await run()
  console.log(`${((performance.now() - start) / 1000).toFixed(1).padStart(6)} s  ${name}`)
  return result
}

/** Runs a command, and returns its output even if it fails. */
const run = async (cwd: string, command: string, args: ReadonlyArray<string>) => {
  try {
    const { stdout, stderr } = await exec(command, args, { cwd, maxBuffer: 64 * 1024 * 1024 })
    return { ok: true, stdout, output: stdout + stderr }
  } catch (error) {
    if (!(error instanceof Error) || !("stdout" in error) || !("stderr" in error)) throw error
    return { ok: false, stdout: String(error.stdout), output: `${error.message}\n${error.stdout}\n${error.stderr}` }
  }
}

const mustRun = async (cwd: string, command: string, args: ReadonlyArray<string>) => {
  const result = await run(cwd, command, args)
  if (!result.ok) throw new Error(`${command} ${args.join(" ")} failed\n${result.output}`)
  return result.stdout
}

// ---------------------------------------------------------------------------
// packing
// ---------------------------------------------------------------------------

interface Tarball {
  readonly name: string
  readonly path: string
  readonly data: Uint8Array<ArrayBuffer>
  /** Paths inside the package, such as `dist/index.js`, with their text. */
  readonly files: ReadonlyMap<string, string>
  readonly manifest: Manifest
}

const pack = async (directory: string, destination: string): Promise<Tarball> => {
  const pnpm = process.env["npm_execpath"]
  if (pnpm === undefined) throw new Error("run this by `pnpm run packages`")
  const isScript = /\.[cm]?js$/.test(pnpm)
  await mustRun(directory, isScript ? process.execPath : pnpm, [
    ...(isScript ? [pnpm] : []),
    "pack",
    "--pack-destination",
    destination
  ])
  const { name, version } = await readManifest(join(directory, "package.json"))
  const path = join(destination, `${name.replace("@", "").replace("/", "-")}-${version}.tgz`)
  const data = new Uint8Array(await readFile(path))
  const contents = createPackageFromTarballData(data)
  const inside = `/node_modules/${name}/`
  const files = new Map(contents.listFiles().map((file) => [file.slice(inside.length), contents.readFile(file)]))
  const manifest = JSON.parse(files.get("package.json") ?? "{}") as Manifest
  return { name, path, data, files, manifest }
}

/** The folders that `exports` hides: `dist/internal/` for `"./internal/*": null`. */
const hiddenFolders = ({ exports = {} }: Manifest): ReadonlyArray<string> =>
  Object.entries(exports)
    .filter(([, target]) => target === null)
    .map(([key]) => key.replace(/^\.\//, "dist/").replace(/\*$/, ""))

/** The public modules of a package, by their import paths, such as `@makima-stream/core/MeshEvent`. */
const publicModules = ({ name, files, manifest }: Tarball): ReadonlyArray<string> =>
  [...files.keys()]
    .filter((file) => file.startsWith("dist/") && file.endsWith(".d.ts"))
    .filter((file) => !hiddenFolders(manifest).some((folder) => file.startsWith(folder)))
    .map((file) => file.slice("dist/".length, -".d.ts".length))
    .map((module) => (module === "index" ? name : `${name}/${module}`))

// ---------------------------------------------------------------------------
// checking the tarballs
// ---------------------------------------------------------------------------

/** A file that only exports from other files has no code to map. */
const onlyExports = /^((import|export) .*\n)+$/

/** Checks that every built file has a packed source, and that every source map refers to it. */
const checkContents = (tarball: Tarball): void => {
  const { name, files, manifest } = tarball
  for (const file of ["README.md", "LICENSE", "package.json", "dist/index.js", "dist/index.d.ts"]) {
    if (!files.has(file)) failures.push(`${name}: ${file} is not in the package`)
  }
  if (manifest.files?.includes("dist/dashboard/**") === true && !files.has("dist/dashboard/index.html")) {
    failures.push(`${name}: dist/dashboard/index.html is not in the package`)
  }
  for (const module of publicModules(tarball)) {
    const file = `dist${module === name ? "/index" : module.slice(name.length)}.js`
    if (!files.has(file)) failures.push(`${name}: ${file} is not in the package`)
  }
  for (const [file, text] of files) {
    // The page has no modules that a program imports, so it has no sources and no maps in the package.
    if (!file.startsWith("dist/") || file.startsWith("dist/dashboard/")) continue
    const source = file.replace(/^dist\//, "src/").replace(/(\.d\.ts|\.js)(\.map)?$/, ".ts")
    // A chunk has the code of many sources, which its map names.
    if (!files.has(source) && !file.startsWith("dist/chunks/"))
      failures.push(`${name}: ${file} has no ${source}: it is stale, run \`pnpm run clean\``)
    if (!file.endsWith(".map")) {
      if (!files.has(`${file}.map`) && !onlyExports.test(text)) failures.push(`${name}: ${file} has no source map`)
      continue
    }
    const { sources } = JSON.parse(text) as { readonly sources: ReadonlyArray<string> }
    for (const relative of sources) {
      const target = posix.join(dirname(file), relative)
      if (!files.has(target)) failures.push(`${name}: ${file} leads to ${target}, which is not in the package`)
    }
  }
  if (!(files.get("CHANGELOG.md") ?? "").includes(`## ${manifest.version}\n`)) {
    failures.push(`${name}: CHANGELOG.md has no entry for version ${manifest.version}`)
  }
  failures.push(...Supply.checkManifest(manifest))
  const text = JSON.stringify(manifest)
  if (text.includes("workspace:")) failures.push(`${name}: the packed package.json refers to the workspace`)
  if (text.includes(`"./src/`)) failures.push(`${name}: the packed package.json exports sources`)
}

const describe = (problem: Problem): string =>
  "entrypoint" in problem ? `${problem.kind} at ${problem.entrypoint} (${problem.resolutionKind})` : problem.kind

/**
 * The packages are ESM only, so problems of CommonJS importers and of TypeScript's old
 * `node10` resolution are ignored: `attw --profile esm-only`.
 */
const isEsmProblem = (problem: Problem): boolean =>
  !("resolutionKind" in problem && (problem.resolutionKind === "node10" || problem.resolutionKind === "node16-cjs"))

const lint = async (tarball: Tarball): Promise<void> => {
  const { messages } = await publint({ pack: { tarball: tarball.data.buffer }, strict: true })
  for (const message of messages) {
    failures.push(`${tarball.name}: publint: ${formatMessage(message, { ...tarball.manifest }, { color: false })}`)
  }
  const entrypoints = publicModules(tarball).map((module) => module.replace(tarball.name, "."))
  const analysis = await checkPackage(createPackageFromTarballData(tarball.data), { entrypoints })
  if (analysis.types === false) {
    failures.push(`${tarball.name}: has no types`)
  } else {
    for (const problem of analysis.problems.filter(isEsmProblem)) {
      failures.push(`${tarball.name}: are the types wrong: ${describe(problem)}`)
    }
  }
}

// ---------------------------------------------------------------------------
// the project outside the workspace
// ---------------------------------------------------------------------------

const installedVersion = async (name: string) =>
  (await readManifest(join(root, "node_modules", name, "package.json"))).version

const install = async (project: string, tarballs: ReadonlyArray<Tarball>): Promise<string> => {
  const peers = new Set(tarballs.flatMap(({ manifest }) => Object.keys(manifest.peerDependencies ?? {})))
  const versions: Record<string, string> = {}
  for (const name of [...peers, "typescript", "@types/node", "@types/ws"]) {
    if (!tarballs.some((tarball) => tarball.name === name)) versions[name] = await installedVersion(name)
  }
  // The npm package `node` downloads one of these in an install script. This installs it without a script.
  const platform = process.platform === "win32" ? "win" : process.platform
  const node22 = `node-${platform}-${process.arch}`
  const manifest = {
    name: "stranger",
    private: true,
    type: "module",
    dependencies: {
      ...Object.fromEntries(tarballs.map(({ name, path }) => [name, `file:${path}`])),
      ...versions,
      [node22]: oldestNode
    }
  }
  await writeFile(join(project, "package.json"), JSON.stringify(manifest, undefined, 2))
  await mustRun(project, "npm", [
    "install",
    "--ignore-scripts",
    "--prefer-offline",
    "--no-audit",
    "--no-fund",
    "--no-package-lock",
    "--loglevel=error"
  ])
  // npm's list of installed packages.
  const { packages } = JSON.parse(await readFile(join(project, "node_modules/.package-lock.json"), "utf8")) as {
    readonly packages: Readonly<Record<string, Supply.Installed>>
  }
  failures.push(
    ...Supply.checkInstalled(
      packages,
      tarballs.map(({ name }) => name)
    )
  )
  return join(project, "node_modules", node22, "bin", process.platform === "win32" ? "node.exe" : "node")
}

/** Type-checks all declarations of the packages and the program, and compiles the program. */
const typeCheck = async (project: string, tarballs: ReadonlyArray<Tarball>): Promise<void> => {
  const modules = tarballs.flatMap(publicModules)
  await cp(join(root, "scripts/stranger/program.ts"), join(project, "src/program.ts"))
  await writeFile(
    join(project, "src/everything.ts"),
    modules.map((module, i) => `export type * as M${i} from "${module}"\n`).join("")
  )
  const compilerOptions = {
    target: "ES2023",
    lib: ["ES2023", "DOM", "DOM.Iterable", "DOM.AsyncIterable"],
    types: ["node"],
    strict: true,
    exactOptionalPropertyTypes: true,
    noUncheckedIndexedAccess: true,
    skipLibCheck: false,
    rootDir: "src",
    outDir: "dist"
  }
  const resolutions = [
    { module: "NodeNext", moduleResolution: "NodeNext" },
    { module: "ESNext", moduleResolution: "Bundler", noEmit: true }
  ]
  const outputs = await Promise.all(
    resolutions.map(async (resolution) => {
      const config = `tsconfig.${resolution.module}.json`
      await writeFile(
        join(project, config),
        JSON.stringify({ compilerOptions: { ...compilerOptions, ...resolution }, include: ["src"] })
      )
      return run(project, process.execPath, ["node_modules/typescript/bin/tsc", "-p", config, "--pretty", "false"])
    })
  )
  const complaints = outputs.flatMap(({ output }) => output.split("\n").filter((line) => /error TS\d+/.test(line)))
  // With `skipLibCheck: false` the compiler also checks the declarations of other packages, which are ignored here.
  const foreign = complaints.filter(
    (line) => line.startsWith("node_modules/") && !tarballs.some(({ name }) => line.includes(`node_modules/${name}/`))
  )
  if (foreign.length > 0) {
    const where = new Set(foreign.map((line) => /^node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(line)?.[1]))
    console.log(`          (not counted: ${foreign.length} errors in declarations of ${[...where].join(", ")})`)
  }
  const ours = complaints.filter((line) => !foreign.includes(line))
  failures.push(...new Set(ours.map((line) => `types: ${line}`)))
  if (complaints.length === 0) {
    for (const { ok, output } of outputs) if (!ok) failures.push(`types: ${output}`)
  }
}

const expected = JSON.stringify([
  ["hello", "done"],
  ["hello", "done"]
])

/** Prints the exports of core that are different values if imported from the root and from their module. */
const identities = `
  const root = await import("@makima-stream/core")
  for (const [name, fromRoot] of Object.entries(root)) {
    const module = await import("@makima-stream/core/" + name)
    const isSame = (key) => module[key] === fromRoot[key]
    console.log(...[...new Set([...Object.keys(module), ...Object.keys(fromRoot)])].filter((key) => !isSame(key)))
  }
`

const runOn = async (project: string, node: string): Promise<void> => {
  const version = (await mustRun(project, node, ["--version"])).trim()
  const { output, ok } = await run(project, node, ["dist/program.js"])
  if (!ok || output.trim() !== expected) failures.push(`Node ${version}: expected ${expected}, got: ${output}`)
  const different = await run(project, node, ["--input-type=module", "-e", identities])
  if (!different.ok || different.output.trim() !== "") {
    failures.push(`Node ${version}: the root and the modules of core export different values: ${different.output}`)
  }
  for (const module of ["internal/wire/message", "chunks/feed"]) {
    const hidden = await run(project, node, ["-e", `import("@makima-stream/core/${module}")`])
    if (!hidden.output.includes("ERR_PACKAGE_PATH_NOT_EXPORTED")) {
      failures.push(`Node ${version}: ${module} can be imported`)
    }
  }
}

// ---------------------------------------------------------------------------
// the command
// ---------------------------------------------------------------------------

/** Whether a package is a program: it has nothing to import, and no sources. */
const isProgram = ({ manifest }: Tarball): boolean => manifest.bin !== undefined

const checkProgram = ({ name, files, manifest }: Tarball): void => {
  for (const file of ["README.md", "LICENSE", "package.json", ...Object.values(manifest.bin ?? {})]) {
    if (!files.has(file.replace(/^\.\//, ""))) failures.push(`${name}: ${file} is not in the package`)
  }
  for (const file of files.keys()) {
    if (
      !/^(README\.md|LICENSE|CHANGELOG\.md|package\.json|dist\/bin\/[\w-]+\.js|dist\/dashboard\/[\w./-]+)$/.test(file)
    ) {
      failures.push(`${name}: ${file} is in the package`)
    }
  }
  const dependencies = Object.keys({ ...manifest.dependencies, ...manifest.peerDependencies })
  if (dependencies.join() !== "ws") failures.push(`${name}: depends on ${dependencies.join(", ")}, and not on ws alone`)
  if (JSON.stringify(manifest.dependencies).includes("workspace:")) {
    failures.push(`${name}: the packed package.json speaks of the workspace`)
  }
  failures.push(...Supply.checkManifest(manifest))
}

/** Installs the command into a folder of its own, and returns its launcher. */
const installProgram = async (folder: string, { name, path }: Tarball): Promise<string> => {
  await writeFile(
    join(folder, "package.json"),
    JSON.stringify({ name: "stranger", private: true, dependencies: { [name]: `file:${path}` } })
  )
  await mustRun(folder, "npm", [
    "install",
    "--ignore-scripts",
    "--prefer-offline",
    "--no-audit",
    "--no-fund",
    "--no-package-lock",
    "--loglevel=error"
  ])
  const installed = await readdir(join(folder, "node_modules"))
  const expected = [".bin", ".package-lock.json", "@makima-stream", "ws"]
  if (installed.toSorted().join() !== expected.join()) failures.push(`${name}: installs ${installed.join(", ")}`)
  return join(folder, "node_modules/.bin/makima-stream")
}

/** Runs the command against its own mock server. */
const runProgram = async (launcher: string, node: string): Promise<void> => {
  const version = (await mustRun(dirname(launcher), node, ["--version"])).trim()
  const printed = await run(dirname(launcher), node, [launcher, "--version"])
  if (!/^makima-stream v\d+\.\d+\.\d+\n$/.test(printed.output)) failures.push(`Node ${version}: ${printed.output}`)
  const mock = execFile(node, [launcher, "mock", "--tasks", "3"])
  try {
    const url = await new Promise<string>((resolve, reject) => {
      mock.stdout?.once("data", (chunk) => resolve(String(chunk).trim()))
      mock.once("exit", () => reject(new Error(`Node ${version}: the mock server ended`)))
    })
    const tail = await run(dirname(launcher), node, [launcher, "tail", "--url", url, "-n", "3", "-o", "json"])
    const tags = tail.stdout.split("\n").filter((line) => line.includes('"_tag":"TaskUpdated"'))
    if (!tail.ok || tags.length === 0) failures.push(`Node ${version}: tail fails: ${tail.output}`)
    const doctor = await run(dirname(launcher), node, [launcher, "doctor", "--url", url])
    if (!doctor.ok) failures.push(`Node ${version}: doctor fails: ${doctor.output}`)
  } finally {
    mock.removeAllListeners("exit")
    mock.kill("SIGKILL")
  }
}

// ---------------------------------------------------------------------------

const directory = await mkdtemp(join(tmpdir(), "makima-stream-packages-"))
try {
  const names = await readdir(join(root, "packages"))
  const project = join(directory, "project")
  await mkdir(join(project, "src"), { recursive: true })

  const packed = await step("pack", () =>
    Promise.all(names.map((name) => pack(join(root, "packages", name), directory)))
  )
  const programs = packed.filter(isProgram)
  const tarballs = packed.filter((tarball) => !isProgram(tarball))
  tarballs.forEach(checkContents)
  programs.forEach(checkProgram)
  const versions = new Set(packed.map(({ manifest }) => manifest.version))
  if (versions.size > 1) failures.push(`the packages have different versions: ${[...versions].join(", ")}`)
  await step("publint and Are The Types Wrong", () => Promise.all(tarballs.map(lint)))
  const node22 = await step("npm install in an empty project", () => install(project, tarballs))
  await step("type-check, with skipLibCheck off", () => typeCheck(project, tarballs))
  await step(`run on Node ${oldestNode}`, () => runOn(project, node22))
  await step(`run on Node ${process.versions.node}`, () => runOn(project, process.execPath))
  for (const program of programs) {
    const folder = join(directory, "program")
    await mkdir(folder)
    const launcher = await step(`npm install ${program.name} alone`, () => installProgram(folder, program))
    for (const node of [node22, process.execPath]) {
      await step(`run ${program.name} on ${node === node22 ? oldestNode : process.versions.node}`, () =>
        runProgram(launcher, node)
      )
    }
  }
} finally {
  await rm(directory, { recursive: true, force: true })
}

for (const failure of failures) console.error(failure)
console.log(failures.length === 0 ? "packages: all good" : `packages: ${failures.length} problems`)
process.exitCode = failures.length === 0 ? 0 : 1
