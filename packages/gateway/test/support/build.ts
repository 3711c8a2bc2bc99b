/** Builds the page once before its tests, if there is a browser to show it in and a source has changed since the last time. */
import * as Build from "../../scripts/dashboard.ts"
import { executable } from "../browser/support/executable.ts"

export default async (): Promise<void> => {
  if (executable !== undefined) await Build.ensure()
}
