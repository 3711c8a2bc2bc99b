/**
 * The reference: a `ws` client with `JSON.parse` and a `switch`. Nothing is
 * validated or bounded, and it does not reconnect.
 */
import { WebSocket, type RawData } from "ws"
import { feedUrl, type Variant } from "./variant.ts"

const open = (port: number): WebSocket => {
  const ws = new WebSocket(feedUrl(port), { perMessageDeflate: false })
  ws.on("open", () => ws.send(`{"type":"subscribeAll"}`))
  return ws
}

export const bare: Variant = {
  expects: () => 1,
  start({ port, wanted, output }) {
    open(port).on("message", (data: RawData) => {
      const message = JSON.parse(String(data))
      switch (message.type) {
        case "taskOutput":
          if (wanted.has(message.taskId)) output(message.content)
          break
        case "taskUpdated":
          break
      }
    })
  }
}

/** The same with a handler for each task in a `Map`, comparable with the consumers of a `MeshClient`. */
export const bareByTask: Variant = {
  expects: () => 1,
  start({ port, wanted, output }) {
    const handlers = new Map([...wanted].map((taskId) => [taskId, (content: string) => output(content)]))
    open(port).on("message", (data: RawData) => {
      const message = JSON.parse(String(data))
      switch (message.type) {
        case "taskOutput":
          handlers.get(message.taskId)?.(message.content)
          break
        case "taskUpdated":
          break
      }
    })
  }
}
