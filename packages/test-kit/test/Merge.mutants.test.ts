/** Each mistake in the merge of two connections is found: see `support/mergeMutants.ts`. */
import { assert, it } from "@effect/vitest"
import { execFile } from "node:child_process"
import { join } from "node:path"
import { promisify } from "node:util"

it("the laws of the merge and the simulator find each of seven mistakes", async () => {
  const script = join(import.meta.dirname, "support/mergeMutants.ts")
  const { stdout } = await promisify(execFile)(process.execPath, [script])
  const found = new Map<string, string | undefined>(
    stdout
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line))
      .map(({ found, name }) => [name, found])
  )
  assert.strictEqual(found.size, 7)
  for (const [name, how] of found) assert.isDefined(how, `nothing finds a merge that ${name}`)
  assert.match(found.get("dials both connections at once") ?? "", /two dials/)
  assert.match(found.get("marks every loss of a connection") ?? "", /although the other connection was aligned/)
})
