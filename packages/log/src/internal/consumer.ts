/**
 * Durable readers on cells: the members of a name, and their partitions.
 *
 * A consumer has one cell for its fixed settings (`c/<name>/meta`), one for each member
 * (`c/<name>/m/<member>`), which the member sets repeatedly, and one for each partition
 * (`c/<name>/p/<index>`), with its owner and its position. If the cell of an owner has not
 * changed for its time to live, other members claim its partitions. A claim changes the
 * partition's revision, so acknowledgements of the old owner fail.
 */
import { isReadonlyArrayNonEmpty } from "effect/Array"
import type { NonEmptyReadonlyArray } from "effect/Array"
import * as Channel from "effect/Channel"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Latch from "effect/Latch"
import * as Pull from "effect/Pull"
import * as Scope from "effect/Scope"
import * as Semaphore from "effect/Semaphore"
import * as Stream from "effect/Stream"
import type { Cell, LogEngine } from "../LogEngine.ts"
import type { LogError } from "../LogError.ts"
import type { Consumer, ConsumerOptions, Entry, Filter, From } from "../MeshLog.ts"
import { monotonicMillis, observe, randomName, type Seen } from "./lease.ts"
import * as Options from "./options.ts"
import * as Partitions from "./partitions.ts"
import { token } from "./token.ts"

interface Meta {
  readonly partitions: number
  /** The position after which the consumer started. */
  readonly start: number
}

interface Member {
  /** Its time to live in milliseconds. */
  readonly ttl: number
}

interface Partition extends Partitions.Stored {
  /** Absent if no member owns it. */
  readonly owner?: string
}

interface Settings {
  readonly prefix: string
  readonly member: string
  readonly ttl: number
  readonly capacity: number
  readonly filter: Filter | undefined
}

type Next = Effect.Effect<NonEmptyReadonlyArray<Entry>, LogError>

/** Opens a durable reader: joins the members of its name. */
export const make = Effect.fnUntraced(function* (
  engine: LogEngine,
  name: string,
  options: ConsumerOptions | undefined
): Effect.fn.Return<Consumer, LogError, Scope.Scope> {
  const random = yield* randomName
  const { partitions, settings } = yield* Options.checked(() => ({
    partitions: Options.count("partitions", options?.partitions, { fallback: 16, min: 1, max: 256 }),
    settings: {
      prefix: `c/${token(Options.name("name", name))}/`,
      member: Options.name("member", options?.member ?? random),
      ttl: Options.millis("timeToLive", options?.timeToLive, { fallback: 10_000, min: 1000 }),
      capacity: Options.count("capacity", options?.capacity, { fallback: 1024, min: 1 }),
      filter: options?.filter
    }
  }))
  const meta = yield* metaOf(engine, settings, { partitions, from: options?.from ?? { _tag: "Beginning" } })
  const membership = makeMembership(engine, settings, meta)
  yield* Effect.acquireRelease(membership.tick, () => Effect.ignore(membership.leave))
  yield* Effect.forkScoped(membership.run)
  return {
    entries: Stream.fromChannel(
      Channel.fromTransform((_, scope) => Scope.provide(makePull(engine, settings, membership), scope))
    ),
    acknowledge: (entries) => membership.acknowledge(isEntry(entries) ? [entries] : entries)
  }
})

const isEntry = (entries: Entry | Iterable<Entry>): entries is Entry => "position" in entries

/** The fixed settings of a name. The first process that opens it determines them. */
const metaOf = Effect.fnUntraced(function* (
  { bounds, cells, read }: LogEngine,
  { prefix }: Settings,
  wanted: { readonly partitions: number; readonly from: From }
): Effect.fn.Return<Meta, LogError> {
  const key = `${prefix}meta`
  const cell = yield* cells.get(key)
  if (cell !== undefined) return decode<Meta>(cell)
  const { last } = yield* bounds
  const meta: Meta = { partitions: wanted.partitions, start: yield* startOf(read, wanted.from, last) }
  if ((yield* cells.set(key, JSON.stringify(meta), 0)) !== undefined) return meta
  const winner = yield* cells.get(key)
  return winner === undefined ? meta : decode<Meta>(winner)
})

