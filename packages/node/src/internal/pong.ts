/**
 * Answers pings, at most once a tick.
 *
 * Pings that wait behind a pause are all read at once. `ws` treats more
 * than 60 consecutive answers as an attack and ends the connection, and one answer to the
 * last ping is enough (RFC 6455, section 5.5.3).
 */

/** Returns the listener to a connection's pings. `answer` is called in a microtask, with the payload of the last ping. */
export const coalesce = (answer: (payload: Buffer) => void): ((payload: Buffer) => void) => {
  let last: Buffer | undefined
  const flush = () => {
    const payload = last
    last = undefined
    if (payload !== undefined) answer(payload)
  }
  return (payload) => {
    if (last === undefined) queueMicrotask(flush)
    last = payload
  }
}
