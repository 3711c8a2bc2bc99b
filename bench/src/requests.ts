/**
 * The makima side of a connection: reads requests and writes their acknowledgements,
 * without `ws`, which takes longer for 10,000 requests than the client that sends them. The
 * server must not be what a row measures.
 */
import type { Duplex } from "node:stream"

const acknowledgements: ReadonlyMap<string, Buffer> = new Map(
  [
    ["subscribeAll", "subscribedAll"],
    ["unsubscribeAll", "unsubscribedAll"],
    ["subscribe", "subscribed"],
    ["unsubscribe", "unsubscribed"],
    ["subscribeOutput", "outputSubscribed"],
    ["unsubscribeOutput", "outputUnsubscribed"]
  ].map(([request, acknowledgement]) => [String(request), Buffer.from(`{"type":"${acknowledgement}"`)])
)

const start = `{"type":"`.length
const quote = 0x22
const text = 0x81
const ping = 0x89
const pong = 0x8a
const close = 0x88
/** The header of a client's frame whose length takes one byte: two bytes, and the mask. */
const headerBytes = 6
/** One frame, as bytes and as the words that are unmasked. */
const words = new Int32Array(32)
const bytes = Buffer.from(words.buffer)

/**
 * Takes a socket over from `ws`, and answers the frames of a client: requests, pings and
 * the close. Every frame must be shorter than 126 bytes. Calls `onRequests` with the number
 * of requests in each chunk that has some.
 */
export const take = (socket: Duplex, onRequests: (count: number) => void): void => {
  let rest: Buffer = Buffer.alloc(0)
  socket.removeAllListeners("data")
  socket.on("data", (chunk: Buffer) => {
    const data = rest.length === 0 ? chunk : Buffer.concat([rest, chunk])
    const out = Buffer.allocUnsafe(data.length * 2)
    let size = 0
    let count = 0
    let at = 0
    for (;;) {
      const length = (data[at + 1] ?? 0) & 127
      if (length > 125) throw new Error("A request of the benchmark is too long")
      const to = at + headerBytes + length
      if (data.length < to) break
      data.copy(bytes, 0, at + headerBytes, to)
      const mask = data.readInt32LE(at + 2)
      for (let i = 0; i * 4 < length; i++) words[i] = (words[i] ?? 0) ^ mask
      switch (data[at]) {
        case text: {
          count++
          const end = bytes.indexOf(quote, start)
          const acknowledgement = acknowledgements.get(bytes.toString("latin1", start, end))
          if (acknowledgement === undefined) break
          out[size] = text
          out[size + 1] = acknowledgement.length + length - end - 1
          size += 2
          size += acknowledgement.copy(out, size)
          size += bytes.copy(out, size, end + 1, length)
          break
        }
        case ping:
          out[size] = pong
          out[size + 1] = length
          size += 2
          size += bytes.copy(out, size, 0, length)
          break
        case close:
          socket.end()
          return
      }
      at = to
    }
    rest = data.subarray(at)
    if (count > 0) onRequests(count)
    if (size > 0 && !socket.destroyed) socket.write(out.subarray(0, size))
  })
}
