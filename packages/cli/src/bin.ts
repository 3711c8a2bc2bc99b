/**
 * The entry of the bundle. `--version` is answered before anything is loaded.
 */
import { version } from "./internal/version.ts"

const [first, ...others] = process.argv.slice(2)
if (others.length === 0 && (first === "--version" || first === "-v")) {
  process.stdout.write(`makima-stream v${version}\n`)
} else {
  const { main } = await import("./Cli.ts")
  main()
}
