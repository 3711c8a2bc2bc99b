/** Ends of a connection, and failures of a dial, as a transport that knows the reason reports them. */
import * as Socket from "effect/socket/Socket"
import type { ConnectionReason } from "@makima-stream/core/MeshError"

/** A close frame, or with 1006 the lack of one. */
export const closed = (code: number, closeReason?: string): Socket.SocketError =>
  new Socket.SocketError({ reason: new Socket.SocketCloseError({ code, closeReason }) })

export const dialFailed = (cause: ConnectionReason): Socket.SocketError =>
  new Socket.SocketError({ reason: new Socket.SocketOpenError({ kind: "Unknown", cause }) })

export const ended = (cause: ConnectionReason): Socket.SocketError =>
  new Socket.SocketError({ reason: new Socket.SocketReadError({ cause }) })
