/**
 * Sums of floating-point numbers without rounding: adding and then subtracting a
 * number returns exactly the previous sum.
 *
 * Every finite double is a whole multiple of 2^-1074, so a sum is a `bigint` that
 * counts these. One addition takes well under a microsecond for any sum.
 */

/** An exact sum, as a multiple of 2^-1074. */
export type ExactSum = bigint

const mantissaBits = 52n
const mantissaMask = (1n << mantissaBits) - 1n

/** A finite number as an exact sum. Numbers that are not finite count as 0. */
export const fromNumber = (value: number): ExactSum => {
  if (!Number.isFinite(value) || value === 0) return 0n
  const bits = new BigUint64Array(new Float64Array([value]).buffer)[0] ?? 0n
  const exponent = (bits >> mantissaBits) & 0x7ffn
  const mantissa = bits & mantissaMask
  // A subnormal number (exponent 0) has no hidden bit, and the same scale as exponent 1.
  const magnitude = exponent === 0n ? mantissa : (mantissa | (1n << mantissaBits)) << (exponent - 1n)
  return value < 0 ? -magnitude : magnitude
}

/** The nearest number, at most `Number.MAX_VALUE` in either direction. */
export const toNumber = (sum: ExactSum): number => {
  if (sum === 0n) return 0
  const magnitude = sum < 0n ? -sum : sum
  // Keeps more than 60 leading bits. The last one is set if any lower bit is, so that `Number` rounds correctly.
  const shift = Math.max(0, (magnitude.toString(16).length - 16) * 4)
  const top = magnitude >> BigInt(shift)
  const isCut = top << BigInt(shift) !== magnitude
  const value = Number(isCut ? top | 1n : top) * 2 ** (shift - 1074)
  const bounded = Math.min(value, Number.MAX_VALUE)
  return sum < 0n ? -bounded : bounded
}