const startOf = (read: LogEngine["read"], from: From, last: number): Effect.Effect<number, LogError> => {
  switch (from._tag) {
    case "After":
      return Effect.succeed(from.position)
    case "New":
      return Effect.succeed(last)
    case "Time":
      return read({ from }).pipe(
        Stream.runHead,
        Effect.map((first) => {
          if (first._tag === "None") return last
          const { event, position } = first.value
          // The reader must receive the mark too.
          return event._tag === "Resync" && event.reason._tag === "LogTruncated" ? event.reason.from - 1 : position - 1
        })
      )
    case "Beginning":
    case "LastPerTask":
      return Effect.succeed(0)
  }
}

// Only this module writes these cells.
const decode = <A>(cell: Cell): A => JSON.parse(cell.value) as A

/** The place of a process among the members of its name. */
interface Membership {
  readonly assignment: Partitions.Assignment
  /** Opened when the assignment has changed; the reader closes it. */
  readonly changed: Latch.Latch
  /** Opened when entries were acknowledged; the reader closes it. */
  readonly acknowledged: Latch.Latch
  /** Renews the membership, claims free partitions, and releases partitions that exceed its share. */
  readonly tick: Effect.Effect<void, LogError>
  /** Ticks until it is interrupted. */
  readonly run: Effect.Effect<never>
  readonly leave: Effect.Effect<void, LogError>
  readonly acknowledge: (entries: Iterable<Entry>) => Effect.Effect<void, LogError>
}

const makeMembership = ({ cells }: LogEngine, settings: Settings, meta: Meta): Membership => {
  const { member, prefix, ttl } = settings
  const memberPrefix = `${prefix}m/`
  const ownKey = `${memberPrefix}${token(member)}`
  const partitionKey = (index: number) => `${prefix}p/${index}`
  const assignment = Partitions.make(meta.partitions)
  const changed = Latch.makeUnsafe(false)
  const acknowledged = Latch.makeUnsafe(false)
  // Acknowledgements and ticks change the same cells.
  const lock = Semaphore.makeUnsafe(1)
  const seen = new Map<string, Seen>()
  let ownRevision: number | undefined

  /** Stores the state of an owned partition. Forgets a partition that another member has claimed. */
  const store = Effect.fnUntraced(function* (partition: Partitions.Owned, owner: string | undefined) {
    const stored = Partitions.toStored(partition)
    const value: Partition = { ...stored, ...(owner === undefined ? {} : { owner }) }
    const revision = yield* cells.set(partitionKey(partition.index), JSON.stringify(value), partition.revision)
    if (revision === undefined || owner === undefined) {
      Partitions.forget(assignment, partition)
      changed.openUnsafe()
      acknowledged.openUnsafe()
    } else {
      partition.revision = revision
      partition.stored = stored
    }
  })

  const renew = Effect.gen(function* () {
    const value: Member = { ttl }
    let revision = yield* cells.set(ownKey, JSON.stringify(value), ownRevision ?? 0)
    if (revision === undefined) {
      const cell = yield* cells.get(ownKey)
      revision = yield* cells.set(ownKey, JSON.stringify(value), cell?.revision ?? 0)
    }
    ownRevision = revision
  })

  /** The live members, including this one. Removes the cells of members that ended long ago. */
  const liveMembers = Effect.fnUntraced(function* (found: ReadonlyArray<Cell>) {
    const now = yield* monotonicMillis
    const names = new Set([token(member)])
    for (const cell of found) {
      const last = observe(seen.get(cell.key), cell.revision, now)
      seen.set(cell.key, last)
      const silent = now - last.at
      const limit = decode<Member>(cell).ttl
      if (silent < limit) names.add(cell.key.slice(memberPrefix.length))
      else if (silent > 10 * limit && cell.key !== ownKey) yield* cells.remove(cell.key, cell.revision)
    }
    return names
  })

  const claim = Effect.fnUntraced(function* (index: number, cell: Cell | undefined) {
    const found: Partition = cell === undefined ? { position: meta.start, done: [] } : decode<Partition>(cell)
    const value: Partition = { position: found.position, done: found.done, owner: token(member) }
    const revision = yield* cells.set(partitionKey(index), JSON.stringify(value), cell?.revision ?? 0)
    if (revision === undefined) return
    assignment.owned.set(index, Partitions.owned(index, revision, found))
    changed.openUnsafe()
  })

  const rebalance = Effect.gen(function* () {
    const found = yield* cells.list(prefix)
    const names = yield* liveMembers(found.filter(({ key }) => key.startsWith(memberPrefix)))
    const byKey = new Map(found.map((cell) => [cell.key, cell]))
    const share = Math.ceil(meta.partitions / names.size)
    for (const partition of Array.from(assignment.owned.values())) {
      if (byKey.get(partitionKey(partition.index))?.revision !== partition.revision) {
        Partitions.forget(assignment, partition)
        changed.openUnsafe()
      }
    }
    for (let index = 0; index < meta.partitions && assignment.owned.size < share; index++) {
      if (assignment.owned.has(index)) continue
      const cell = byKey.get(partitionKey(index))
      const owner = cell === undefined ? undefined : decode<Partition>(cell).owner
      // A process that restarts with its old name claims the partitions of its predecessor.
      if (owner === undefined || owner === token(member) || !names.has(owner)) yield* claim(index, cell)
    }
    const surplus = Array.from(assignment.owned.values()).slice(share)
    for (const partition of surplus) {
      partition.draining = true
      changed.openUnsafe()
      if (partition.outstanding.size === 0) yield* store(partition, undefined)
    }
    for (const partition of Array.from(assignment.owned.values()).slice(0, share)) {
      if (partition.draining) changed.openUnsafe()
      partition.draining = false
      if (Partitions.isDirty(partition)) yield* store(partition, token(member))
    }
  })

  const tick = lock.withPermit(Effect.andThen(renew, rebalance))

  return {
    assignment,
    changed,
    acknowledged,
    tick,
    run: Effect.sleep(ttl / 4).pipe(
      Effect.andThen(tick),
      // The next tick tries again. Other members claim the partitions if the log cannot be reached for longer.
      Effect.catch((error) => Effect.logDebug(`A consumer could not renew its membership: ${error.message}`)),
      Effect.forever
    ),
    leave: lock.withPermit(
      Effect.gen(function* () {
        for (const partition of Array.from(assignment.owned.values())) yield* store(partition, undefined)
        if (ownRevision !== undefined) yield* cells.remove(ownKey, ownRevision)
      })
    ),
    acknowledge: (entries) =>
      lock.withPermit(
        Effect.gen(function* () {
          const touched = new Set<Partitions.Owned>()
          const positions: Array<number> = []
          for (const { position } of entries) {
            positions.push(position)
            for (const partition of assignment.waiting.get(position) ?? []) touched.add(partition)
          }
          Partitions.acknowledge(assignment, positions)
          for (const partition of touched) {
            // A partition that is being released is passed on when its last entry is acknowledged.
            const finished = partition.draining && partition.outstanding.size === 0
            yield* store(partition, finished ? undefined : token(member))
          }
          acknowledged.openUnsafe()
        })
      )
  }
}

