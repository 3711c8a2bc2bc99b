/**
 * Leases on cells.
 *
 * A lease is a cell `{ term, owner, ttl }`. The holder sets it repeatedly, which changes
 * its revision. A candidate does not compare clocks: it watches the revision, and acquires
 * the lease after it has seen no change for the time to live on its own monotonic clock. By
 * compare and set, only one candidate becomes the holder. `term` grows with each
 * acquisition.
 */
import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Random from "effect/Random"
import type * as Scope from "effect/Scope"
import type { Cell, Cells } from "../LogEngine.ts"
import type { LogError } from "../LogError.ts"
import type { Lease, LeaseOptions } from "../MeshLog.ts"
import * as Options from "./options.ts"
import { token } from "./token.ts"

interface Value {
  readonly term: number
  /** Absent if the lease was released. */
  readonly owner?: string
  /** The time to live in milliseconds. */
  readonly ttl: number
  /** How many milliseconds before the renewal the holder's work was complete. Absent if that is not known. */
  readonly behind?: number
}

/** The key of a lease's cell. */
export const keyOf = (name: string): string => `lease/${token(name)}`

/** The term of a lease that is held. */
export const termOf = (value: string): number | undefined => {
  const { owner, term } = decode(value)
  return owner === undefined ? undefined : term
}

// Only this module writes these cells.
const decode = (value: string): Value => JSON.parse(value) as Value

/** Milliseconds on the monotonic clock. */
export const monotonicMillis = Clock.clockWith((clock) =>
  Effect.sync(() => Number(clock.monotonicTimeNanosUnsafe()) / 1e6)
)

/** A random name, for an owner or a member. */
export const randomName: Effect.Effect<string> = Effect.map(
  Effect.all([Random.nextIntBetween(0, 2 ** 31), Random.nextIntBetween(0, 2 ** 31)]),
  (parts) => parts.map((part) => part.toString(36)).join("")
)

/** A candidate's observation of a cell: its revision, and when it changed last. */
export interface Seen {
  readonly revision: number
  readonly at: number
}

/** Updates the observation of a cell. */
export const observe = (seen: Seen | undefined, revision: number, now: number): Seen =>
  seen?.revision === revision ? seen : { revision, at: now }

/**
 * Finds the time at which a holder's work was complete, without comparing clocks.
 *
 * A holder determines `behind` after its previous renewal was stored, and that was after the
 * look before the first one that saw it. Returns a function that is called with each look.
 */
export const makeProof = (): ((cell: Cell, lookedAt: number) => number | undefined) => {
  let lastLook: number | undefined
  let seen: { readonly revision: number; readonly after: number | undefined } | undefined
  return (cell, lookedAt) => {
    const previous = seen
    const after = lastLook
    lastLook = lookedAt
    if (previous?.revision === cell.revision) return undefined
    seen = { revision: cell.revision, after: previous === undefined ? undefined : after }
    const { behind } = decode(cell.value)
    return previous?.after === undefined || behind === undefined ? undefined : previous.after - behind
  }
}

/** Whether a candidate may take the lease: it does not exist, was released, or has not changed for its time to live. */
const isFree = (cell: Cell, seen: Seen, now: number): boolean => {
  const { owner, ttl } = decode(cell.value)
  return owner === undefined || now - seen.at >= ttl
}

/** Whether a failed change may have been stored. */
const isUnknown = ({ reason }: LogError): boolean => reason._tag === "Unavailable"

