/**
 * Serves the feed again: WebSocket, server-sent events, JSON and a dashboard.
 *
 * @since 0.2.0
 */
export type { MeshEvent } from "@makima-stream/core/MeshEvent"
