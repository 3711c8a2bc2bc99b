/**
 * All modules of the package. A subpath such as `@makima-stream/gateway/Gateway` loads one module and what it needs, which
 * starts faster.
 *
 * @since 0.2.0
 */
export * as Dashboard from "./Dashboard.ts"
export * as Gateway from "./Gateway.ts"
export * as GatewayError from "./GatewayError.ts"
