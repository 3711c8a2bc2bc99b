/**
 * The part of a repair that `MeshClient` uses. Types only: the code is in the value of the
 * option `repair`, so that a program without a repair does not load it.
 */
import type { NonEmptyReadonlyArray } from "effect/Array"
import type * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { Interest } from "../../Interest.ts"
import type { MeshError } from "../../MeshError.ts"
import type { RepairElement, ResyncReasonTag } from "../../MeshEvent.ts"
import type { TaskSnapshot } from "./machine.ts"

type Batch<A> = NonEmptyReadonlyArray<A>

/** Where the gap of one consumer is. */
export interface Place {
  readonly epoch: number
  /** Why the consumer needs the states that the client knows. Absent at a mark that is repaired for all consumers. */
  readonly reason?: ResyncReasonTag | undefined
  readonly unconfirmed: number
}

/** A feed that is repaired. */
export interface Repaired<A, E> {
  readonly pull: Effect.Effect<Batch<A | RepairElement>, E | MeshError>
  /**
   * The known states of the tasks of an interest, for a consumer that has missed them. Ends
   * with a `Repaired` if no gap is open.
   */
  readonly inform: (interest: Interest, place: Place) => Array<RepairElement>
}

/** Repairs the feed of a client. */
export type Attach = <A extends { readonly _tag: string }, E>(
  upstream: Effect.Effect<Batch<A>, E>,
  scope: Scope.Scope,
  onSnapshot: (snapshot: ReadonlyArray<TaskSnapshot>) => void
) => Effect.Effect<Repaired<A, E>>

/** The value of the option `repair`. */
export interface Repair {
  /** @internal */
  readonly attach: Attach
}
