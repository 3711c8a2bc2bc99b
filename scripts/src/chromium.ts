import { existsSync } from "node:fs"
import { delimiter, join } from "node:path"

const find = (): string | undefined => {
  const { CHROMIUM, PATH = "" } = process.env
  if (CHROMIUM !== undefined && CHROMIUM !== "") return CHROMIUM
  return PATH.split(delimiter)
    .flatMap((directory) => [join(directory, "chromium"), join(directory, "chromium-browser")])
    .find((path) => existsSync(path))
}

/** The path of Chromium: of the variable `CHROMIUM`, or on `PATH`. `undefined` if it is not installed. */
export const executable = find()
