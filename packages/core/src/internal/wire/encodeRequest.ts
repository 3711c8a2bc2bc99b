/**
 * The text of a request, as a session sends it: what `ClientMessage.encodeFrame`
 * gives, which a property test holds it to, without the schemas.
 *
 * A session sends nothing but what its own table of subscriptions made, so there
 * is nothing to validate. A task id that came around the types, by a cast, is
 * the server's to refuse: a defect here would end the connection for every other
 * consumer of it.
 */
import * as String from "effect/String"
import type { ClientMessage } from "../../ClientMessage.ts"

/** On the wire, the type of a request is its tag, uncapitalized. */
export const encode = ({ _tag, ...members }: ClientMessage): string =>
  JSON.stringify({ type: String.uncapitalize(_tag), ...members })
