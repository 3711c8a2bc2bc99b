import { assert, describe, it } from "@effect/vitest"
import { copyFileSync, existsSync, readFileSync, truncateSync, writeFileSync } from "node:fs"
import { DatabaseSync } from "node:sqlite"
import { crc32 } from "node:zlib"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import * as TaskId from "@makima-stream/core/TaskId"
import * as LogEngine from "@makima-stream/log/LogEngine"
import type { LogError } from "@makima-stream/log/LogError"
import * as MeshLog from "@makima-stream/log/MeshLog"
import * as SqliteLog from "@makima-stream/log/SqliteLog"
import { Faults } from "../src/internal/sqlite/faults.ts"
import { blockSize } from "../src/internal/sqlite/postings.ts"
import * as Schema from "../src/internal/sqlite/schema.ts"
import { damagePageOf, temporaryFile } from "./support/sqlite.ts"
import { contents, outputs, range, update } from "./support/events.ts"
import { turns } from "../../test-kit/src/internal/turns.ts"

const appendTo = (filename: string, events: ReadonlyArray<MeshLog.NewEvent>, options?: Partial<SqliteLog.Options>) =>
  Effect.scoped(Effect.flatMap(SqliteLog.make({ filename, ...options }), (log) => log.append(events)))

/** What a reader receives, and how it ends. */
const readUntilEnd = (log: MeshLog.Service, options?: MeshLog.ReadOptions) =>
  Effect.gen(function* () {
    const entries: Array<MeshLog.Entry> = []
    const exit = yield* log.read(options).pipe(
      Stream.runForEach((entry) => Effect.sync(() => entries.push(entry))),
      Effect.result
    )
    return { entries, error: exit._tag === "Failure" ? exit.failure : undefined }
  })

const readFile = (filename: string, options?: Partial<SqliteLog.Options>, read?: MeshLog.ReadOptions) =>
  Effect.scoped(Effect.flatMap(SqliteLog.make({ filename, ...options }), (log) => readUntilEnd(log, read)))

const reasonOf = (error: LogError | undefined) => error?.reason._tag

