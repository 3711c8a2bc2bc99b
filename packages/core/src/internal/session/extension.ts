/**
 * The part of a decoder of additional messages that a session uses. Types only: the code
 * is in the value of the option `extension`, so that other programs do not load it.
 */
import type { DecodeError } from "../../DecodeError.ts"
import type { Lifecycle, Restated } from "../../MeshEvent.ts"
import type { UnknownMessage } from "../../ServerMessage.ts"

/** An element that an additional message stands for. */
export type Extended = Restated | Lifecycle

/**
 * The value of the option `extension`. `GatewayMessages.extension` is one.
 *
 * @category options
 * @since 0.2.0
 */
export interface Extension<A = Extended> {
  /**
   * Decodes a message whose type the protocol does not define. `epoch` is the
   * connection, `size` is the size of the frame. Returns `undefined` for a type that it does
   * not know, and a `DecodeError` if a member of a type that it knows is invalid.
   */
  readonly decode: (message: UnknownMessage["raw"], epoch: number, size: number) => A | DecodeError | undefined
}
