/**
 * The queries of pages, and the dictionaries of names.
 */
import type { DatabaseSync, StatementSync } from "node:sqlite"
import type { Wanted } from "../filter.ts"

/** Names as numbers. */
export interface Dictionary {
  /** Returns the number of a name, and adds the name if it is new. */
  readonly id: (name: string) => number
  /** Returns the number of a name, or `undefined` if it has none. */
  readonly find: (name: string) => number | undefined
  /** Forgets the numbers that a rolled back transaction may have added. */
  readonly reset: () => void
}

/** How many names a connection remembers. */
const maxNames = 20_000

/** The dictionary of a table with `id` and `name`. Rows are never changed or removed, so numbers can be remembered. */
export const dictionary = (db: DatabaseSync, table: "task" | "type"): Dictionary => {
  const select = db.prepare(`SELECT id FROM ${table} WHERE name = ?`)
  const insert = db.prepare(`INSERT INTO ${table} (name) VALUES (?)`)
  const known = new Map<string, number>()
  const find = (name: string): number | undefined => {
    const remembered = known.get(name)
    if (remembered !== undefined) return remembered
    const id = select.get(name)?.["id"]
    return typeof id === "number" ? remember(name, id) : undefined
  }
  const remember = (name: string, id: number): number => {
    if (known.size >= maxNames) known.clear()
    known.set(name, id)
    return id
  }
  return {
    find,
    id: (name) => find(name) ?? remember(name, Number(insert.run(name).lastInsertRowid)),
    reset: () => known.clear()
  }
}

/** A statement for a page, and its parameters. */
export interface PageQuery {
  readonly statement: StatementSync
  readonly parameters: ReadonlyArray<number>
}

/** More names than this are not looked up one by one in an index: the page is a scan instead. */
const maxBranches = 8

const columns = "position, at, sum, body"
const span = "position > ? AND position <= ?"

/**
 * Chooses the query of a page. Each branch follows one index, in which positions are in
 * order; SQLite merges the branches without sorting them.
 */
export const pages = (prepare: (sql: string) => StatementSync) => {
  const statements = new Map<string, StatementSync>()
  const statementOf = (sql: string): StatementSync => {
    const found = statements.get(sql)
    if (found !== undefined) return found
    const statement = prepare(sql)
    statements.set(sql, statement)
    return statement
  }
  return {
    /** Forgets the statements. After an error, `node:sqlite` throws it again at the next use of its statement. */
    reset: () => statements.clear(),
    select: (
      wanted: Wanted | undefined,
      tasks: Pick<Dictionary, "find">,
      types: Pick<Dictionary, "find">,
      range: { readonly after: number; readonly end: number; readonly limit: number }
    ): PageQuery => {
      const branches = branchesOf(wanted, tasks, types)
      const sql = branches.map(({ where }) => `SELECT ${columns} FROM entry WHERE ${where} AND ${span}`)
      const parameters = branches.flatMap(({ value }) => [
        ...(value === undefined ? [] : [value]),
        range.after,
        range.end
      ])
      return {
        statement: statementOf(`${sql.join(" UNION ALL ")} ORDER BY position LIMIT ?`),
        parameters: [...parameters, range.limit]
      }
    }
  }
}

interface Branch {
  readonly where: string
  readonly value?: number
}

// SQLite uses a partial index only if the query repeats its condition.
const ofKind = (kind: number): Branch => ({ where: `kind = ${kind} AND kind <> 1` })
const marks = ofKind(3)

const branchesOf = (
  wanted: Wanted | undefined,
  tasks: Pick<Dictionary, "find">,
  types: Pick<Dictionary, "find">
): ReadonlyArray<Branch> => {
  if (wanted === undefined) return [{ where: "true" }]
  const { keepsMarks, kind, messageTypes } = wanted
  const found = { tasks: lookUp(wanted.tasks, tasks), types: lookUp(messageTypes, types) }
  const data =
    kind === "output"
      ? " AND kind = 1"
      : kind === "updates"
        ? " AND kind IN (0, 2)"
        : // Marks have a branch of their own.
          " AND kind <> 3"
  const branches: Array<Branch> =
    found.tasks !== undefined
      ? found.tasks.map((value) => ({ where: `task = ?${data}`, value }))
      : found.types !== undefined
        ? found.types.map((value) => ({ where: `type = ?${data}`, value }))
        : kind === "updates"
          ? [ofKind(0), ofKind(2)]
          : [{ where: `true${data}` }]
  if (keepsMarks) branches.push(marks)
  // Nothing can be wanted: a query without rows.
  return branches.length === 0 ? [{ where: "false" }] : branches
}

const lookUp = (
  names: ReadonlySet<string> | undefined,
  dictionary: Pick<Dictionary, "find">
): ReadonlyArray<number> | undefined => {
  if (names === undefined || names.size > maxBranches) return undefined
  return Array.from(names, (name) => dictionary.find(name)).filter((id) => id !== undefined)
}
