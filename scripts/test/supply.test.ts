/**
 * The dependencies that an installation of the packages brings. `pnpm run packages` makes the same checks on the packed
 * packages and on what npm has installed for them.
 */
import { assert, describe, it } from "@effect/vitest"
import { readdirSync, readFileSync } from "node:fs"
import * as Supply from "../src/supply.ts"

const root = new URL("../../", import.meta.url)

// npm and pnpm have validated the file.
const read = (path: string) => JSON.parse(readFileSync(new URL(path, root), "utf8")) as Supply.Manifest

const manifests = readdirSync(new URL("packages", root)).map((name) => read(`packages/${name}/package.json`))

describe("supply chain", () => {
  it("the packages need `effect`, `ws`, the NATS client and each other at run time, and run nothing where they are installed", () => {
    assert.sameMembers(
      manifests.map(({ name }) => name),
      ["cli", "core", "gateway", "log", "nats", "node", "test-kit"].map((name) => `@makima-stream/${name}`)
    )
    assert.deepStrictEqual(manifests.flatMap(Supply.checkManifest), [])
    const core = manifests.find(({ name }) => name === "@makima-stream/core")
    assert.deepStrictEqual([core?.dependencies ?? {}, Object.keys(core?.peerDependencies ?? {})], [{}, ["effect"]])
  })

  it("`effect` and `ws` need nothing themselves, and run nothing where they are installed", () => {
    for (const name of ["effect", "ws"]) {
      const manifest = read(`node_modules/${name}/package.json`)
      assert.deepStrictEqual([manifest.dependencies ?? {}, Supply.checkManifest(manifest)], [{}, []])
    }
  })

  it("CONTRIBUTING.md names what they need, with the reason", () => {
    const page = readFileSync(new URL("CONTRIBUTING.md", root), "utf8")
    const table = page.slice(page.indexOf("| at run time |")).split("\n\n")[0] ?? ""
    // The rows with a name and a reason.
    const rows = table.split("\n").filter((line) => /^\| `.+ \| \S.* \|$/.test(line))
    for (const name of Supply.runtime)
      assert.isTrue(
        rows.some((row) => row.includes(`\`${name}\``)),
        name
      )
  })

  it("fails for another dependency, a bundled dependency and an install script", () => {
    const problems = Supply.checkManifest({
      name: "p",
      dependencies: { left: "1" },
      optionalDependencies: { right: "1" },
      peerDependencies: { up: "1", down: "1" },
      peerDependenciesMeta: { down: { optional: true } },
      bundleDependencies: true,
      scripts: { postinstall: "x", test: "y" }
    })
    assert.deepStrictEqual(problems, [
      "p: depends on left",
      "p: depends on right",
      "p: depends on up",
      "p: bundles dependencies",
      "p: runs postinstall where it is installed"
    ])
    const installed = Supply.checkInstalled(
      {
        "node_modules/a": { dependencies: { ws: "1" } },
        "node_modules/ws": { dependencies: { deep: "1" } },
        "node_modules/ws/node_modules/deep": { hasInstallScript: true },
        "node_modules/unrelated": { hasInstallScript: true }
      },
      ["@makima-stream/core"]
    )
    assert.deepStrictEqual(installed, [
      "deep is installed for the packages",
      "node_modules/ws/node_modules/deep runs a script where it is installed"
    ])
  })
})
