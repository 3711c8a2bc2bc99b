/**
 * Encodes a request as the text of its frame, without the schemas. Returns what `ClientMessage.encodeFrame` returns, which
 * a property test checks.
 *
 * A session sends only requests that its own table of subscriptions made, so they are not validated. A task id that is
 * invalid because of a cast is refused by the server; a defect here would end the connection for all of its consumers.
 */
import type { TaskId } from "../../TaskId.ts"

interface Request {
  readonly _tag: string
  readonly taskId?: TaskId
}

/** Encodes a `ClientMessage`. On the wire, the `type` of a request is its tag, uncapitalized. */
export const encode = ({ _tag, taskId }: Request): string =>
  // An undefined member is left out.
  JSON.stringify({ type: _tag.charAt(0).toLowerCase() + _tag.slice(1), taskId })
