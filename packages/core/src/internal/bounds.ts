/**
 * Normalises an option that is a bound: rounds it down to a whole number, and returns `min` if it is below `min` or `NaN`.
 * `Infinity` stays as it is. A comparison with `NaN` is always false, so `NaN` as a bound would mean no bound.
 */
export const atLeast = (min: number, value: number): number => (value >= min ? Math.floor(value) : min)
