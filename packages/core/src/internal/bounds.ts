/**
 * Normalises an option that is a bound: rounds it down to a whole number, and returns `min` if it is below `min` or `NaN`.
 * `Infinity` stays as it is. A comparison with `NaN` is always false, so `NaN` as a bound would mean no bound.
 */
export const atLeast = (min: number, value: number): number => (value >= min ? Math.floor(value) : min)

/**
 * Normalises an option that is one of some strings: returns the first of them for
 * `undefined`, and throws a `TypeError` for any other value. A misspelt value must not
 * mean the default.
 */
export const oneOf = <A extends string>(option: string, value: A | undefined, values: readonly [A, ...Array<A>]): A => {
  if (value === undefined) return values[0]
  if (values.includes(value)) return value
  throw new TypeError(`The option "${option}" must be "${values.join('" or "')}", and is ${JSON.stringify(value)}`)
}
