/** What a program has printed so far, and how it ended. Tests wait for either. */
import * as Effect from "effect/Effect"
import { assert } from "@effect/vitest"

export interface Ended {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

/** A text that the output contains, or a function that recognizes the output. */
export type Expected = string | ((printed: string) => boolean)

export interface Transcript {
  /** Waits for a text on standard output, and returns the output. Dies with the output if the program ends without it. */
  readonly awaitOut: (expected: Expected) => Effect.Effect<string>
  /** The same for standard error. */
  readonly awaitErr: (expected: Expected) => Effect.Effect<string>
  /** The standard output so far. */
  readonly printed: Effect.Effect<string>
  readonly ended: Effect.Effect<Ended>
}

/** A transcript, and the functions that its program calls. */
export interface Recorder {
  readonly transcript: Transcript
  readonly write: (to: "stdout" | "stderr", text: string) => void
  readonly end: (code: number | null) => void
}

export const make = (): Recorder => {
  const watchers = new Set<() => void>()
  const texts = { stdout: "", stderr: "" }
  let ended: Ended | undefined
  const changed = () => {
    for (const watcher of Array.from(watchers)) watcher()
  }
  /** Waits until the function returns an effect. */
  const when = <A>(look: () => Effect.Effect<A> | undefined): Effect.Effect<A> =>
    Effect.callback((resume) => {
      const watcher = () => {
        const found = look()
        if (found === undefined) return
        watchers.delete(watcher)
        resume(found)
      }
      watchers.add(watcher)
      watcher()
      return Effect.sync(() => watchers.delete(watcher))
    })
  const awaitText =
    (from: keyof typeof texts) =>
    (expected: Expected): Effect.Effect<string> => {
      const matches = typeof expected === "string" ? (printed: string) => printed.includes(expected) : expected
      return when(() => {
        if (matches(texts[from])) return Effect.succeed(texts[from])
        return ended === undefined
          ? undefined
          : Effect.die(new Error(`Ended without "${String(expected)}": ${JSON.stringify(ended)}`))
      })
    }
  return {
    transcript: {
      awaitOut: awaitText("stdout"),
      awaitErr: awaitText("stderr"),
      printed: Effect.sync(() => texts.stdout),
      ended: when(() => (ended === undefined ? undefined : Effect.succeed(ended)))
    },
    write: (to, text) => {
      texts[to] += text
      changed()
    },
    end: (code) => {
      ended = { code, ...texts }
      changed()
    }
  }
}

/** Asserts that standard error has one line, without a stack trace, that includes a text. */
export const assertOneLine = (stderr: string, includes: string): void => {
  assert.match(stderr, /^[^\n]+\n$/)
  assert.include(stderr, includes)
  assert.notMatch(stderr, /\bat .*:\d+/)
}
