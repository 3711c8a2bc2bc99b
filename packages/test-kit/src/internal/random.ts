/**
 * A small seeded generator of pseudo-random numbers (sfc32), for values that must be the same on every machine and in every
 * run. Effect's `Random` needs an effect, but a workload is a plain value.
 *
 * Invariant: the numbers depend only on the seed. Two generators with the same seed return the same numbers in the same
 * order.
 */
export interface Random {
  /** Returns 32 random bits as an unsigned integer. */
  readonly bits: () => number
  /** Returns a number from 0 (inclusive) to 1 (exclusive). */
  readonly next: () => number
  /** Returns an integer from 0 (inclusive) to `bound` (exclusive). */
  readonly below: (bound: number) => number
  /** Returns true with the given probability, from 0 (never) to 1 (always). */
  readonly chance: (ratio: number) => boolean
  /** Returns an exponentially distributed number with this mean, cut off at five times the mean. */
  readonly exponential: (mean: number) => number
}

/** Creates the generator for a seed. */
export const make = (seed: string): Random => {
  let [a, b, c, counter] = hash(seed)

  const bits = (): number => {
    const t = (((a + b) | 0) + counter) | 0
    counter = (counter + 1) | 0
    a = b ^ (b >>> 9)
    b = (c + (c << 3)) | 0
    c = (c << 21) | (c >>> 11)
    c = (c + t) | 0
    return t >>> 0
  }
  // The first numbers are correlated with the seed, so they are skipped.
  for (let i = 0; i < 12; i++) bits()

  const next = (): number => bits() / 0x1_0000_0000

  return {
    bits,
    next,
    below: (bound) => Math.floor(next() * bound),
    chance: (ratio) => next() < ratio,
    exponential: (mean) => Math.min(5 * mean, -Math.log(1 - next()) * mean)
  }
}

/** Hashes a text to four words of state (FNV-1a, once for each word). */
const hash = (text: string): [number, number, number, number] => {
  const word = (start: number): number => {
    let h = start
    for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), 0x01000193)
    return h | 0
  }
  return [word(0x811c9dc5), word(0x9e3779b9), word(0x85ebca6b), 1]
}
