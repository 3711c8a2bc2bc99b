/** The errors of a transport that reports a typed reason. */
import * as Socket from "effect/socket/Socket"
import type { ConnectionReason } from "@makima-stream/core/MeshError"

/** The end of a connection by a close frame; code 1006 without a close frame. */
export const closed = (code: number, closeReason?: string): Socket.SocketError =>
  new Socket.SocketError({ reason: new Socket.SocketCloseError({ code, closeReason }) })

export const dialFailed = (cause: ConnectionReason): Socket.SocketError =>
  new Socket.SocketError({ reason: new Socket.SocketOpenError({ kind: "Unknown", cause }) })

export const ended = (cause: ConnectionReason): Socket.SocketError =>
  new Socket.SocketError({ reason: new Socket.SocketReadError({ cause }) })
