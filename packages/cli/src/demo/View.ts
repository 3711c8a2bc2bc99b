/**
 * What the demo shows while it runs: a live view on a terminal, plain lines
 * elsewhere, and nothing with `--json`.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type * as MeshEvent from "@makima-stream/core/MeshEvent"
import * as Frame from "./Frame.ts"
import * as Tally from "./Tally.ts"

export interface View {
  /** Shows a batch, and the tally that includes it. */
  readonly show: (batch: ReadonlyArray<MeshEvent.MeshEvent>, tally: Tally.Tally, at: number) => Effect.Effect<void>
}

/** The properties of the output stream. */
export interface Output {
  readonly isTTY?: boolean | undefined
  readonly columns?: number | undefined
  readonly rows?: number | undefined
}

/** The environment variables that affect the output. */
export interface Environment {
  readonly NO_COLOR?: string | undefined
  readonly TERM?: string | undefined
}

/**
 * The terminal to draw on; `undefined` if the output is not a terminal that can
 * move its cursor (`TERM=dumb`). A non-empty `NO_COLOR` switches colours off
 * (https://no-color.org).
 */
export const terminal = (output: Output, env: Environment): Frame.Terminal | undefined =>
  output.isTTY !== true || env.TERM === "dumb"
    ? undefined
    : {
        // Some terminals report a size of 0.
        columns: output.columns || 80,
        rows: output.rows || 24,
        colour: env.NO_COLOR === undefined || env.NO_COLOR === ""
      }

const ofProcess = (): Frame.Terminal | undefined => terminal(process.stdout, process.env)

/** Wraps text for the terminal. Returns it unchanged if the output is not a terminal. */
export const wrapped = (text: string): string => {
  const columns = process.stdout.isTTY ? process.stdout.columns : 0
  return columns > 0 ? Frame.wrap(text, columns) : text
}

const write = (text: string) => Effect.sync(() => process.stdout.write(text))

export const silent: View = { show: () => Effect.void }

const seconds = (millis: number) => (millis / 1000).toFixed(1).padStart(5)

export const plain: Effect.Effect<View> = Effect.map(Clock.currentTimeMillis, (start) => ({
  show: (batch, _, at) => {
    const lines = batch.flatMap((event) => Frame.line(event) ?? [])
    return lines.length === 0 ? Effect.void : write(lines.map((text) => `${seconds(at - start)}s  ${text}\n`).join(""))
  }
}))

const escape = (code: string) => `\u001b[${code}`

/** Draws the newest tally ten times a second, over the previous frame. */
export const live = (expected: number | undefined, initial: Frame.Terminal): Effect.Effect<View, never, Scope.Scope> =>
  Effect.gen(function* () {
    let newest = Tally.empty
    let drawn = 0
    const draw = Effect.suspend(() => {
      // The size may have changed.
      const lines = Frame.frame(newest, expected, ofProcess() ?? initial)
      const up = drawn === 0 ? "" : escape(`${drawn}A`)
      drawn = lines.length
      return write(`${up}${lines.map((text) => `${escape("2K")}${text}\n`).join("")}${escape("0J")}`)
    })
    yield* Effect.acquireRelease(write(escape("?25l")), () => Effect.andThen(draw, write(escape("?25h"))))
    yield* draw.pipe(Effect.delay("100 millis"), Effect.forever, Effect.forkScoped)
    return {
      show: (_, tally) =>
        Effect.sync(() => {
          newest = tally
        })
    }
  })

/** The view that suits the output of this process. */
export const auto = (options: {
  readonly json: boolean
  readonly expected: number | undefined
}): Effect.Effect<View, never, Scope.Scope> => {
  if (options.json) return Effect.succeed(silent)
  const found = ofProcess()
  return found === undefined ? plain : live(options.expected, found)
}