/** Reads the entries of the assignment, and restarts the reader when the assignment changes. */
const makePull = (
  engine: LogEngine,
  settings: Settings,
  { acknowledged, assignment, changed }: Membership
): Effect.Effect<Next, never, Scope.Scope> =>
  Effect.gen(function* () {
    const outer = yield* Effect.scope
    let reader: { readonly pull: Next; readonly scope: Scope.Closeable } | undefined

    const close = Effect.suspend(() => {
      if (reader === undefined) return Effect.void
      const { scope } = reader
      reader = undefined
      return Scope.close(scope, Exit.void)
    })

    const open = Effect.fnUntraced(function* (after: number) {
      const scope = yield* Scope.fork(outer)
      const pull = yield* Stream.toPull(
        engine.read({ from: { _tag: "After", position: after }, filter: settings.filter, follow: true })
      ).pipe(Scope.provide(scope))
      // A reader that follows does not end.
      reader = { scope, pull: Pull.catchDone(pull, () => Effect.never) }
      return reader
    })

    const next: Next = Effect.gen(function* () {
      while (true) {
        if (assignment.waiting.size >= settings.capacity) {
          acknowledged.closeUnsafe()
          if (assignment.waiting.size >= settings.capacity) yield* acknowledged.await
          continue
        }
        if (changed.isOpen()) {
          changed.closeUnsafe()
          yield* close
        }
        const after = Partitions.readAfter(assignment)
        if (after === undefined) {
          yield* changed.await
          continue
        }
        const { pull } = reader ?? (yield* open(after))
        const batch = yield* Effect.raceFirst(pull, Effect.as(changed.await, undefined))
        if (batch === undefined) continue
        const entries = Partitions.deliver(assignment, batch)
        if (isReadonlyArrayNonEmpty(entries)) return entries
      }
    })
    return next
  })
