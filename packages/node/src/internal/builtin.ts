/** Modules of Node whose import as a module is slow. */

/**
 * Returns `node:http`.
 *
 * An `import` of `node:http` reads all of its exports, and some of them load `undici` and `node:http2` when they are read.
 * That takes a fifth of the time in which `NodeMeshSocket` loads. See `docs/decisions/161-node-http-without-undici.md`.
 */
export const http = (): typeof import("node:http") => process.getBuiltinModule("node:http")
