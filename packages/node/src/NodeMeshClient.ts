/**
 * The shared client on the socket for Node, as one layer for the common case.
 *
 * It is `MeshClient.layer` provided with `NodeMeshSocket.layer`.
 *
 * @since 0.1.0
 */
import * as Layer from "effect/Layer"
import * as MeshClient from "@makima-stream/core/MeshClient"
import type * as MeshConfig from "./MeshConfig.ts"
import * as NodeMeshSocket from "./NodeMeshSocket.ts"

/**
 * Options of `layer`.
 *
 * @category options
 * @since 0.2.0
 */
export interface Options {
  /** The server, the key, and the options of the socket. */
  readonly socket: NodeMeshSocket.Options
  /** The options of the client. Defaults to those of `MeshClient.layer`. */
  readonly client?: MeshClient.Options | undefined
}

/**
 * Options of `layerConfig`, which reads the server and the key from the environment.
 *
 * @category options
 * @since 0.2.0
 */
export interface ConfigOptions {
  /** The options of the socket. Defaults to those of `NodeMeshSocket.layerConfig`. */
  readonly socket?: NodeMeshSocket.ConnectionOptions | undefined
  /** The options of the client. Defaults to those of `MeshClient.layer`. */
  readonly client?: MeshClient.Options | undefined
}

/**
 * Provides a client of the server at `socket.url`.
 *
 * **Example** (A client of a local server)
 *
 * ```ts
 * import * as Layer from "effect/Layer"
 * import * as NodeMeshClient from "@makima-stream/node/NodeMeshClient"
 *
 * const live = NodeMeshClient.layer({
 *   socket: { url: "http://127.0.0.1:8080" },
 *   client: { connectionIdleTimeToLive: "1 minute" }
 * })
 * console.log(Layer.isLayer(live)) // true
 * ```
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (options: Options): Layer.Layer<MeshClient.MeshClient, NodeMeshSocket.SocketOptionsError> =>
  MeshClient.layer(options.client).pipe(Layer.provide(NodeMeshSocket.layer(options.socket)))

/**
 * Provides a client that is configured by the environment: `MAKIMA_API_URL`, by default
 * the public server, and `MAKIMA_API_KEY`, which is required.
 *
 * **Example** (The client of a deployed program)
 *
 * ```ts
 * import * as Layer from "effect/Layer"
 * import * as NodeMeshClient from "@makima-stream/node/NodeMeshClient"
 *
 * console.log(Layer.isLayer(NodeMeshClient.layerConfig())) // true
 * ```
 *
 * @category layers
 * @since 0.1.0
 */
export const layerConfig = (
  options?: ConfigOptions
): Layer.Layer<
  MeshClient.MeshClient,
  MeshConfig.MeshConfigError | NodeMeshSocket.InvalidOption | NodeMeshSocket.UnsupportedRuntime
> => MeshClient.layer(options?.client).pipe(Layer.provide(NodeMeshSocket.layerConfig(options?.socket)))
