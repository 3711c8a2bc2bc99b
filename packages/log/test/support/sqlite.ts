/**
 * Logs in files of a temporary directory.
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as TestClock from "effect/testing/TestClock"
import { LogLaws } from "@makima-stream/test-kit/vitest"
import { Faults, steps } from "../../src/internal/sqlite/faults.ts"
import * as SqliteLog from "@makima-stream/log/SqliteLog"
import { turns } from "../../../test-kit/src/internal/turns.ts"

/** The path of a database in a directory that is removed with the scope. */
export const temporaryFile = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "makima-log-"))),
  (directory) => Effect.sync(() => rmSync(directory, { recursive: true, force: true }))
).pipe(Effect.map((directory) => join(directory, "feed.db")))

/** Lets fibers run that were woken. */
const settle = turns(50)

/** The page size of the databases. */
export const pageSize = 4096

/** Overwrites the page that holds a text. */
export const damagePageOf = (filename: string, text: string): void => {
  const bytes = readFileSync(filename)
  const at = bytes.indexOf(text)
  if (at === -1) throw new Error(`The file does not hold ${text}`)
  const start = at - (at % pageSize)
  bytes.fill(0xa5, start, start + pageSize)
  writeFileSync(filename, bytes)
}

/** A harness of logs in SQLite, in virtual time. */
export const layer: Layer.Layer<LogLaws.Harness> = Layer.effect(
  LogLaws.Harness,
  Effect.map(temporaryFile, (filename) => ({
    open: (options) => SqliteLog.make({ filename, retention: options?.retention }),
    advance: (duration) => Effect.andThen(TestClock.adjust(duration), settle),
    crash: {
      steps,
      open: (crashAt) =>
        Effect.provideService(SqliteLog.make({ filename }), Faults, {
          at: (step) => {
            if (step === crashAt) throw new Error("The process is gone")
          }
        })
    },
    damage: (position) => Effect.sync(() => damagePageOf(filename, `"content":"${position - 1}"`))
  }))
)
