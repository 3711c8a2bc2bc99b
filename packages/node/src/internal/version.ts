/** The version of this package, for the `user-agent`. A test checks that it equals `package.json`. */
export const version = "0.1.0"
