/**
 * @since 0.1.0
 */
export * as MeshConfig from "./MeshConfig.ts"
export * as NodeMeshSocket from "./NodeMeshSocket.ts"
