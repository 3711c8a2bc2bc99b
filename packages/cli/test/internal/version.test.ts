import { assert, it } from "@effect/vitest"
import { readFileSync } from "node:fs"
import { version } from "../../src/internal/version.ts"

it("the version that the command prints is that of the package", () => {
  const manifest: unknown = JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8"))
  assert.propertyVal(manifest, "version", version)
})
