/**
 * A bound from an option: a whole number of at least `min`. What is no number at
 * all counts as `min` too, since a comparison with `NaN` is never true, and a
 * bound of it would be none.
 */
export const atLeast = (min: number, value: number): number => (value >= min ? Math.floor(value) : min)
