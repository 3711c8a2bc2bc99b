/**
 * The log in SQLite against bare `node:sqlite` on the same machine. Each round runs both, one
 * after the other. The figures are CPU times, since the disk is the same for both.
 */
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import * as MeshStream from "@makima-stream/core/MeshStream"
import { TaskId } from "@makima-stream/core/TaskId"
import * as MeshLog from "@makima-stream/log/MeshLog"
import * as SqliteLog from "@makima-stream/log/SqliteLog"
import { mkdtempSync, rmSync } from "node:fs"
import { DatabaseSync } from "node:sqlite"
import { tmpdir } from "node:os"
import { join } from "node:path"

/** Rates of the log over those of bare statements, one for each round, and the times to open a large log in milliseconds. */
export interface Sqlite {
  readonly append: ReadonlyArray<number>
  readonly replay: ReadonlyArray<number>
  readonly open: ReadonlyArray<number>
}

const batchSize = 500

/** Output of 50 tasks, with an update in every tenth place. */
const events = (count: number): ReadonlyArray<MeshLog.NewEvent> =>
  Array.from({ length: count }, (_, n) => {
    const taskId = TaskId.make(`0f5c1e2a-7b1d-4c57-9d2f-${`${n % 50}`.padStart(12, "0")}`)
    return n % 10 === 0
      ? { id: `u:${taskId}:${n}`, event: { _tag: "TaskUpdated", taskId, version: n, status: "running" } }
      : {
          id: `o:1:relay-1:1:${taskId}:${n}`,
          event: {
            _tag: "TaskOutput",
            taskId,
            messageType: n % 7 === 0 ? "tool_use" : "assistant",
            content: `${n}: ${"The agent reads a file, thinks about it, and writes what it has found. ".repeat(3)}`
          }
        }
  })

/** The CPU time of a run in milliseconds. */
const cpu = async (run: () => Promise<unknown>): Promise<number> => {
  const before = process.cpuUsage()
  await run()
  const { system, user } = process.cpuUsage(before)
  return (system + user) / 1000
}

const bareAppend = async (filename: string, all: ReadonlyArray<MeshLog.NewEvent>): Promise<void> => {
  const db = new DatabaseSync(filename)
  db.exec("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL")
  db.exec("CREATE TABLE entry (position INTEGER PRIMARY KEY, at INTEGER, id TEXT UNIQUE, body TEXT)")
  const insert = db.prepare("INSERT INTO entry (at, id, body) VALUES (?, ?, ?) ON CONFLICT DO NOTHING")
  for (let start = 0; start < all.length; start += batchSize) {
    db.exec("BEGIN IMMEDIATE")
    for (const { event, id } of all.slice(start, start + batchSize)) insert.run(Date.now(), id, JSON.stringify(event))
    db.exec("COMMIT")
  }
  db.close()
}

const bareRead = async (filename: string): Promise<number> => {
  const db = new DatabaseSync(filename)
  let characters = 0
  for (const { body } of db.prepare("SELECT position, at, id, body FROM entry ORDER BY position").iterate()) {
    characters += String(body).length
  }
  db.close()
  return characters
}

const withLog = <A, E>(filename: string, use: (log: MeshLog.Service) => Effect.Effect<A, E>): Promise<A> =>
  Effect.runPromise(Effect.scoped(Effect.flatMap(SqliteLog.make({ filename }), use)))

const logAppend = (filename: string, all: ReadonlyArray<MeshLog.NewEvent>): Promise<unknown> =>
  withLog(filename, (log) =>
    Effect.gen(function* () {
      for (let start = 0; start < all.length; start += batchSize) yield* log.append(all.slice(start, start + batchSize))
    })
  )

const logReplay = (filename: string): Promise<number> =>
  withLog(filename, (log) => {
    let count = 0
    return MeshLog.events(log.read()).pipe(
      MeshStream.outputOnly,
      Stream.runForEachArray((outputs) => Effect.sync(() => (count += outputs.length))),
      Effect.map(() => count)
    )
  })

/** Multiplies the entries of a log until it has a number of them. */
const grow = (filename: string, size: number): void => {
  const db = new DatabaseSync(filename)
  const last = () => Number(db.prepare("SELECT max(position) AS last FROM entry").get()?.["last"])
  while (last() < size) {
    const count = last()
    const more = Math.min(count, size - count)
    db.exec(`INSERT INTO entry SELECT position + ${count}, at, kind, task, type, sum, id || ':${count}', body
      FROM entry WHERE position <= ${more}`)
  }
  db.exec(`UPDATE meta SET last = ${last()}`)
  db.close()
}

/** Measures. The first round warms up and does not count. */
export const measure = async (options: { readonly count: number; readonly rounds: number }): Promise<Sqlite> => {
  const directory = mkdtempSync(join(tmpdir(), "makima-bench-"))
  const all = events(options.count)
  const append: Array<number> = []
  const replay: Array<number> = []
  const open: Array<number> = []
  try {
    for (let round = 0; round <= options.rounds; round++) {
      const [bare, log] = [join(directory, `bare-${round}.db`), join(directory, `log-${round}.db`)]
      const appended = (await cpu(() => bareAppend(bare, all))) / (await cpu(() => logAppend(log, all)))
      const replayed = (await cpu(() => bareRead(bare))) / (await cpu(() => logReplay(log)))
      if (round === 0) continue
      append.push(appended)
      replay.push(replayed)
    }
    const large = join(directory, "log-1.db")
    grow(large, 1_000_000)
    for (let round = 0; round <= options.rounds; round++) {
      const start = performance.now()
      await withLog(large, (log) => log.bounds)
      if (round > 0) open.push(performance.now() - start)
    }
  } finally {
    rmSync(directory, { recursive: true, force: true })
  }
  return { append, replay, open }
}
