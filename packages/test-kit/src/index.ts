/**
 * @since 0.1.0
 */
export * as ScriptedMesh from "./ScriptedMesh.ts"
