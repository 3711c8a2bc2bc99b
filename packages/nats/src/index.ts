/**
 * All modules of the package. A subpath such as `@makima-stream/nats/JetStreamLog` loads one module and what it needs.
 *
 * @since 0.2.0
 */
export * as JetStreamLog from "./JetStreamLog.ts"
