/** Other clients from npm, each used as its documentation shows, all on `ws`, the fastest socket that they support. */
import { Centrifuge } from "centrifuge"
import { createClient } from "graphql-ws"
import { WebSocket as PartySocket } from "partysocket"
import { filter } from "rxjs"
import { webSocket } from "rxjs/webSocket"
import { WebSocket } from "ws"
import { feedUrl, type Variant } from "./variant.ts"

interface Message {
  readonly type: string
  readonly taskId: string
  readonly content: string
}

class Ws extends WebSocket {
  constructor(url: string | URL, protocols?: string | Array<string>) {
    super(url, protocols, { perMessageDeflate: false })
  }
}

export const rxjs: Variant = {
  expects: () => 0,
  start({ port, wanted, output }) {
    webSocket<Message>({
      url: feedUrl(port),
      // rxjs expects the constructor of the DOM. `ws` is similar enough.
      WebSocketCtor: Ws as never
    })
      .pipe(
        filter((message) => wanted.has(message.taskId)),
        filter((message) => message.type === "taskOutput")
      )
      .subscribe((message) => output(message.content))
  }
}

export const partysocket: Variant = {
  expects: () => 0,
  start({ port, wanted, output }) {
    const ws = new PartySocket(feedUrl(port), [], { WebSocket: Ws })
    ws.addEventListener("message", (event) => {
      const message: Message = JSON.parse(String(event.data))
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

export const graphqlWs: Variant = {
  expects: () => 2,
  start({ port, wanted, output }) {
    const client = createClient({
      url: `ws://127.0.0.1:${port}/graphql`,
      webSocketImpl: Ws,
      // The frames are encoded in advance, so the id of the subscription must be fixed.
      generateID: () => "feed"
    })
    client.subscribe<{ readonly feed: Message }>(
      { query: "subscription { feed }" },
      {
        next: ({ data }) => {
          const message = data?.feed
          if (message?.type === "taskOutput" && wanted.has(message.taskId)) output(message.content)
        },
        error: console.error,
        complete: () => {}
      }
    )
  }
}

export const centrifuge: Variant = {
  expects: () => 2,
  start({ port, wanted, output }) {
    const client = new Centrifuge(`ws://127.0.0.1:${port}/centrifuge`, { websocket: Ws })
    const subscription = client.newSubscription("feed")
    subscription.on("publication", ({ data }) => {
      const message: Message = data
      if (message.type === "taskOutput" && wanted.has(message.taskId)) output(message.content)
    })
    subscription.subscribe()
    client.connect()
  }
}
