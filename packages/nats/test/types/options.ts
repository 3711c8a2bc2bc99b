/**
 * A misspelt option is a type error at its name, for each public function with options. Nothing here runs: the file is its
 * own test, as long as it compiles. Each line has one mistake, the name of the option.
 */
import type * as Config from "effect/Config"
import * as JetStreamLog from "@makima-stream/nats/JetStreamLog"

declare const text: Config.Config<string>

export const misspelt = () => [
  // @ts-expect-error servers is misspelt
  JetStreamLog.make({ server: "a" }),
  // @ts-expect-error replicas is misspelt
  JetStreamLog.layer({ replica: 1 }),
  // @ts-expect-error feed is misspelt
  JetStreamLog.layerConfig({ fed: text })
]
