/**
 * The server, as a process: accepts every dialect, acknowledges requests, and
 * plays the payload on request.
 *
 * `ws` makes the handshake. The payload is written to the socket directly, so that the
 * cost of the server does not affect the measurement. `/play` starts on all open
 * connections. Its query has the number of tasks (`tasks`); the pace (`rate`: events a
 * second, each in a separate write, or `apart`: separate writes as fast as possible; by
 * default many events in a write, as fast as the socket accepts them); and the number of
 * rounds of the payload (`rounds`; unlimited by default).
 */
import { createServer } from "node:http"
import type { Duplex } from "node:stream"
import { WebSocketServer, type WebSocket } from "ws"
import * as Payload from "./payload.ts"
import * as Requests from "./requests.ts"

interface Peer {
  readonly ws: WebSocket
  readonly socket: Duplex
  readonly dialect: Payload.Dialect
  readonly openedAt: number
  received: number
  lastReceivedAt: number
}

const payloads = new Map<string, Payload.Payload>()
const payloadOf = (dialect: Payload.Dialect, tasks: number): Payload.Payload => {
  const key = `${dialect}/${tasks}`
  const payload = payloads.get(key) ?? Payload.make(dialect, tasks)
  payloads.set(key, payload)
  return payload
}

const peers = new Set<Peer>()
/**
 * Sends the payload as fast as the slowest connection accepts it. A server produces an event once, so its connections
 * do not get ahead of each other.
 */
const flood = (all: ReadonlyArray<Peer>, tasks: number, rounds: number): void => {
  let next = 0
  const write = (): void => {
    let full = 0
    const onDrain = (): void => {
      full--
      if (full === 0) write()
    }
    while (full === 0) {
      const open = all.filter(({ socket }) => !socket.destroyed)
      if (open.length === 0) return
      for (const { dialect, socket } of open) {
        const { chunks } = payloadOf(dialect, tasks)
        const chunk = next < rounds * chunks.length ? chunks[next % chunks.length] : undefined
        if (chunk === undefined) return
        if (socket.write(chunk)) continue
        full++
        socket.once("drain", onDrain)
      }
      next++
    }
  }
  write()
}

/**
 * Sends one event at a time, each in a separate write. With a rate, the second of two
 * connections is half an interval later, so that the first copy of an event can be told
 * from the second one.
 */
const trickle = (peer: Peer, tasks: number, rate: number | "apart", rounds: number, lag: number): void => {
  const { bytes, events } = payloadOf(peer.dialect, tasks)
  let offset = 0
  let left = rounds * events
  const write = (): void => {
    const extended = bytes[offset + 1] === 126
    const size = extended ? 4 + bytes.readUInt16BE(offset + 2) : 2 + (bytes[offset + 1] ?? 0)
    peer.socket.write(bytes.subarray(offset, offset + size))
    offset = (offset + size) % bytes.length
    left--
  }
  if (rate === "apart") {
    const next = (): void => {
      if (left === 0 || peer.socket.destroyed) return
      write()
      setImmediate(next)
    }
    next()
  } else {
    setTimeout(
      () => {
        const timer = setInterval(() => {
          if (left === 0 || peer.socket.destroyed) return clearInterval(timer)
          write()
        }, 1000 / rate)
      },
      (lag * 1000) / rate
    )
  }
}

/** Answers requests, as far as the client of each dialect needs it. */
const answer = (peer: Peer, text: string): void => {
  switch (peer.dialect) {
    case "makima":
      // `Requests.take` reads the requests.
      return
    case "graphql":
      if (text.includes(`"connection_init"`)) peer.ws.send(`{"type":"connection_ack"}`)
      return
    case "centrifuge":
      for (const line of text.split("\n")) {
        if (line === "") continue
        const command = JSON.parse(line)
        if (command.connect) peer.ws.send(`{"id":${command.id},"connect":{"client":"bench","version":"0"}}`)
        else if (command.subscribe) peer.ws.send(`{"id":${command.id},"subscribe":{}}`)
      }
      return
  }
}

const dialectOf = (path: string): Payload.Dialect =>
  path.startsWith("/graphql") ? "graphql" : path.startsWith("/centrifuge") ? "centrifuge" : "makima"

const web = new WebSocketServer({
  noServer: true,
  perMessageDeflate: false,
  handleProtocols: (protocols) => protocols.values().next().value ?? false
})

const http = createServer((request, response) => {
  const url = new URL(request.url ?? "/", "http://localhost")
  switch (url.pathname) {
    case "/play": {
      const tasks = Number(url.searchParams.get("tasks"))
      const rate = url.searchParams.get("rate")
      const rounds = Number(url.searchParams.get("rounds") ?? Number.POSITIVE_INFINITY)
      const all = [...peers]
      if (rate === null) {
        flood(all, tasks, rounds)
        break
      }
      all.forEach((peer, n) => {
        trickle(peer, tasks, rate === "apart" ? rate : Number(rate), rounds, n / all.length)
      })
      break
    }
    case "/drop":
      for (const peer of peers) peer.socket.destroy()
      break
    case "/peers":
      response.setHeader("content-type", "application/json")
      response.end(
        JSON.stringify(
          [...peers].map(({ received, openedAt, lastReceivedAt }) => ({
            received,
            openedAt: performance.timeOrigin + openedAt,
            elapsedMillis: lastReceivedAt - openedAt
          }))
        )
      )
      return
  }
  response.end()
})

http.on("upgrade", (request, socket, head) => {
  const url = new URL(request.url ?? "/", "http://localhost")
  web.handleUpgrade(request, socket, head, (ws) => {
    const openedAt = performance.now()
    const peer: Peer = {
      ws,
      socket,
      dialect: dialectOf(url.pathname),
      openedAt,
      received: 0,
      lastReceivedAt: openedAt
    }
    peers.add(peer)
    if (peer.dialect === "makima") {
      Requests.take(socket, (count) => {
        peer.received += count
        peer.lastReceivedAt = performance.now()
      })
    }
    ws.on("message", (data) => {
      // Centrifuge's client sends several commands in a frame, one on each line.
      peer.received += peer.dialect === "centrifuge" ? String(data).trim().split("\n").length : 1
      peer.lastReceivedAt = performance.now()
      answer(peer, String(data))
    })
    ws.on("error", () => {})
    ws.on("close", () => peers.delete(peer))
  })
})

http.listen(0, "127.0.0.1", () => {
  const address = http.address()
  process.send?.({ port: typeof address === "object" && address !== null ? address.port : 0 })
})
process.on("disconnect", () => process.exit())
