/** A whole number of at least `min`. `NaN` counts as `min`. */
export const atLeast = (min: number, value: number): number => (value >= min ? Math.floor(value) : min)

/** A number of at least 0, fractions included. `NaN` counts as 0. */
export const notNegative = (value: number): number => (value > 0 ? value : 0)
