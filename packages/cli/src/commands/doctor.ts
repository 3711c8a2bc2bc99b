/** `makima-stream doctor`: finds the step of the connection to the server that fails, with a remedy. */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import type * as Connection from "../internal/connection.ts"
import { resolve } from "../internal/connection.ts"
import * as Doctor from "../internal/doctor.ts"
import { Environment } from "../internal/environment.ts"
import * as Output from "../internal/output.ts"
import * as Text from "../internal/text.ts"
import { Failure, exitCodes } from "../Program.ts"

/** The values of the command line. */
export interface Input extends Connection.ServerInput {
  /** Milliseconds. */
  readonly timeout: number
  readonly output: "text" | "json"
  readonly color: Output.ColorMode
}

const columns = 17

/** A finding as text: a line, or three for a failure. */
export const toText = (finding: Doctor.Finding, paint: Text.Paint): string => {
  const label = finding.step.padEnd(columns)
  return finding.ok
    ? `${paint(Text.colors.green, "ok")}    ${label}${Text.oneLine(finding.detail)} (${finding.millis.toFixed(0)} ms)\n`
    : `${paint(Text.colors.red, "fails")} ${label}${finding.cause}\n      ${"remedy".padEnd(columns)}${finding.remedy}\n`
}

/** Runs the command. */
export const run = Effect.fnUntraced(function* (input: Input) {
  const paint = Text.painter(Output.useColor(input.color, yield* Environment, process.stdout.isTTY))
  const server = yield* resolve(input)
  const result = yield* Effect.result(
    Doctor.examine(server, { millis: input.timeout }, (finding) =>
      Output.out(input.output === "json" ? `${JSON.stringify(finding)}\n` : toText(finding, paint))
    )
  )
  if (Result.isSuccess(result)) return
  const { refused, step } = result.failure.ok ? { refused: false, step: "url" } : result.failure
  return yield* new Failure({
    message: `The step "${step}" fails`,
    exitCode: refused ? exitCodes.refused : step === "url" || step === "key" ? exitCodes.usage : exitCodes.failed
  })
})
