/** Raw requests: nothing is normalised on the way, and every header is the test's own. */
import * as Effect from "effect/Effect"
import * as http from "node:http"
import { WebSocket } from "ws"

export interface Reply {
  readonly status: number
  readonly headers: http.IncomingHttpHeaders
  readonly body: string
}

export const get = (
  port: number,
  path: string,
  headers: http.OutgoingHttpHeaders = {},
  method = "GET"
): Effect.Effect<Reply> =>
  Effect.callback((resume) => {
    const request = http.request(
      { host: "127.0.0.1", port, path, method, headers: { host: `127.0.0.1:${port}`, ...headers }, agent: false },
      (response) => {
        const chunks: Array<Buffer> = []
        response.on("data", (chunk: Buffer) => chunks.push(chunk))
        response.on("end", () => {
          const body = Buffer.concat(chunks).toString()
          resume(Effect.succeed({ status: response.statusCode ?? 0, headers: response.headers, body }))
        })
      }
    )
    request.on("error", (error) => resume(Effect.die(error)))
    request.end()
  })

/** Opens a WebSocket. Returns 101, or the status of the refusal. */
export const upgrade = (
  port: number,
  headers: http.OutgoingHttpHeaders,
  path = "/api/v1/mesh/tasks/subscribe"
): Effect.Effect<number> =>
  Effect.callback((resume) => {
    const ws = new WebSocket(`ws://127.0.0.1:${port}${path}`, { headers })
    ws.on("open", () => {
      ws.terminate()
      resume(Effect.succeed(101))
    })
    ws.on("unexpected-response", (request, response) => {
      request.destroy()
      resume(Effect.succeed(response.statusCode ?? 0))
    })
    ws.on("error", () => {})
  })
