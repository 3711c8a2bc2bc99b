/**
 * Regular expressions for the values of members, in a frame as servers write it: no white space, and a member is `null` or
 * one of these. A text that matches is a valid value. Each has one group. A value that does not match may still be valid.
 */

/** A character that a JSON string contains without an escape. */
export const char = String.raw`[^"\\\x00-\x1f]`
/** The inside of a string without escapes, and what follows the backslash of an escape. */
export const plain = `${char}*`
export const escape = String.raw`(?:["\\/bfnrt]|u[0-9a-fA-F]{4})`

/** The inside of a string. */
const text = String.raw`${plain}(?:\\${escape}${plain})*`
/** A non-negative integer that a number represents exactly. */
const digits = "(?:0|[1-9][0-9]{0,14})"
const decimal = String.raw`-?${digits}(?:\.[0-9]+)?`
const bool = "true|false"
const scalar = `(?:"${text}"|${decimal}|${bool}|null)`

export const string = `"(${plain})"`
export const int = `(${digits})`
export const number = `(${decimal})`
export const boolean = `(${bool})`
export const strings = String.raw`\[((?:"${plain}"(?:,"${plain}")*)?)\]`
/** What most tools receive: a plain value, or an object of plain values. */
export const toolInput = String.raw`(${scalar}|\{(?:"${text}":${scalar}(?:,"${text}":${scalar})*)?\})`
