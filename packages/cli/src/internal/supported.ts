/** The oldest Node that runs the command: as `engines` of `package.json`. */
const oldest = { major: 22, minor: 19 }

/** Returns the message for a version of Node that is too old, such as `20.20.2`; `undefined` for others. */
export const unsupported = (nodeVersion: string): string | undefined => {
  const [major = 0, minor = 0] = nodeVersion.split(".").map(Number)
  const isSupported = major > oldest.major || (major === oldest.major && minor >= oldest.minor)
  return isSupported
    ? undefined
    : `makima-stream needs Node ${oldest.major}.${oldest.minor} or newer. This is Node ${nodeVersion}`
}
