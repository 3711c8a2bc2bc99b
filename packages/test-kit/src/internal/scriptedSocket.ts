/**
 * The client's end of a scripted mesh: a `Socket` where each reader is a
 * connection, with the connect timeout, the heartbeat and the typed reasons of a
 * complete transport.
 */
import { isReadonlyArrayNonEmpty } from "effect/Array"
import type { Clock } from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Scope from "effect/Scope"
import * as Socket from "effect/socket/Socket"
import * as MeshError from "@makima-stream/core/MeshError"
import type { Frame, Link } from "./scriptedLink.ts"
import type { ScriptedServer } from "./scriptedServer.ts"
import * as SocketErrors from "./socketErrors.ts"

export interface Options {
  readonly clock: Clock
  /** All times in milliseconds. */
  readonly connectTimeout: number
  readonly heartbeat: { readonly interval: number; readonly deadline: number } | undefined
  readonly maxBatch: number
}

/** Waits until a condition on the server holds. */
const watchUntil = (server: ScriptedServer, condition: () => boolean): Effect.Effect<void> =>
  Effect.callback<void>((resume) => {
    if (condition()) return resume(Effect.void)
    const watcher = () => {
      if (!condition()) return
      server.watchers.delete(watcher)
      resume(Effect.void)
    }
    server.watchers.add(watcher)
    return Effect.sync(() => server.watchers.delete(watcher))
  })

export const make = (server: ScriptedServer, options: Options): Socket.Socket => {
  const { clock, connectTimeout, heartbeat, maxBatch } = options
  const byScope = new WeakMap<Scope.Scope, Link>()

  /** The heartbeat, in virtual time. It fails only while the connection is frozen. */
  const watchSilence = (link: Link, interval: number, deadline: number) =>
    watchUntil(server, () => link.frozen).pipe(
      Effect.andThen(
        Effect.raceFirst(
          Effect.as(Effect.sleep(interval + deadline), true),
          Effect.as(
            watchUntil(server, () => !link.frozen),
            false
          )
        )
      ),
      Effect.map((silent) => {
        if (!silent) return
        link.abandon(SocketErrors.ended(new MeshError.HeartbeatTimeout({ deadlineMillis: deadline })))
      }),
      Effect.repeat({ until: () => !link.open })
    )

  const timesOut = (after: number) =>
    Effect.andThen(
      Effect.sleep(after),
      Effect.fail(SocketErrors.dialFailed(new MeshError.DialTimeout({ timeoutMillis: connectTimeout })))
    )

  const handshake = Effect.gen(function* () {
    server.dial()
    const delay = server.dials.delayMillis
    if (delay >= connectTimeout) {
      server.stalled()
      return yield* timesOut(connectTimeout)
    }
    if (delay > 0) yield* Effect.sleep(delay)
    const fault = server.nextDialFault()
    if (fault === undefined) return
    if (fault._tag === "Stall") return yield* timesOut(connectTimeout - delay)
    const retryAfter = Object.entries(fault.headers).find(([name]) => name.toLowerCase() === "retry-after")?.[1]
    const retryAfterMillis = parseRetryAfter(retryAfter, clock.currentTimeMillisUnsafe())
    return yield* SocketErrors.dialFailed(
      new MeshError.HandshakeRejected({
        status: fault.status,
        ...(retryAfterMillis === undefined ? {} : { retryAfterMillis })
      })
    )
  })

  const reader: Socket.Socket["reader"] = Effect.gen(function* () {
    const scope = yield* Effect.scope
    yield* handshake
    // `accept` wakes a test that waits for the connection. That test may interrupt this dial before `accept` returns.
    const link = yield* Effect.acquireRelease(
      Effect.sync(() => server.accept()),
      (link) => Effect.sync(() => link.release())
    )
    byScope.set(scope, link)
    if (heartbeat !== undefined) {
      yield* Effect.forkIn(watchSilence(link, heartbeat.interval, heartbeat.deadline), scope)
    }

    const arrival = Effect.callback<void>((resume) => {
      if (link.inbox.length > 0 || link.error !== undefined || link.released) return resume(Effect.void)
      link.notify = () => {
        link.notify = undefined
        resume(Effect.void)
      }
      return Effect.sync(() => {
        link.notify = undefined
      })
    })
    const take = Effect.suspend(() => {
      const batch = server.take(link, maxBatch)
      return isReadonlyArrayNonEmpty(batch)
        ? Effect.succeed(batch)
        : Effect.fail(link.error ?? SocketErrors.closed(1006))
    })
    return { pull: Effect.andThen(arrival, take), upgrade: Socket.SocketUpgradeError.unsupported }
  })

  const write = (link: Link, frames: ReadonlyArray<Frame | Socket.CloseEvent>) =>
    Effect.suspend(() => {
      for (const frame of frames) {
        if (!link.open) {
          return Effect.fail(
            new Socket.SocketError({ reason: new Socket.SocketWriteError({ cause: new Error("not connected") }) })
          )
        }
        if (Socket.isCloseEvent(frame)) link.hangUp(frame.code, frame.reason)
        else link.receive(frame)
      }
      return Effect.void
    })

  // A writer belongs to the reader of its scope. Without one it waits for the next connection, as in Effect's sockets.
  const writer: Socket.Socket["writer"] = Effect.map(Effect.scope, (scope) => {
    const ownLink: Effect.Effect<Link> = Effect.suspend(() => {
      const link = byScope.get(scope) ?? server.newestOpen()
      return link === undefined
        ? Effect.andThen(
            watchUntil(server, () => server.newestOpen() !== undefined),
            ownLink
          )
        : Effect.succeed(link)
    })
    return {
      write: (chunk) => Effect.flatMap(ownLink, (link) => write(link, [chunk])),
      writeAll: (chunks) => Effect.flatMap(ownLink, (link) => write(link, chunks))
    }
  })

  return Socket.make({ reader, writer })
}

/** Seconds or an HTTP date (RFC 9110, section 10.2.3), in milliseconds from now. */
const parseRetryAfter = (header: string | undefined, now: number): number | undefined => {
  const value = header?.trim() ?? ""
  if (/^\d+$/.test(value)) return Number(value) * 1000
  // `Date.parse` accepts nearly anything; an HTTP date begins with the day of the week.
  if (!/^[A-Z][a-z]{2,8},? /.test(value)) return undefined
  const date = Date.parse(value)
  return Number.isNaN(date) ? undefined : Math.max(0, date - now)
}
