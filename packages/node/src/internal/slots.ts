/**
 * Determines the connection that a writer writes to.
 *
 * A writer that was acquired in the same scope as a reader belongs to that
 * reader's connection, and fails once that has ended. Any other writer writes to
 * the connection that opened last, and waits if there is none.
 */
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import type * as Scope from "effect/Scope"
import type * as Socket from "effect/socket/Socket"
import type { Connection } from "./connection.ts"

interface Slot {
  connection: Connection | undefined
  readonly opened: Latch.Latch
}

export interface Slots {
  /** Called when a reader dials in a scope. From now on the writers of this scope wait. */
  readonly dialling: (scope: Scope.Scope) => void
  /** Called when the connection of that scope is open. */
  readonly opened: (scope: Scope.Scope, connection: Connection) => void
  /** Called at the end of a connection. Writers of other scopes then wait for the next one. */
  readonly ended: (connection: Connection) => void
  readonly writer: Socket.Socket["writer"]
}

const makeSlot = (): Slot => ({ connection: undefined, opened: Latch.makeUnsafe(false) })

const empty = (slot: Slot): void => {
  slot.connection = undefined
  slot.opened.closeUnsafe()
}

export const make = (): Slots => {
  const anyScope = makeSlot()
  const scopes = new WeakMap<Scope.Scope, Slot>()

  const slotOf = (scope: Scope.Scope): Slot => {
    const slot = scopes.get(scope) ?? makeSlot()
    scopes.set(scope, slot)
    return slot
  }

  return {
    dialling: (scope) => empty(slotOf(scope)),
    opened(scope, connection) {
      for (const slot of [slotOf(scope), anyScope]) {
        slot.connection = connection
        slot.opened.openUnsafe()
      }
    },
    ended(connection) {
      if (anyScope.connection === connection) empty(anyScope)
    },
    writer: Effect.map(Effect.scope, (scope) => {
      const withConnection = (
        write: (connection: Connection) => Effect.Effect<void, Socket.SocketError>
      ): Effect.Effect<void, Socket.SocketError> =>
        Effect.suspend(() => {
          const slot = scopes.get(scope) ?? anyScope
          return slot.connection === undefined
            ? Effect.andThen(slot.opened.await, withConnection(write))
            : write(slot.connection)
        })
      return {
        write: (chunk) => withConnection((connection) => connection.write(chunk)),
        writeAll: (chunks) => withConnection((connection) => connection.writeAll(chunks))
      }
    })
  }
}
