/**
 * The alternate screen of the terminal: draws lines, writes only those that
 * changed, one write a frame, and restores the terminal however the program ends.
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { writeSync } from "node:fs"
import * as Output from "./output.ts"

const csi = (code: string): string => `\u001b[${code}`

/** Alternate screen, no cursor, no line wrap. */
const enter = `${csi("?1049h")}${csi("?25l")}${csi("?7l")}${csi("H")}${csi("2J")}`

/** The end of a synchronized update, line wrap, the cursor, the normal screen. */
export const restore = `${csi("?2026l")}${csi("?7h")}${csi("?25h")}${csi("?1049l")}`

/**
 * The text that turns one frame into the next: the lines that differ, within a
 * synchronized update, so that the terminal shows the whole frame at once. Empty
 * if nothing differs. `undefined` as the previous frame draws everything.
 */
export const diff = (previous: ReadonlyArray<string> | undefined, next: ReadonlyArray<string>): string => {
  let text = previous === undefined ? csi("2J") : ""
  for (let row = 0; row < Math.max(previous?.length ?? 0, next.length); row++) {
    const line = next[row] ?? ""
    if (previous?.[row] !== line) text += `${csi(`${row + 1};1H`)}${line}${csi("K")}`
  }
  return text === "" ? "" : `${csi("?2026h")}${text}${csi("?2026l")}`
}

/** A screen to draw on. */
export interface Screen {
  /** Draws a frame. `clear` draws all of it, after a change of the terminal's size. */
  readonly draw: (lines: ReadonlyArray<string>, clear?: boolean) => Effect.Effect<void>
}

/** Uses the terminal until the scope closes. */
export const make: Effect.Effect<Screen, never, Scope.Scope> = Effect.gen(function* () {
  // The terminal is also restored if the process ends without closing its scopes: at the second Ctrl-C, or after a defect.
  const onExit = () => {
    try {
      writeSync(1, restore)
    } catch {
      // The terminal is gone.
    }
  }
  let previous: ReadonlyArray<string> | undefined
  yield* Effect.acquireRelease(
    Effect.andThen(
      Effect.sync(() => process.on("exit", onExit)),
      Output.out(enter)
    ),
    () =>
      Effect.andThen(
        Output.out(restore),
        Effect.sync(() => process.removeListener("exit", onExit))
      )
  )
  return {
    draw: (lines, clear = false) =>
      Effect.suspend(() => {
        const text = diff(clear ? undefined : previous, lines)
        previous = lines
        return Output.out(text)
      })
  }
})
