/** A whole number of at least `min`. `NaN` counts as `min`. */
export const atLeast = (min: number, value: number): number => (value >= min ? Math.floor(value) : min)

/** A number of at least 0, fractions included. `NaN` counts as 0. */
export const notNegative = (value: number): number => (value > 0 ? value : 0)

/**
 * Normalises an option that is one of some strings: returns the first of them for
 * `undefined`, and throws a `TypeError` for any other value. A misspelt value must not
 * mean the default.
 */
export const oneOf = <A extends string>(option: string, value: A | undefined, values: readonly [A, ...Array<A>]): A => {
  if (value === undefined) return values[0]
  if (values.includes(value)) return value
  const expected = values.map((each) => `"${each}"`).join(" or ")
  const given = typeof value === "string" ? JSON.stringify(value) : typeof value
  throw new TypeError(`The option "${option}" must be ${expected}, and is ${given}`)
}
