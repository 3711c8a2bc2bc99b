/** What an import of the package loads of Node itself. The time of an import depends on the machine, the list does not. */
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { execFile } from "node:child_process"
import { promisify } from "node:util"

const program = `
  await import("@makima-stream/node/NodeMeshClient")
  console.log(process.moduleLoadList.join())
`

it.live("NodeMeshClient loads neither undici nor node:http2, which a client never uses", () =>
  Effect.gen(function* () {
    const { stdout } = yield* Effect.promise((signal) =>
      promisify(execFile)(process.execPath, ["--input-type=module", "--eval", program], {
        cwd: import.meta.dirname,
        signal
      })
    )
    const modules = stdout.split(",")
    assert.include(modules, "NativeModule https")
    for (const name of ["internal/deps/undici/undici", "http2"]) assert.notInclude(modules, `NativeModule ${name}`)
  })
)
