/**
 * The schema of a log in SQLite, and its migrations.
 *
 * `entry.kind` is 0 for an update, 1 for output, 2 for `Restated`, 3 for a lifecycle
 * element and 4 for anything else. `task` and `type` are dictionaries, so that the
 * index has numbers instead of names. `task.newest` is the position of the newest
 * update by version. `posting` is the index: `postings.ts` describes it. `meta` has one row.
 */
import type { DatabaseSync } from "node:sqlite"
import { LogError, UnsupportedVersion } from "../../LogError.ts"

/** One step from a version to the next. The first one makes an empty file a log. */
export type Migration = string

export const migrations: ReadonlyArray<Migration> = [
  `
  CREATE TABLE meta (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    last INTEGER NOT NULL,
    last_at INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    revision INTEGER NOT NULL
  ) STRICT;
  INSERT INTO meta VALUES (1, 0, 0, 0, 0);
  CREATE TABLE task (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    newest INTEGER,
    version INTEGER
  ) STRICT;
  CREATE TABLE type (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE
  ) STRICT;
  CREATE TABLE entry (
    position INTEGER PRIMARY KEY,
    at INTEGER NOT NULL,
    kind INTEGER NOT NULL,
    task INTEGER,
    type INTEGER,
    sum INTEGER NOT NULL,
    id TEXT NOT NULL UNIQUE,
    body TEXT NOT NULL
  ) STRICT;
  CREATE INDEX entry_task ON entry (task) WHERE task IS NOT NULL;
  CREATE INDEX entry_type ON entry (type) WHERE type IS NOT NULL;
  CREATE INDEX entry_kind ON entry (kind) WHERE kind <> 1;
  CREATE TABLE cell (
    key TEXT PRIMARY KEY,
    value TEXT NOT NULL,
    revision INTEGER NOT NULL
  ) STRICT, WITHOUT ROWID;
  `,
  `
  DROP INDEX entry_task;
  DROP INDEX entry_type;
  DROP INDEX entry_kind;
  CREATE TABLE posting (
    block INTEGER NOT NULL,
    key INTEGER NOT NULL,
    offsets TEXT NOT NULL,
    PRIMARY KEY (block, key)
  ) STRICT, WITHOUT ROWID;
  INSERT INTO posting
    SELECT (position - 1) / 4096 AS block, key, json_group_array((position - 1) % 4096 + 1 ORDER BY position)
    FROM (
      SELECT position, 2 * task AS key FROM entry WHERE task IS NOT NULL
      UNION ALL
      SELECT position, iif(type IS NULL, -1 - kind, 2 * type + 1) FROM entry
    )
    WHERE (position - 1) / 4096 < (SELECT last / 4096 FROM meta)
    GROUP BY block, key;
  `
]

/** Marks the file as a log: `mksl` in ASCII. */
export const applicationId = 0x6d6b_736c

/** The version of the schema; 0 for an empty file. */
export const versionOf = (db: DatabaseSync): number => numberOf(db, "PRAGMA user_version")

const numberOf = (db: DatabaseSync, sql: string): number => {
  const row = db.prepare(sql).get()
  const value = row === undefined ? undefined : Object.values(row)[0]
  return typeof value === "number" ? value : 0
}

/**
 * Brings the schema to the newest version, in one transaction. Throws a `LogError` if
 * the file is newer than this package, or is another program's database.
 */
export const migrate = (db: DatabaseSync, steps: ReadonlyArray<Migration> = migrations): void => {
  if (check(db, steps)) return
  db.exec("BEGIN IMMEDIATE")
  try {
    // Another process may have migrated in the meantime.
    if (!check(db, steps)) {
      for (const step of steps.slice(versionOf(db))) db.exec(step)
      db.exec(`PRAGMA application_id = ${applicationId}; PRAGMA user_version = ${steps.length}`)
    }
    db.exec("COMMIT")
  } catch (error) {
    if (db.isTransaction) db.exec("ROLLBACK")
    throw error
  }
}

/** Returns whether the schema is up to date. */
const check = (db: DatabaseSync, steps: ReadonlyArray<Migration>): boolean => {
  const found = versionOf(db)
  const id = numberOf(db, "PRAGMA application_id")
  if (id !== applicationId && (id !== 0 || found !== 0 || numberOf(db, "SELECT count(*) FROM sqlite_schema") !== 0)) {
    throw new Error("The file is a database of another program")
  }
  if (found > steps.length) {
    throw new LogError({ reason: new UnsupportedVersion({ found, supported: steps.length }) })
  }
  return found === steps.length
}
