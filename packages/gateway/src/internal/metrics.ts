/** The metrics of the gateway, in the format of Prometheus. */
import type * as Context from "effect/Context"

export interface Values {
  readonly clients: number
  readonly subscriptions: number
  readonly tasks: number
  readonly connected: boolean
  readonly events: number
  readonly deliveries: number
  readonly dropped: number
  readonly closedForGaps: number
  readonly closedAsSlow: number
}

const families = (values: Values): ReadonlyArray<readonly [string, "gauge" | "counter", string, number]> => [
  ["clients", "gauge", "Open clients", values.clients],
  ["subscriptions", "gauge", "Subscriptions of all clients, each once", values.subscriptions],
  ["tasks", "gauge", "Tasks on the board", values.tasks],
  ["upstream_connected", "gauge", "1 while the connection to the server is open", values.connected ? 1 : 0],
  ["events_total", "counter", "Events of the connection to the server", values.events],
  ["deliveries_total", "counter", "Events that were passed to clients", values.deliveries],
  ["dropped_total", "counter", "Events that were dropped for slow clients, and marked", values.dropped],
  ["closed_for_gaps_total", "counter", "Clients without marks that were closed after a gap", values.closedForGaps],
  ["closed_as_slow_total", "counter", "Clients that were closed because they were too slow", values.closedAsSlow]
]

/** Returns the gateway's own metrics, then those of the program. */
export const format = async (values: Values, context: Context.Context<never>): Promise<string> => {
  // Loaded at the first request: it loads the HTTP modules of Effect, which nothing else here needs.
  const Prometheus = await import("effect/observability/PrometheusMetrics")
  const own = families(values).map(
    ([name, type, help, value]) =>
      `# HELP makima_gateway_${name} ${help}\n# TYPE makima_gateway_${name} ${type}\nmakima_gateway_${name} ${value}\n`
  )
  return own.join("") + Prometheus.formatUnsafe(context)
}
