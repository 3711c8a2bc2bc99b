/**
 * The launcher. `--version` is answered before anything is loaded, and the code
 * that V8 compiles is kept in the user's cache directory, so that the bundle, which
 * is one large file, loads faster from the second time on.
 */
import { unsupported } from "./internal/supported.ts"
import { version } from "./internal/version.ts"

/** The user's cache directory; `undefined` if there is none. Never a directory that others can write to. */
const cacheDirectory = ({ env, platform }: NodeJS.Process): string | undefined => {
  if (env["XDG_CACHE_HOME"]?.startsWith("/") === true) return `${env["XDG_CACHE_HOME"]}/makima-stream`
  if (platform === "win32") return env["LOCALAPPDATA"] && `${env["LOCALAPPDATA"]}\\makima-stream\\Cache`
  return env["HOME"] && `${env["HOME"]}/${platform === "darwin" ? "Library/Caches" : ".cache"}/makima-stream`
}

const [first, ...others] = process.argv.slice(2)
const problem = unsupported(process.versions.node)
if (others.length === 0 && (first === "--version" || first === "-v")) {
  process.stdout.write(`makima-stream v${version}\n`)
} else if (problem !== undefined) {
  process.stderr.write(`${problem}\n`)
  // The exit code of a wrong use. `Program` is not loaded here.
  process.exitCode = 2
} else {
  const directory = cacheDirectory(process)
  // Without a directory that can be written, everything is compiled again each time.
  if (directory !== undefined) process.getBuiltinModule("node:module").enableCompileCache(directory)
  const { main } = await import("./Cli.ts")
  main()
}
