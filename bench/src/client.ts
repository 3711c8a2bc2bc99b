/**
 * The client process of a throughput run: runs one variant, from the first to the last
 * measured frame. Its first message is the order; it answers with the measurement.
 */
import type { VariantName } from "./rows.ts"
import * as Meter from "./meter.ts"
import type { Job, Variant } from "./variants/variant.ts"

export interface Order {
  readonly port: number
  readonly variant: VariantName
  readonly jit: boolean
  readonly wanted: ReadonlyArray<string>
  /** How many matching outputs warm the process up, and how many are measured. */
  readonly warm: number
  readonly measured: number
}

// Each run loads only what it measures.
const load = async (name: VariantName): Promise<Variant> => {
  switch (name) {
    case "bare":
    case "bareByTask":
      return (await import("./variants/bare.ts"))[name]
    case "connect":
    case "events":
    case "repair":
    case "client":
    case "clientByTask":
      return (await import("./variants/mesh.ts"))[name]
    case "pair":
      return (await import("./variants/pair.ts"))[name]
    case "rxjs":
    case "graphqlWs":
    case "centrifuge":
    case "partysocket":
      return (await import("./variants/peers.ts"))[name]
    case "handWritten":
      return (await import("./variants/handWritten.ts"))[name]
  }
}

process.once("message", async (order: Order) => {
  const { port, variant: name, jit, wanted, warm, measured } = order
  if (jit) await import("effect/schema/SchemaJITCompiler/enable")
  const variant = await load(name)
  const meter = Meter.make(warm, measured)
  const job: Job = { port, wanted: new Set(wanted), output: meter.output }
  variant.start(job)
  process.send?.({ expects: variant.expects(job), connections: variant.connections ?? 1 })
  const usage = await meter.done
  process.send?.(usage)
})
process.on("disconnect", () => process.exit())
