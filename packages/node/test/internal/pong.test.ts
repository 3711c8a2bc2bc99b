import { assert, describe, it } from "@effect/vitest"
import * as Pong from "../../src/internal/pong.ts"

const tick = () => new Promise<void>((resolve) => setImmediate(resolve))

describe("pong", () => {
  it("answers the last of the pings that arrive in one tick, once", async () => {
    const answers: Array<string> = []
    const onPing = Pong.coalesce((payload) => answers.push(payload.toString()))
    for (const payload of ["1", "2", "3"]) onPing(Buffer.from(payload))
    assert.deepStrictEqual(answers, [])
    await tick()
    onPing(Buffer.from("4"))
    await tick()
    assert.deepStrictEqual(answers, ["3", "4"])
  })
})
