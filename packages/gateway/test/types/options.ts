/**
 * A misspelt option is a type error at its name, for each public function with options. Nothing here runs: the file is its
 * own test, as long as it compiles. Each line has one mistake, the name of the option.
 */
import type * as Config from "effect/Config"
import * as Dashboard from "@makima-stream/gateway/Dashboard"
import * as Gateway from "@makima-stream/gateway/Gateway"

declare const number: Config.Config<number>

export const misspelt = () => [
  // @ts-expect-error port is misspelt
  Gateway.make({ prot: 1 }),
  // @ts-expect-error policy is misspelt
  Gateway.layer({ upstream: { polcy: {} } }),
  // @ts-expect-error maxTasks is misspelt
  Gateway.make({ board: { maxTask: 1 } }),
  // @ts-expect-error maxClients is misspelt
  Gateway.layerConfig({ maxClient: number }),
  // @ts-expect-error directory is misspelt
  Dashboard.assets({ dir: "a" })
]
