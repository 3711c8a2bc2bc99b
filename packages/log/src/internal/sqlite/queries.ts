/**
 * The keys of the index that a filter needs, and the dictionaries of names.
 */
import type { DatabaseSync } from "node:sqlite"
import type { Wanted } from "../filter.ts"
import { kindKey, kinds, taskKey, typeKey } from "./postings.ts"

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

/** More names than this are not looked up one by one in the index: the page is a scan instead. */
const maxNamesOfKeys = 8

/** The kinds of entries that may be wanted. */
export const kindsOf = (wanted: Wanted | undefined): ReadonlySet<number> => {
  if (wanted === undefined) return new Set(Object.values(kinds))
  const { mark, other, output, restated, update } = kinds
  const data =
    wanted.kind === "output"
      ? [output]
      : wanted.kind === "updates"
        ? [update, restated]
        : [update, output, restated, other]
  return new Set(wanted.keepsMarks ? [...data, mark] : data)
}

/** The keys of the entries that may be wanted; `undefined` if the index cannot tell. */
export const keysOf = (
  wanted: Wanted | undefined,
  tasks: Pick<Dictionary, "find">,
  types: Pick<Dictionary, "find">
): ReadonlySet<number> | undefined => {
  const data = dataKeysOf(wanted, tasks, types)
  return data === undefined || wanted?.keepsMarks !== true ? data : new Set(data).add(kindKey(kinds.mark))
}

const dataKeysOf = (
  wanted: Wanted | undefined,
  tasks: Pick<Dictionary, "find">,
  types: Pick<Dictionary, "find">
): ReadonlySet<number> | undefined =>
  lookUp(wanted?.tasks, tasks, taskKey) ??
  lookUp(wanted?.messageTypes, types, typeKey) ??
  (wanted?.kind === "updates" ? new Set([kindKey(kinds.update), kindKey(kinds.restated)]) : undefined)

const lookUp = (
  names: ReadonlySet<string> | undefined,
  dictionary: Pick<Dictionary, "find">,
  keyOf: (id: number) => number
): ReadonlySet<number> | undefined => {
  if (names === undefined || names.size > maxNamesOfKeys) return undefined
  const ids = Array.from(names, (name) => dictionary.find(name)).filter((id) => id !== undefined)
  return new Set(ids.map(keyOf))
}