/** Waits for a lease, and renews it in the scope. */
export const acquire = Effect.fnUntraced(function* (
  cells: Cells,
  name: string,
  options: LeaseOptions | undefined
): Effect.fn.Return<Lease, LogError, Scope.Scope> {
  const { key, ttl } = yield* Options.checked(() => ({
    key: keyOf(Options.name("name", name)),
    ttl: Options.millis("timeToLive", options?.timeToLive, { fallback: 10_000, min: 1000 })
  }))
  const poll = Math.min(100, ttl / 8)
  const delay = options?.delay ?? (() => 0)
  let freeSince: number | undefined
  const owner = yield* randomName
  let seen: Seen | undefined
  const prove = makeProof()
  // An interruption between the acquisition and its finalizer would leave a lease without a holder for its time to live.
  return yield* Effect.uninterruptibleMask((restore) =>
    Effect.gen(function* () {
      while (true) {
        const lookedAt = yield* monotonicMillis
        const cell = yield* restore(cells.get(key))
        const now = yield* monotonicMillis
        if (cell !== undefined) {
          seen = observe(seen, cell.revision, now)
          const proven = prove(cell, lookedAt)
          if (proven !== undefined) options?.onComplete?.(proven)
        }
        // An attempt that seemed to fail was stored.
        const isOwn = cell !== undefined && decode(cell.value).owner === owner
        if (cell !== undefined && seen !== undefined && !isOwn && !isFree(cell, seen, now)) freeSince = undefined
        else freeSince ??= now
        if (isOwn || (freeSince !== undefined && now - freeSince >= delay(seen?.at ?? now))) {
          const last = cell === undefined ? 0 : decode(cell.value).term
          const value: Value = { term: isOwn ? last : last + 1, owner, ttl }
          const attempt = cells.set(key, JSON.stringify(value), cell?.revision ?? 0)
          const revision = yield* Effect.catchIf(attempt, isUnknown, () =>
            Effect.as(restore(Effect.sleep(poll)), undefined)
          )
          if (revision !== undefined)
            return yield* startRenewing(cells, { name, key, value, revision, since: now, behind: options?.behind })
        } else {
          yield* restore(Effect.sleep(poll))
        }
      }
    })
  )
})

/** Renews a lease that has just been acquired, until it is lost or released. */
const startRenewing = Effect.fnUntraced(function* (
  cells: Cells,
  acquired: {
    readonly name: string
    readonly key: string
    readonly value: Value
    readonly revision: number
    readonly since: number
    readonly behind: LeaseOptions["behind"]
  }
): Effect.fn.Return<Lease, never, Scope.Scope> {
  const { key, name, value } = acquired
  const lost = yield* Deferred.make<void>()
  let revision = acquired.revision
  /** Until this time the lease is certainly held, because no candidate started its wait earlier. */
  let deadline = acquired.since + value.ttl

  const renewOnce = Effect.gen(function* () {
    const sentAt = yield* monotonicMillis
    const behind = acquired.behind?.()
    const renewal: Value = behind === undefined ? value : { ...value, behind: Math.ceil(behind) }
    const renewed = yield* cells.set(key, JSON.stringify(renewal), revision)
    if (renewed === undefined) {
      yield* Deferred.succeed(lost, undefined)
    } else {
      revision = renewed
      deadline = sentAt + value.ttl
    }
  })

  const renewal = Effect.gen(function* () {
    yield* Effect.sleep(value.ttl / 3)
    while (!Deferred.isDoneUnsafe(lost)) {
      const left = deadline - (yield* monotonicMillis)
      if (left <= 0) {
        yield* Deferred.succeed(lost, undefined)
        break
      }
      const failed = yield* renewOnce.pipe(
        Effect.timeout(left),
        Effect.match({ onFailure: () => true, onSuccess: () => false })
      )
      yield* Effect.sleep(failed ? Math.min(250, value.ttl / 8) : value.ttl / 3)
    }
  })

  const release = Effect.suspend(() => {
    if (Deferred.isDoneUnsafe(lost)) return Effect.void
    const { owner: _, ...released } = value
    return Deferred.succeed(lost, undefined).pipe(
      Effect.andThen(Effect.suspend(() => cells.set(key, JSON.stringify(released), revision))),
      Effect.ignore
    )
  })

  const renewing = yield* Effect.forkScoped(renewal)
  // A renewal that is under way would change the revision that the release compares with.
  const end = Effect.andThen(Fiber.interrupt(renewing), release)
  yield* Effect.addFinalizer(() => end)
  return {
    name,
    term: value.term,
    isHeld: Effect.map(monotonicMillis, (now) => !Deferred.isDoneUnsafe(lost) && now < deadline),
    awaitLost: Deferred.await(lost),
    release: end
  }
})
