/**
 * The command makima-stream: the Makima task feed at a terminal.
 *
 * @since 0.2.0
 */
export type { MeshEvent } from "@makima-stream/core/MeshEvent"
