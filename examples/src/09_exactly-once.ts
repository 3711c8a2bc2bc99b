/**
 * Exactly once: totals that stay correct, whenever the process is killed.
 *
 *     node examples/src/09_exactly-once.ts feed.db totals.db
 *
 * Reads the results that agents report from a log in SQLite, and keeps the number of runs
 * and their cost for each task in a database of its own. Prints the totals after each batch.
 *
 * Its promise: **every result of the log is counted exactly once.** A log delivers at least
 * once, and so does a durable reader: a process may be killed between an effect and its
 * acknowledgement. Here the effect and the position are stored in one transaction: either
 * both are stored or neither. The next run starts after the position.
 *
 * Gaps of the relay are counted too: results that no relay received are in no total.
 *
 * A relay fills the log: `makima-stream relay --log feed.db`. The program uses only the
 * interface `MeshLog`, so it also runs on a log on JetStream.
 */
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as MeshLog from "@makima-stream/log/MeshLog"
import * as SqliteLog from "@makima-stream/log/SqliteLog"
import * as Program from "@makima-stream/cli/Program"
import { DatabaseSync } from "node:sqlite"

/** The cost of a task, in whole microdollars, so that sums are exact. */
export interface Total {
  readonly task: string
  readonly runs: number
  readonly microdollars: number
}

export interface Totals {
  /** The position up to which everything is counted. */
  readonly position: () => number
  /** Counts entries and stores the position of the last one, in one transaction. */
  readonly apply: (entries: ReadonlyArray<MeshLog.Entry>) => void
  readonly all: () => ReadonlyArray<Total>
  readonly gaps: () => number
}

/** Opens the totals, or makes them. `at` is called between the statements: the test kills the process there. */
export const openTotals = (filename: string, at: (step: string) => void = () => {}) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const db = new DatabaseSync(filename)
      db.exec(`
        PRAGMA journal_mode = WAL;
        CREATE TABLE IF NOT EXISTS state (one INTEGER PRIMARY KEY CHECK (one = 1), position INTEGER, gaps INTEGER) STRICT;
        INSERT OR IGNORE INTO state VALUES (1, 0, 0);
        CREATE TABLE IF NOT EXISTS total (task TEXT PRIMARY KEY, runs INTEGER, microdollars INTEGER) STRICT;
      `)
      return db
    }),
    (db) => Effect.sync(() => db.close())
  ).pipe(Effect.map((db) => makeTotals(db, at)))

const makeTotals = (db: DatabaseSync, at: (step: string) => void): Totals => {
  const count = db.prepare(`
    INSERT INTO total VALUES (?, 1, ?)
    ON CONFLICT (task) DO UPDATE SET runs = runs + 1, microdollars = microdollars + excluded.microdollars
  `)
  const move = db.prepare("UPDATE state SET position = ?, gaps = gaps + ?")
  const select = db.prepare("SELECT position, gaps FROM state")
  const state = (column: "position" | "gaps") => Number(select.get()?.[column])
  return {
    position: () => state("position"),
    gaps: () => state("gaps"),
    apply: (entries) => {
      at("begin")
      db.exec("BEGIN IMMEDIATE")
      let gaps = 0
      for (const { event } of entries) {
        if (event._tag === "Resync") gaps++
        if (event._tag !== "TaskOutput") continue
        count.run(event.taskId, Math.round((event.costUsd ?? 0) * 1e6))
        at("count")
      }
      move.run(entries.at(-1)?.position ?? state("position"), gaps)
      at("move")
      db.exec("COMMIT")
      at("commit")
    },
    all: () =>
      db
        .prepare("SELECT task, runs, microdollars FROM total ORDER BY task")
        .all()
        .map((row) => ({
          task: String(row["task"]),
          runs: Number(row["runs"]),
          microdollars: Number(row["microdollars"])
        }))
  }
}

/** Counts the entries after the position and, if `follow` is `true`, those that are appended later. */
export const count = (totals: Totals, options?: { readonly follow?: boolean }) =>
  Effect.gen(function* () {
    const log = yield* MeshLog.MeshLog
    const entries = log.read({
      from: MeshLog.after(totals.position()),
      filter: { messageTypes: "result", keep: "resync" },
      follow: options?.follow
    })
    yield* Stream.runForEachArray(entries, (batch) => Effect.sync(() => totals.apply(batch)))
  })

const print = (totals: Totals) =>
  Console.log(
    totals
      .all()
      .map(({ microdollars, runs, task }) => `${task}: ${runs} runs, $${(microdollars / 1e6).toFixed(6)}`)
      .concat(`gaps: ${totals.gaps()}`)
      .join("\n")
  )

/** The command line of this program. */
export const command = Command.make(
  "exactly-once",
  {
    log: Argument.String("log").pipe(Argument.withDescription("The log in SQLite")),
    totals: Argument.String("totals").pipe(Argument.withDescription("The database of the totals"))
  },
  ({ log, totals: filename }) =>
    Effect.gen(function* () {
      const totals = yield* openTotals(filename)
      yield* count(totals)
      yield* print(totals)
    }).pipe(Effect.scoped, Effect.provide(SqliteLog.layer({ filename: log })))
).pipe(Command.withDescription("Prints what the tasks of a log cost, counting each result exactly once"))

if (Program.isMain(import.meta)) Program.main(command)
