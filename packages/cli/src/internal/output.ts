/**
 * Standard output and standard error: writes that wait for the reader, and the
 * choice of colours.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"

/** When colours are used. */
export type ColorMode = "auto" | "always" | "never"

/** The environment variables that decide about colours. */
export interface ColorEnvironment {
  readonly NO_COLOR?: string | undefined
  readonly FORCE_COLOR?: string | undefined
  readonly TERM?: string | undefined
}

/**
 * Returns whether colours are used. The mode comes first, then `NO_COLOR`, then
 * `FORCE_COLOR`, then `TERM=dumb`. Otherwise a terminal has colours and anything
 * else has none.
 */
export const useColor = (mode: ColorMode, env: ColorEnvironment, isTerminal: boolean): boolean => {
  if (mode !== "auto") return mode === "always"
  if (env.NO_COLOR !== undefined && env.NO_COLOR !== "") return false
  if (env.FORCE_COLOR !== undefined && env.FORCE_COLOR !== "") {
    return env.FORCE_COLOR !== "0" && env.FORCE_COLOR !== "false"
  }
  return env.TERM !== "dumb" && isTerminal
}

/** Whether a stream still accepts text. It is closed when its reader ends. */
const isOpen = (stream: NodeJS.WriteStream): boolean => stream.writable && !stream.destroyed && stream.errored === null

/**
 * Writes text, and waits until the reader has taken what was written before.
 * Returns at once if the reader has closed the pipe: `Program.main` ends the
 * program then.
 */
export const writeTo = (stream: NodeJS.WriteStream, text: string): Effect.Effect<void> =>
  Effect.suspend(() => {
    if (text === "" || !isOpen(stream) || stream.write(text)) return Effect.void
    return Effect.callback<void>((resume) => {
      const done = () => {
        cleanUp()
        resume(Effect.void)
      }
      const cleanUp = () => {
        for (const event of ["drain", "error", "close"]) stream.removeListener(event, done)
      }
      for (const event of ["drain", "error", "close"]) stream.once(event, done)
      return Effect.sync(cleanUp)
    })
  })

/** Writes text to one of the two outputs. Defaults to those of the process; a test collects the text. */
export const Write = Context.Reference<(to: "stdout" | "stderr", text: string) => Effect.Effect<void>>(
  "@makima-stream/cli/internal/Write",
  { defaultValue: () => (to, text) => writeTo(process[to], text) }
)

/** Writes data to standard output. */
export const out = (text: string): Effect.Effect<void> => Effect.flatMap(Write, (write) => write("stdout", text))

/** Writes text that is not data to standard error. */
export const err = (text: string): Effect.Effect<void> => Effect.flatMap(Write, (write) => write("stderr", text))

/** Runs `then` when all written text has left the process, or its reader is gone. */
export const flushed = (then: () => void): void => {
  let waiting = 2
  const one = () => {
    if (--waiting === 0) then()
  }
  for (const stream of [process.stdout, process.stderr]) {
    if (!isOpen(stream) || stream.writableLength === 0) {
      one()
      continue
    }
    let called = false
    const once = () => {
      if (called) return
      called = true
      one()
    }
    // Called after all writes before it. "drain" comes only after a write that exceeded the stream's limit.
    stream.write("", once)
    stream.once("error", once)
    stream.once("close", once)
  }
}
