/**
 * Builds the dashboard if it is not up to date, and runs `makima-stream serve` from the sources: `pnpm serve`. Without a
 * server in the arguments, it serves a mock server with a workload.
 */
import { ensure } from "../../gateway/scripts/dashboard.ts"

const args = process.argv.slice(2)
const hasServer = args.some((arg) => /^--(url|context|replay|mock|help)(=|$)|^-h$/.test(arg))

await ensure()
process.argv.splice(2, args.length, "serve", ...(hasServer ? [] : ["--mock"]), ...args)
const { main } = await import("../src/Cli.ts")
main()
