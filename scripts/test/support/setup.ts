/**
 * Called by Vitest before the tests: builds the programs that tests start, the page and the command, each only if a source of
 * it has changed.
 */
import { ensure as ensureCommand } from "../../../packages/cli/scripts/bundle.ts"
import { ensure as ensurePage } from "../../../packages/gateway/scripts/dashboard.ts"
import { executable } from "../../src/chromium.ts"
import { ensure as ensurePrograms } from "./bundle.ts"

/** The packages whose tests need nothing that is built. */
const plain = /^(\.\/)?packages\/(core|test-kit|nats)\//

/** What the command line of Vitest names, such as the paths of tests. The value of an option counts too, which builds once too often. */
const named = process.argv.slice(2).filter((arg) => !/^(-.*|run|vitest\.workspace\.ts)$/.test(arg))

export default async (): Promise<void> => {
  if (named.length > 0 && named.every((name) => plain.test(name))) return
  await ensurePrograms()
  if (executable !== undefined) await ensurePage()
  await ensureCommand()
}
