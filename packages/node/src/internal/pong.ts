/**
 * Answers pings, at most once in a tick.
 *
 * After a pause, all waiting pings are read at once. `ws` treats more than 60 consecutive
 * answers as an attack and ends the connection. One answer to the last ping is enough
 * (RFC 6455, section 5.5.3).
 */

/** Returns a listener for a connection's pings. It calls `answer` in a microtask, with the payload of the last ping. */
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
