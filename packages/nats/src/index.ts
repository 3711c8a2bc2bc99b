/**
 * The kept feed on NATS JetStream.
 *
 * @since 0.2.0
 */
export type { MeshEvent } from "@makima-stream/core/MeshEvent"
