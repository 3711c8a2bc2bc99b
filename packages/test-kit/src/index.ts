/**
 * @since 0.1.0
 */
export * as Audit from "./Audit.ts"
export * as ChaosProxy from "./ChaosProxy.ts"
export * as FaultSchedule from "./FaultSchedule.ts"
export * as LogLaws from "./LogLaws.ts"
export * as MergeAudit from "./MergeAudit.ts"
export * as MeshArbitrary from "./MeshArbitrary.ts"
export * as MeshServer from "./MeshServer.ts"
export * as MockMeshServer from "./MockMeshServer.ts"
export * as Recording from "./Recording.ts"
export * as ScriptedMesh from "./ScriptedMesh.ts"
export * as ServerLog from "./ServerLog.ts"
export * as Simulation from "./Simulation.ts"
export * as TransportLaws from "./TransportLaws.ts"
export * as Workload from "./Workload.ts"
