/**
 * All modules of the package. A subpath such as `@makima-stream/core/MeshStream` loads one module and what it needs, which
 * starts faster.
 *
 * @since 0.1.0
 */
export * as ClientMessage from "./ClientMessage.ts"
export * as CostLedger from "./CostLedger.ts"
export * as DecodeError from "./DecodeError.ts"
export * as Endpoint from "./Endpoint.ts"
export * as GatewayMessages from "./GatewayMessages.ts"
export * as Interest from "./Interest.ts"
export * as Merge from "./Merge.ts"
export * as MeshClient from "./MeshClient.ts"
export * as MeshError from "./MeshError.ts"
export * as MeshEvent from "./MeshEvent.ts"
export * as MeshMetrics from "./MeshMetrics.ts"
export * as MeshSession from "./MeshSession.ts"
export * as MeshSocket from "./MeshSocket.ts"
export * as MeshStream from "./MeshStream.ts"
export * as Projection from "./Projection.ts"
export * as ReconnectPolicy from "./ReconnectPolicy.ts"
export * as Repair from "./Repair.ts"
export * as ServerMessage from "./ServerMessage.ts"
export * as TaskBoard from "./TaskBoard.ts"
export * as TaskId from "./TaskId.ts"
export * as TaskState from "./TaskState.ts"
export * as TaskStatus from "./TaskStatus.ts"
