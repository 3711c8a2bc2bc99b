import { assert, describe, it } from "@effect/vitest"
import * as ScriptedMesh from "@makima-stream/test-kit/ScriptedMesh"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as Dashboard from "../src/Dashboard.ts"
import * as Gateway from "../src/Gateway.ts"

const directoryWith = (files: Readonly<Record<string, string>>) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const directory = mkdtempSync(join(tmpdir(), "makima-stream-dashboard-"))
      mkdirSync(join(directory, "assets"))
      for (const [path, content] of Object.entries(files)) writeFileSync(join(directory, path), content)
      return directory
    }),
    (directory) => Effect.sync(() => rmSync(directory, { recursive: true, force: true }))
  )

describe("Dashboard", () => {
  it.effect("reads each file by its path, and serves index.html as the start", () =>
    Effect.gen(function* () {
      const directory = yield* directoryWith({
        "index.html": "<!doctype html>",
        "favicon.svg": "<svg/>",
        "assets/index.js": "1",
        "assets/index.css": "a{}"
      })
      const assets = yield* Dashboard.assets({ directory })
      const types = Array.from(assets, ([path, { type }]) => `${path} ${type}`).toSorted()
      assert.deepStrictEqual(types, [
        "/ text/html; charset=utf-8",
        "/assets/index.css text/css; charset=utf-8",
        "/assets/index.js text/javascript; charset=utf-8",
        "/favicon.svg image/svg+xml"
      ])
      assert.strictEqual(Buffer.from(assets.get("/")?.body ?? "").toString(), "<!doctype html>")
    })
  )

  it.effect("fails with the directory if it has no index.html", () =>
    Effect.gen(function* () {
      const directory = yield* directoryWith({ "other.html": "" })
      const error = yield* Effect.flip(Dashboard.assets({ directory }))
      assert.strictEqual(error.directory, directory)
      assert.strictEqual(error.cause, undefined)
    })
  )

  it.effect("fails with the platform's error if there is no such directory", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(
        Dashboard.assets({ directory: join(tmpdir(), "makima-stream-no-such-directory") })
      )
      assert.instanceOf(error.cause, Error)
    })
  )

  it.effect("its files are what the gateway serves to a browser that is signed in", () =>
    Effect.gen(function* () {
      const directory = yield* directoryWith({ "index.html": "<!doctype html>", "assets/index.js": "1" })
      const gateway = yield* Gateway.make({ port: 0, assets: yield* Dashboard.assets({ directory }) })
      const headers = { authorization: `Bearer ${Redacted.value(gateway.token)}` }
      const get = (path: string, init?: RequestInit) => Effect.promise(() => fetch(`${gateway.url}${path}`, init))
      const script = yield* get("/assets/index.js", { headers })
      assert.strictEqual(script.headers.get("content-type"), "text/javascript; charset=utf-8")
      assert.strictEqual(yield* Effect.promise(() => script.text()), "1")
      assert.strictEqual((yield* get("/assets/../../package.json", { headers })).status, 404)
      assert.strictEqual((yield* get("/")).status, 401)
    }).pipe(Effect.provide(ScriptedMesh.layer()))
  )
})
