/**
 * Takes the frequent frames out of what the network brings before `ws` sees
 * them: text frames that are whole in a chunk. Everything else goes to `ws` as
 * it came, so that `ws` still keeps every rule of the protocol. For a small
 * frame `ws` makes half a dozen views; this makes none.
 *
 * Invariants: every byte goes one way, once, in the order of the wire; `ws` gets
 * whole frames, or the parts of one frame in a row; the first frame that is not
 * whole text, whole binary, a ping or a pong, as a server may send it, hands the
 * connection over: from its first byte on `ws` gets everything. So whatever can
 * end a connection, and whatever has a state, is for `ws` alone.
 */
export interface Options {
  /** A text frame: the bytes from `start` to `end` of a chunk that belongs to somebody else. */
  readonly onText: (chunk: Buffer, start: number, end: number) => void
  /** Bytes for `ws`. */
  readonly pass: (bytes: Buffer) => void
  /** Called once, before `ws` gets the first of everything. */
  readonly onHandOver: () => void
  /** A frame that is longer is for `ws` to refuse. */
  readonly maxFrameBytes: number
}

export interface Splitter {
  readonly write: (chunk: Buffer) => void
  /** From now on `ws` gets everything, beginning with what is held here. */
  readonly handOver: () => void
}

// The first byte of a frame: FIN, no reserved bit, and the opcode.
const text = 0x81
const binary = 0x82
const ping = 0x89
const pong = 0x8a

export const make = ({ maxFrameBytes, onHandOver, onText, pass }: Options): Splitter => {
  /** The start of a frame whose length is not known yet. */
  let held: Buffer | undefined
  /** How much is still to come of a frame of which `ws` has the beginning. */
  let passing = 0
  let isOver = false

  const handOver = (): void => {
    if (isOver) return
    isOver = true
    onHandOver()
    const bytes = held
    held = undefined
    if (bytes !== undefined) pass(bytes)
  }

  const split = (chunk: Buffer): void => {
    const size = chunk.length
    let at = Math.min(passing, size)
    if (at > 0) {
      passing -= at
      pass(chunk.subarray(0, at))
    }
    while (at < size) {
      // What a frame led to may have handed over.
      if (isOver) break
      const kind = chunk[at]
      // The highest bit says that the frame is masked, which a server's never is. Not here yet: nothing is known.
      const code = chunk[at + 1] ?? 0
      const isExpected =
        code < 128 && (kind === text || kind === binary || ((kind === ping || kind === pong) && code < 126))
      const start = at + (code < 126 ? 2 : code === 126 ? 4 : 10)
      if (size < start && (isExpected || size < at + 2)) {
        // Less than ten bytes, copied, so that the chunk may go.
        held = Buffer.from(chunk.subarray(at))
        return
      }
      if (!isExpected) {
        handOver()
        break
      }
      const length =
        code < 126 ? code : code === 126 ? chunk.readUInt16BE(at + 2) : Number(chunk.readBigUInt64BE(at + 2))
      if (length > maxFrameBytes) {
        handOver()
        break
      }
      const end = start + length
      if (kind === text && end <= size) {
        onText(chunk, start, end)
      } else {
        passing = Math.max(0, end - size)
        pass(chunk.subarray(at, Math.min(end, size)))
      }
      at = end
    }
    if (at < size) pass(chunk.subarray(at))
  }

  return {
    write(chunk) {
      if (held === undefined) return split(chunk)
      const whole = Buffer.concat([held, chunk])
      held = undefined
      split(whole)
    },
    handOver
  }
}
