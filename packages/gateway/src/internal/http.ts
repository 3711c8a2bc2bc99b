/**
 * The HTTP side: checks who asks, and finds the route. No route reads a file, so a path cannot leave a directory.
 */
import type { IncomingMessage, ServerResponse } from "node:http"
import * as Access from "./access.ts"

export interface Answer {
  readonly status: number
  readonly type: string
  readonly body: string | Uint8Array
  readonly headers?: Readonly<Record<string, string>>
}

export interface Routes {
  readonly access: Access.Access
  readonly health: () => Answer
  readonly metrics: () => Promise<Answer>
  readonly tasks: () => Answer
  /** `undefined` if there is no such task. */
  readonly task: (taskId: string) => Answer | undefined
  /** The headers of a stream of events, for a request that asks only for them. */
  readonly eventHeaders: Readonly<Record<string, string>>
  /** Answers with a stream of events. */
  readonly events: (request: IncomingMessage, url: URL, response: ServerResponse) => void
  /** A file of the page; `undefined` if there is none. */
  readonly asset: (path: string) => Answer | undefined
}

/** The path of the feed, as on the server. */
export const feedPath = "/api/v1/mesh/tasks/subscribe"
const tasksPath = "/api/v1/mesh/tasks"

export const json = (value: unknown, status = 200): Answer => ({
  status,
  type: "application/json; charset=utf-8",
  body: JSON.stringify(value)
})

export const text = (body: string, status = 200): Answer => ({
  status,
  type: "text/plain; charset=utf-8",
  body: `${body}\n`
})

export const metrics = (body: string): Answer => ({
  status: 200,
  type: "text/plain; version=0.0.4; charset=utf-8",
  body
})

const refusals: Readonly<Record<Access.Refusal, Answer>> = {
  host: text("This Host is not one of the gateway's hosts", 403),
  origin: text("This Origin may not use the gateway", 403),
  credentials: {
    ...text("Open the URL that the gateway has printed, or send its token as a bearer token", 401),
    headers: { "www-authenticate": "Bearer" }
  }
}

const notFound = text("Not found", 404)

/** The URL of a request; `undefined` if it is not one. */
export const urlOf = ({ url = "/" }: IncomingMessage): URL | undefined => {
  // A path that begins with two slashes would be taken for a host.
  const path = url.replace(/^[/\\]+/, "/")
  return URL.canParse(path, "http://gateway") ? new URL(path, "http://gateway") : undefined
}

/** Sends an answer, with the security headers. */
export const send = (request: IncomingMessage, response: ServerResponse, answer: Answer): void => {
  const body = typeof answer.body === "string" ? Buffer.from(answer.body) : answer.body
  response.writeHead(answer.status, {
    ...Access.securityHeaders,
    ...answer.headers,
    "content-type": answer.type,
    "content-length": body.byteLength
  })
  response.end(request.method === "HEAD" ? undefined : body)
}

/** Exchanges the token of a login URL for a cookie, and redirects to the same page without it. */
const login = ({ exchange }: Access.Access, url: URL, request: IncomingMessage): Answer => {
  const cookie = exchange(url.searchParams.get("token") ?? "", request)
  if (cookie === undefined) return text("This token was used already, or is not one of this gateway", 403)
  url.searchParams.delete("token")
  return {
    ...text("Signed in", 303),
    // The path begins with one slash, so the browser stays on this host. The parser has encoded its special characters.
    headers: { location: `${url.pathname.replace(/^[/\\]+/, "/")}${url.search}`, "set-cookie": cookie }
  }
}

const route = (routes: Routes, path: string): Answer | Promise<Answer> | undefined => {
  if (path === "/metrics") return routes.metrics()
  if (path === tasksPath) return routes.tasks()
  if (path === feedPath) return { ...text("This is a WebSocket", 426), headers: { upgrade: "websocket" } }
  if (path.startsWith(`${tasksPath}/`)) {
    const taskId = decode(path.slice(tasksPath.length + 1))
    return taskId === undefined ? undefined : routes.task(taskId)
  }
  return routes.asset(path)
}

const decode = (text: string): string | undefined => {
  try {
    return decodeURIComponent(text)
  } catch {
    return undefined
  }
}

const isPage = ({ pathname }: URL): boolean => !pathname.startsWith("/api/")

/** Answers a request; `undefined` if it was answered by a stream of events. */
const answer = (
  routes: Routes,
  request: IncomingMessage,
  response: ServerResponse
): Answer | Promise<Answer> | undefined => {
  const { access } = routes
  const refusedHost = access.checkHost(request)
  if (refusedHost !== undefined) return refusals[refusedHost]
  if (request.method !== "GET" && request.method !== "HEAD") {
    return { ...text("Only GET and HEAD", 405), headers: { allow: "GET, HEAD" } }
  }
  const url = urlOf(request)
  if (url === undefined) return text("Bad request", 400)
  if (url.pathname === "/health") return routes.health()
  // HEAD changes nothing, so it does not use up a token.
  if (url.searchParams.has("token") && isPage(url) && request.method === "GET") return login(access, url, request)
  const refused = access.check(request)
  if (refused !== undefined) return refusals[refused]
  if (url.pathname !== `${tasksPath}/events`) return route(routes, url.pathname) ?? notFound
  if (request.method === "HEAD") {
    return { ...text(""), type: "text/event-stream; charset=utf-8", headers: routes.eventHeaders }
  }
  routes.events(request, url, response)
  return undefined
}

/** Returns the handler of requests. */
export const handler =
  (routes: Routes) =>
  (request: IncomingMessage, response: ServerResponse): void => {
    const reply = (answer: Answer) => send(request, response, answer)
    const fail = () => reply(text("The gateway failed", 500))
    try {
      const found = answer(routes, request, response)
      if (found instanceof Promise) found.then(reply).catch(fail)
      else if (found !== undefined) reply(found)
    } catch {
      // A defect of one request must not end the program.
      if (response.headersSent) response.destroy()
      else fail()
    }
  }

const statusLines = {
  host: "403 Forbidden",
  origin: "403 Forbidden",
  credentials: "401 Unauthorized\r\nWWW-Authenticate: Bearer",
  path: "404 Not Found",
  parameters: "400 Bad Request",
  full: "503 Service Unavailable\r\nRetry-After: 5"
}

/** The answer to an upgrade that is refused, as text. */
export const refusedUpgrade = (refusal: Access.Refusal | "path" | "parameters" | "full"): string => {
  const status = statusLines[refusal]
  return `HTTP/1.1 ${status}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`
}
