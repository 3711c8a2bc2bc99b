/**
 * @since 0.1.0
 */
export * as MeshConfig from "./MeshConfig.ts"
export * as NodeMeshClient from "./NodeMeshClient.ts"
export * as NodeMeshSocket from "./NodeMeshSocket.ts"
