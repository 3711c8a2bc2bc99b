/** Reads what a command has written. */
import * as Effect from "effect/Effect"
import { existsSync, readFileSync } from "node:fs"

export { assertOneLine } from "../../../test-kit/test/support/transcript.ts"

/** The objects of an output of JSON lines. */
export const objects = (stdout: string): ReadonlyArray<Record<string, unknown>> =>
  stdout
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => Object(JSON.parse(line)))

/** Waits until a file contains a text. */
export const awaitFile = (path: string, text: string): Effect.Effect<void> =>
  Effect.suspend(() =>
    existsSync(path) && readFileSync(path, "utf8").includes(text)
      ? Effect.void
      : Effect.andThen(Effect.sleep("10 millis"), awaitFile(path, text))
  )
