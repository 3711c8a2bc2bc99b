/** Runs a program of `scripts/src` as a process, as a person starts it. */
import * as Effect from "effect/Effect"
import { execFile } from "node:child_process"
import { fileURLToPath } from "node:url"

/** Runs a script to its end. The process is killed when the effect is interrupted. */
export const runScript = (name: string, args: ReadonlyArray<string>) =>
  Effect.callback<{ readonly code: number; readonly stdout: string; readonly stderr: string }>((resume) => {
    const path = fileURLToPath(new URL(`../../src/${name}.ts`, import.meta.url))
    const child = execFile(process.execPath, [path, ...args], (_, stdout, stderr) => {
      resume(Effect.succeed({ code: child.exitCode ?? 128, stdout, stderr }))
    })
    return Effect.sync(() => child.kill())
  })
