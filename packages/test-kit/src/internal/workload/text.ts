/** Generated text of a given size, and other random choices of a workload. */
import type { NonEmptyReadonlyArray } from "effect/Array"
import type * as Random from "../random.ts"

// Contains characters outside ASCII, and some that JSON escapes, so that sizes in characters and in bytes differ.
const words = `The agent reads the plan, opens "packages/core", runs the tests — two fail — and looks for the reason: \
naïve retries. マキマ says: "make it honest". It writes a fix, a test that was red before, and a line for the changelog.
`

/** A text of exactly `size` characters, which starts with `label` if it fits. */
export const make = (random: Random.Random, size: number, label: string): string => {
  const start = words.slice(random.below(words.length)).replace(/^\S*\s/, "")
  return `${label} ${start}${words.repeat(Math.ceil(size / words.length))}`.slice(0, size)
}

// Each character takes one byte in a frame.
const ascii = words.replaceAll(/[^ -~]|"/g, "-").repeat(3)

/** A text of at most 250 characters, each of which takes one byte in a frame. */
export const makeAscii = (random: Random.Random, size: () => number): string => {
  const from = random.below(words.length)
  return ascii.slice(from, from + size())
}

/** One of several values. */
export const pick = <A>(random: Random.Random, [first, ...others]: NonEmptyReadonlyArray<A>): A =>
  others[random.below(others.length + 1) - 1] ?? first
