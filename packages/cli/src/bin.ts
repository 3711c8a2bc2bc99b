/**
 * The launcher. `--version` is answered before anything is loaded, and the code
 * that V8 compiles is kept in the user's cache directory, so that the bundle, which
 * is one large file, loads faster from the second time on.
 */
import { version } from "./internal/version.ts"

/** The user's cache directory; `undefined` if there is none. Never a directory that others can write to. */
const cacheDirectory = ({ env, platform }: NodeJS.Process): string | undefined => {
  if (env["XDG_CACHE_HOME"]?.startsWith("/") === true) return `${env["XDG_CACHE_HOME"]}/makima-stream`
  if (platform === "win32") return env["LOCALAPPDATA"] && `${env["LOCALAPPDATA"]}\\makima-stream\\Cache`
  return env["HOME"] && `${env["HOME"]}/${platform === "darwin" ? "Library/Caches" : ".cache"}/makima-stream`
}

const [first, ...others] = process.argv.slice(2)
if (others.length === 0 && (first === "--version" || first === "-v")) {
  process.stdout.write(`makima-stream v${version}\n`)
} else {
  const directory = cacheDirectory(process)
  // Without a directory that can be written, everything is compiled again each time.
  if (directory !== undefined) process.getBuiltinModule("node:module").enableCompileCache(directory)
  const { main } = await import("./Cli.ts")
  main()
}