describe("SqliteLog", () => {
  describe("schema", () => {
    it.effect("migrates a file of an older version when it is opened, and keeps its entries", () =>
      Effect.gen(function* () {
        const filename = yield* temporaryFile
        yield* appendTo(filename, outputs(0, 10))
        const db = yield* Effect.acquireRelease(
          Effect.sync(() => new DatabaseSync(filename)),
          (db) => Effect.sync(() => db.close())
        )
        const next = [...Schema.migrations, "ALTER TABLE entry ADD COLUMN note TEXT; UPDATE entry SET note = id"]
        Schema.migrate(db, next)
        assert.strictEqual(Schema.versionOf(db), Schema.migrations.length + 1)
        assert.deepStrictEqual(
          { ...db.prepare("SELECT count(*) n, count(note) notes FROM entry").get() },
          {
            n: 10,
            notes: 10
          }
        )
        // A second migration has nothing to do.
        Schema.migrate(db, next)
      })
    )

    it.effect("indexes the entries of a file of version 1, so that filters find them", () =>
      Effect.gen(function* () {
        const filename = yield* temporaryFile
        const count = blockSize + 100
        const db = new DatabaseSync(filename)
        Schema.migrate(db, Schema.migrations.slice(0, 1))
        db.exec(
          "BEGIN; INSERT INTO task (name) VALUES ('a'), ('b'), ('c'), ('d'); INSERT INTO type (name) VALUES ('assistant')"
        )
        const insert = db.prepare(
          "INSERT INTO entry (position, at, kind, task, type, sum, id, body) VALUES (?, 0, 1, ?, 1, ?, ?, ?)"
        )
        for (const [n, { event, id }] of outputs(0, count).entries()) {
          const body = JSON.stringify(event)
          insert.run(n + 1, (n % 4) + 1, crc32(body), id, body)
        }
        db.exec(`UPDATE meta SET last = ${count}; COMMIT`)
        db.close()
        const { entries, error } = yield* readFile(filename, undefined, { filter: { tasks: TaskId.make("b") } })
        assert.isUndefined(error)
        assert.deepStrictEqual(
          contents(entries),
          range(0, count).filter((_, n) => n % 4 === 1)
        )
        const after = new DatabaseSync(filename)
        assert.deepStrictEqual(
          after.prepare("SELECT count(*) n, sum(json_array_length(offsets)) entries FROM posting").get(),
          // One row for each of four tasks and one message type.
          Object.assign(Object.create(null), { n: 5, entries: 2 * blockSize })
        )
        after.close()
      })
    )

    it.effect("leaves the file as it was if a migration fails", () =>
      Effect.gen(function* () {
        const filename = yield* temporaryFile
        yield* appendTo(filename, outputs(0, 10))
        const db = new DatabaseSync(filename)
        assert.throws(() =>
          Schema.migrate(db, [
            ...Schema.migrations,
            "ALTER TABLE entry ADD COLUMN note TEXT; SELECT nonsense FROM entry"
          ])
        )
        assert.strictEqual(Schema.versionOf(db), Schema.migrations.length)
        db.close()
        const { entries, error } = yield* readFile(filename)
        assert.isUndefined(error)
        assert.deepStrictEqual(contents(entries), range(0, 10))
      })
    )

    it.effect("refuses a file of a newer version", () =>
      Effect.gen(function* () {
        const filename = yield* temporaryFile
        yield* appendTo(filename, outputs(0, 1))
        const db = new DatabaseSync(filename)
        db.exec("PRAGMA user_version = 99")
        db.close()
        const error = yield* Effect.flip(appendTo(filename, outputs(1, 2)))
        assert.strictEqual(reasonOf(error), "UnsupportedVersion")
        assert.strictEqual(error.message, "The log has schema version 99, and this package supports up to version 2")
      })
    )

    it.effect("refuses a database of another program, and does not change it", () =>
      Effect.gen(function* () {
        const filename = yield* temporaryFile
        const db = new DatabaseSync(filename)
        db.exec("CREATE TABLE other (x)")
        db.close()
        const error = yield* Effect.flip(appendTo(filename, outputs(0, 1)))
        assert.strictEqual(error.message, "The log is not available: The file is a database of another program")
        const again = new DatabaseSync(filename)
        assert.strictEqual(again.prepare("SELECT count(*) n FROM sqlite_schema").get()?.["n"], 1)
        again.close()
      })
    )

    it.effect("fails with Unavailable if the file cannot be opened", () =>
      Effect.gen(function* () {
        const file = yield* temporaryFile
        const error = yield* Effect.flip(appendTo(`${file}-missing/feed.db`, outputs(0, 1)))
        assert.strictEqual(reasonOf(error), "Unavailable")
      })
    )
  })

  describe("damage", () => {
    it.effect("fails a full disk with Full, stores nothing of the batch, and keeps what was stored readable", () =>
      Effect.gen(function* () {
        const filename = yield* temporaryFile
        yield* appendTo(filename, outputs(0, 100))
        yield* Effect.scoped(
          Effect.gen(function* () {
            const log = yield* Effect.provideService(SqliteLog.make({ filename }), Faults, { maxPageCount: 40 })
            const large = outputs(100, 400, "x".repeat(500))
            assert.strictEqual(reasonOf(yield* Effect.flip(log.append(large))), "Full")
            const { entries, error } = yield* readUntilEnd(log)
            assert.isUndefined(error)
            assert.deepStrictEqual(contents(entries), range(0, 100))
            // What still fits is accepted.
            yield* log.append(outputs(100, 101))
            assert.strictEqual((yield* log.bounds).last, 101)
          })
        )
        // With space again, the same append succeeds.
        yield* appendTo(filename, outputs(100, 400))
        assert.deepStrictEqual(contents((yield* readFile(filename)).entries), range(0, 400))
      })
    )

    it.effect("names the position of a damaged page, and reads what follows it from a later position", () =>
      Effect.gen(function* () {
        const filename = yield* temporaryFile
        yield* appendTo(filename, outputs(0, 3000))
        damagePageOf(filename, '"content":"1500"')
        yield* Effect.scoped(
          Effect.gen(function* () {
            const log = yield* SqliteLog.make({ filename })
            const { entries, error } = yield* readUntilEnd(log)
            assert.deepStrictEqual(contents(entries), range(0, entries.length))
            assert.isAtLeast(entries.length, 1480)
            const reason = error?.reason
            assert.strictEqual(reason?._tag, "Damaged")
            assert.strictEqual(reason?._tag === "Damaged" ? reason.position : 0, entries.length + 1)
            const after = yield* readUntilEnd(log, { from: MeshLog.after(1550) })
            assert.isUndefined(after.error)
            assert.deepStrictEqual(contents(after.entries), range(1550, 3000))
          })
        )
      })
    )

    it.effect("detects an event whose text was changed in the file", () =>
      Effect.gen(function* () {
        const filename = yield* temporaryFile
        yield* appendTo(filename, outputs(0, 100))
        const bytes = readFileSync(filename)
        bytes.write('"content":"5x"', bytes.indexOf('"content":"50"'))
        writeFileSync(filename, bytes)
        const { entries, error } = yield* readFile(filename)
        assert.deepStrictEqual(contents(entries), range(0, 50))
        assert.strictEqual(error?.message, "The log is damaged at position 51: its checksum is wrong")
      })
    )

    /** Leaves a file whose WAL lost its last frames. Returns how many entries are left. */
    const cutWal = Effect.fnUntraced(function* (filename: string) {
      const scope = yield* Scope.make()
      const log = yield* Scope.provide(SqliteLog.make({ filename }), scope)
      yield* log.append(outputs(0, 50))
      yield* log.append(outputs(50, 100))
      // As a killed process leaves them: closing the log would empty the WAL.
      copyFileSync(filename, `${filename}.copy`)
      copyFileSync(`${filename}-wal`, `${filename}.copy-wal`)
      copyFileSync(`${filename}-head`, `${filename}.copy-head`)
      yield* Scope.close(scope, Exit.void)
      truncateSync(`${filename}.copy-wal`, readFileSync(`${filename}.copy-wal`).length - 3000)
      return `${filename}.copy`
    })

    it.effect("reads everything before a truncated WAL, and then fails with the positions that are missing", () =>
      Effect.gen(function* () {
        const cut = yield* cutWal(yield* temporaryFile)
        const { entries, error } = yield* readFile(cut)
        assert.deepStrictEqual(contents(entries), range(0, 50))
        assert.strictEqual(
          error?.message,
          "The log is damaged at position 51: positions 51 to 100 were stored and are missing: the WAL is cut off, or the file is old"
        )
        assert.strictEqual(reasonOf(yield* Effect.flip(appendTo(cut, outputs(100, 101)))), "Damaged")
      })
    )

    it.effect("marks the entries that a truncated WAL lost and continues, if an option says so", () =>
      Effect.gen(function* () {
        const cut = yield* cutWal(yield* temporaryFile)
        yield* appendTo(cut, outputs(100, 102), { onLoss: "mark" })
        const { entries, error } = yield* readFile(cut)
        assert.isUndefined(error)
        assert.deepStrictEqual(contents(entries), [...range(0, 50), "LogTruncated", "100", "101"])
        const mark = entries[50]
        assert.deepStrictEqual(mark?.event, {
          _tag: "Resync",
          epoch: 0,
          reason: { _tag: "LogTruncated", from: 51, to: 100 }
        })
        assert.strictEqual(mark?.position, 101)
      })
    )
  })

  describe("retention", () => {
    it.effect("removes entries that become too old without an append", () =>
      Effect.gen(function* () {
        const filename = yield* temporaryFile
        const log = yield* SqliteLog.make({ filename, retention: { maxAge: "1 minute" } })
        yield* log.append(outputs(0, 100))
        yield* TestClock.adjust("2 minutes")
        assert.deepStrictEqual(yield* log.bounds, { first: 101, last: 100 })
        yield* log.append(outputs(100, 101))
        assert.deepStrictEqual(yield* log.bounds, { first: 101, last: 101 })
      })
    )

    it.effect("applies a smaller limit to a log that is larger, over several appends", () =>
      Effect.gen(function* () {
        const filename = yield* temporaryFile
        yield* appendTo(filename, outputs(0, 2500))
        const log = yield* SqliteLog.make({ filename, retention: { maxEntries: 10 } })
        for (let n = 2500; n < 2503; n++) yield* log.append(outputs(n, n + 1))
        assert.deepStrictEqual(yield* log.bounds, { first: 2494, last: 2503 })
      })
    )
  })

  describe("index", () => {
    const filters: ReadonlyArray<MeshLog.Filter> = [
      { tasks: TaskId.make("b") },
      { tasks: [TaskId.make("a"), TaskId.make("d")], kind: "updates" },
      { tasks: TaskId.make("a"), keep: "resync" },
      { messageTypes: ["rare", "assistant"] },
      { messageTypes: "rare", keep: "lifecycle" },
      { kind: "updates" },
      { tasks: [], keep: "lifecycle" },
      { tasks: [] },
      { tasks: TaskId.make("unknown") }
    ]

    /** Output with an update in every 100th place, a rare type in every 500th, and a mark in every 700th. */
    const mixed = (count: number): ReadonlyArray<MeshLog.NewEvent> =>
      outputs(0, count).map((output, n) => {
        if (n % 100 === 0) return update(n % 200 === 0 ? "a" : "d", n)
        if (n % 700 === 1) return { id: output.id, event: { _tag: "Resync", epoch: 1, reason: { _tag: "Started" } } }
        return n % 500 === 2 && output.event._tag === "TaskOutput"
          ? { ...output, event: { ...output.event, messageType: "rare" } }
          : output
      })

    /** Reads with each filter, and compares with the filter of all entries. */
    const check = Effect.fnUntraced(function* (filename: string, count: number, first = 1) {
      const all = (yield* readFile(filename, undefined, { from: MeshLog.after(first - 1) })).entries
      assert.strictEqual(all.length, count)
      for (const filter of filters) {
        const wanted = LogEngine.toWanted(filter)
        const { entries, error } = yield* readFile(filename, undefined, { from: MeshLog.after(first - 1), filter })
        assert.isUndefined(error)
        assert.deepStrictEqual(
          entries,
          all.filter(({ event }) => wanted?.isWanted(event)),
          JSON.stringify(filter)
        )
      }
    })

    it.effect("finds what a filter wants in complete blocks and in the last one, from any position", () =>
      Effect.gen(function* () {
        const filename = yield* temporaryFile
        const count = 2 * blockSize + 1500
        yield* appendTo(filename, mixed(count))
        yield* check(filename, count)
        yield* check(filename, count - 5000, 5001)
      })
    )

    it.effect("scans a block that was not indexed", () =>
      Effect.gen(function* () {
        const filename = yield* temporaryFile
        const count = 2 * blockSize + 10
        yield* appendTo(filename, mixed(count))
        const db = new DatabaseSync(filename)
        db.exec("DELETE FROM posting WHERE block = 0")
        db.close()
        yield* check(filename, count)
      })
    )

    it.effect("forgets the blocks that retention removed", () =>
      Effect.gen(function* () {
        const filename = yield* temporaryFile
        yield* appendTo(filename, mixed(3 * blockSize))
        const log = yield* SqliteLog.make({ filename, retention: { maxEntries: 100 } })
        for (let n = 0; n < 13; n++) yield* log.append(outputs(3 * blockSize + n, 3 * blockSize + n + 1))
        const db = new DatabaseSync(filename)
        const blocks = db.prepare("SELECT DISTINCT block FROM posting").all()
        db.close()
        assert.deepStrictEqual(
          blocks.map(({ block }) => block),
          [2]
        )
        assert.deepStrictEqual(
          contents(
            (yield* readUntilEnd(log, {
              from: MeshLog.after(3 * blockSize + 9),
              filter: { messageTypes: "assistant" }
            })).entries
          ),
          range(3 * blockSize + 9, 3 * blockSize + 13)
        )
      })
    )
  })

  describe("options", () => {
    it.effect("refuses nonsense with an error that names the option", () =>
      Effect.gen(function* () {
        const filename = yield* temporaryFile
        for (const [options, message] of [
          [{ retention: { maxEntries: 0 } }, 'The option "maxEntries" must be an integer of at least 1, not 0'],
          [{ retention: { maxBytes: Number.NaN } }, 'The option "maxBytes" must be an integer of at least 1, not NaN'],
          [{ pollInterval: 0 }, 'The option "pollInterval" must be a finite time of at least 1 ms, not 0 ms']
        ] as const) {
          const exit = yield* Effect.exit(appendTo(filename, [], options))
          assert.isTrue(Exit.isFailure(exit))
          if (Exit.isFailure(exit)) {
            const [reason] = exit.cause.reasons
            assert.strictEqual(
              reason?._tag === "Fail" && reason.error.reason._tag === "InvalidOption" ? reason.error.message : "",
              message
            )
          }
        }
        assert.isFalse(existsSync(filename))
      })
    )
  })

  describe("readers", () => {
    it.effect("wakes a following reader at once for an append of the same log, without a poll", () =>
      Effect.gen(function* () {
        const filename = yield* temporaryFile
        const log = yield* SqliteLog.make({ filename })
        const reader = yield* log.read({ follow: true }).pipe(Stream.take(3), Stream.runCollect, Effect.forkChild)
        yield* turns(20)
        yield* log.append(outputs(0, 3))
        assert.deepStrictEqual(contents(yield* Fiber.join(reader)), range(0, 3))
      })
    )

    it.effect("delivers large events in pages of bounded size", () =>
      Effect.gen(function* () {
        const filename = yield* temporaryFile
        const log = yield* SqliteLog.make({ filename, synchronous: "normal" })
        const large = "x".repeat(6 << 20)
        for (let n = 0; n < 4; n++) yield* log.append(outputs(n, n + 1, large))
        const sizes: Array<number> = []
        yield* log.read().pipe(Stream.runForEachArray((entries) => Effect.sync(() => sizes.push(entries.length))))
        assert.deepStrictEqual(sizes, [1, 1, 1, 1])
      })
    )
  })
})
