/**
 * The command `demo` of `makima-stream`, for `pnpm demo`: follows all tasks
 * through a network with latency and three faults, and compares what arrived with
 * what the server sent.
 *
 * `pnpm demo`, `pnpm demo --json`, `pnpm demo --seed 7 --tasks 100`,
 * `MAKIMA_API_KEY=… pnpm demo --url https://…`
 */
import * as Cli from "@makima-stream/cli/Cli"
import * as Program from "@makima-stream/cli/Program"

Program.main(Cli.demo)
