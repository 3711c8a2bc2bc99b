/** The environment variables. */
import * as Context from "effect/Context"

/** The environment variables. Defaults to those of the process; a test has its own. */
export const Environment = Context.Reference<Readonly<Record<string, string | undefined>>>(
  "@makima-stream/cli/internal/Environment",
  { defaultValue: () => process.env }
)
