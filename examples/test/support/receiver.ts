/** An HTTP server that records every request: a test double of an OpenTelemetry collector or a webhook. */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { createServer } from "node:http"

export interface Request {
  readonly path: string
  readonly body: string
}

export interface Receiver {
  readonly url: string
  /** The received requests, oldest first. */
  readonly requests: ReadonlyArray<Request>
  /** Waits for the first matching request. Requests that were received before the call count. */
  readonly await: (predicate: (request: Request) => boolean) => Effect.Effect<Request>
}

/** Starts a receiver at 127.0.0.1 for the lifetime of the scope. It answers with the given status. */
export const makeWith = Effect.fnUntraced(function* (options: {
  readonly status: number
}): Effect.fn.Return<Receiver, never, Scope.Scope> {
  const requests: Array<Request> = []
  const watchers = new Set<() => void>()
  const server = createServer((incoming, response) => {
    const chunks: Array<Buffer> = []
    incoming.on("data", (chunk: Buffer) => chunks.push(chunk))
    incoming.on("end", () => {
      requests.push({ path: incoming.url ?? "", body: Buffer.concat(chunks).toString("utf8") })
      response.writeHead(options.status, { "content-type": "application/json" }).end("{}")
      for (const watcher of watchers) watcher()
    })
  })
  const url = yield* Effect.acquireRelease(
    Effect.callback<string>((resume) => {
      server.listen(0, "127.0.0.1", () => {
        const address = server.address()
        const port = typeof address === "object" && address !== null ? address.port : 0
        resume(Effect.succeed(`http://127.0.0.1:${port}`))
      })
    }),
    () =>
      Effect.callback<void>((resume) => {
        server.close(() => resume(Effect.void))
        server.closeAllConnections()
      })
  )
  return {
    url,
    requests,
    await: (predicate) =>
      Effect.callback((resume) => {
        const look = () => {
          const found = requests.find(predicate)
          if (found !== undefined) resume(Effect.succeed(found))
        }
        watchers.add(look)
        look()
        return Effect.sync(() => watchers.delete(look))
      })
  }
})

/** Starts a receiver that accepts every request. */
export const make = makeWith({ status: 200 })
