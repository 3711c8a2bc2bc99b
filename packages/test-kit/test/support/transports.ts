import * as NodeSocket from "@effect/platform-node/NodeSocket"
import * as NodeWS from "@effect/platform-node/NodeWS"
import * as Layer from "effect/Layer"
import * as Socket from "effect/socket/Socket"
import * as MeshSocket from "@makima-stream/core/MeshSocket"
import * as NodeMeshSocket from "@makima-stream/node/NodeMeshSocket"
import * as TransportLaws from "../../src/TransportLaws.ts"

const oneCurrent =
  "Effect's `Socket.fromWebSocket` has one current connection per service: a second reader takes the writers of the first, and a writer without a connection waits for the next one."

const noStatus =
  "The WebSocket API does not distinguish a refused handshake from a failed one: it exposes no status and no header."

const noPing = "No heartbeat: the WebSocket API has no ping, so a silent peer is not detected."

const notJudged =
  "It notices silence by the acknowledgements of requests, and does not judge a server that has never answered one."

const strictText = "The WebSocket library ends the connection at the first bad byte."

const cannotPause = "The WebSocket API cannot be paused: frames pile up in memory."

/** Every socket that the laws run over: the columns of the table in `docs/transports.md`. */
export const transports = [
  {
    name: "`ScriptedMesh`",
    harness: TransportLaws.layerScripted,
    clock: "test"
  },
  {
    name: "`NodeMeshSocket`",
    harness: TransportLaws.layerMock(({ timings, url }) => NodeMeshSocket.layer({ url, ...timings }))
  },
  {
    name: "`MeshSocket`",
    harness: TransportLaws.layerMock(({ timings, url }) => MeshSocket.layer({ url, ...timings })),
    cannot: { refused: noStatus, freeze: notJudged, badText: strictText, backpressure: cannotPause }
  },
  {
    name: "Effect's `Socket` on `NodeWS`",
    harness: TransportLaws.layerMock(({ timings, wsUrl }) =>
      Socket.layerWebSocket(wsUrl, { openTimeout: timings.connectTimeout }).pipe(
        Layer.provide(NodeWS.layerWebSocketConstructor)
      )
    ),
    cannot: { ownWriter: oneCurrent, lateWrites: oneCurrent, refused: noStatus, freeze: noPing, badText: strictText }
  },
  {
    name: "Effect's `Socket` on Node's global `WebSocket`",
    harness: TransportLaws.layerMock(({ timings, wsUrl }) =>
      NodeSocket.layerWebSocket(wsUrl, { openTimeout: timings.connectTimeout })
    ),
    cannot: {
      ownWriter: oneCurrent,
      lateWrites: oneCurrent,
      refused: noStatus,
      freeze: noPing,
      badText: strictText,
      backpressure: cannotPause
    }
  }
] as const satisfies ReadonlyArray<TransportLaws.Transport<unknown>>
