/**
 * The cells of a log in a bucket of the key-value store.
 *
 * A key of a bucket is a subject, so its parts are separated by dots. Reads go to
 * the leader of the bucket, so they see every earlier change.
 */
import * as Effect from "effect/Effect"
import { leaseKey, type Cell, type Cells } from "@makima-stream/log/LogEngine"
import type { LogError } from "@makima-stream/log/LogError"
import type { KV } from "@nats-io/kv"
import * as Errors from "./errors.ts"

const leasePrefix = leaseKey("x").slice(0, -1)

/** The key of a cell in the bucket. A part with a dot is written as the hexadecimal digits of its characters. */
const toKey = (key: string): string =>
  key
    .split("/")
    .map((part) =>
      part.includes(".")
        ? `==${Array.from(part, (char) => char.charCodeAt(0).toString(16).padStart(2, "0")).join("")}`
        : part
    )
    .join(".")

const fromKey = (key: string): string =>
  key
    .split(".")
    .map((part) =>
      part.startsWith("==")
        ? String.fromCharCode(...(part.slice(2).match(/../g) ?? []).map((digits) => Number.parseInt(digits, 16)))
        : part
    )
    .join("/")

const attempt = <A>(run: () => Promise<A>): Effect.Effect<A, LogError> =>
  Effect.tryPromise({ try: run, catch: Errors.toLogError })

export const make = (
  kv: KV,
  /** Called after a lease has got a new holder, before that is reported. */
  onLease: (name: string) => Effect.Effect<void, LogError>
): Cells => {
  /** The holders that this process has set and reported. They show whether a write is a renewal. */
  const holders = new Map<string, string>()

  const read = async (key: string): Promise<Cell | undefined> => {
    const entry = await kv.get(toKey(key))
    return entry === null || entry.operation !== "PUT"
      ? undefined
      : { key, value: entry.string(), revision: entry.revision }
  }
  /** Returns the new revision, or `undefined` if the cell has changed. */
  const write = async (key: string, value: string, revision: number): Promise<number | undefined> => {
    try {
      return revision === 0 ? await kv.create(toKey(key), value) : await kv.update(toKey(key), value, revision)
    } catch (error) {
      if (Errors.isConflict(error)) return undefined
      throw error
    }
  }
  /** Reports a lease whose holder is another one than the last one that was reported here. */
  const report = (key: string, value: string): Effect.Effect<void, LogError> => {
    const { owner, term } = JSON.parse(value) as { readonly owner?: string; readonly term: number }
    const holder = `${term} ${owner ?? ""}`
    if (!key.startsWith(leasePrefix) || holders.get(key) === holder) return Effect.void
    return Effect.tap(onLease(key.slice(leasePrefix.length)), () => Effect.sync(() => holders.set(key, holder)))
  }

  return {
    get: (key) => attempt(() => read(key)),
    list: (prefix) =>
      attempt(async () => {
        const keys: Array<string> = []
        for await (const key of await kv.keys(`${toKey(prefix.slice(0, -1))}.>`)) keys.push(key)
        const cells = await Promise.all(keys.map((key) => read(fromKey(key))))
        return cells.filter((cell) => cell !== undefined)
      }),
    set: (key, value, revision) =>
      Effect.tap(
        attempt(() => write(key, value, revision)),
        (next) => (next === undefined ? Effect.void : report(key, value))
      ),
    remove: (key, revision) =>
      attempt(async () => {
        try {
          await kv.delete(toKey(key), { previousSeq: revision })
          return true
        } catch (error) {
          if (Errors.isConflict(error)) return false
          throw error
        }
      })
  }
}
