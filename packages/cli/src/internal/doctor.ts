/**
 * The steps from a URL to the first acknowledgement. Each reports what it found, or
 * the cause of its failure and a remedy. They run in order, up to the first failure.
 */
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import type * as Socket from "effect/socket/Socket"
import * as Endpoint from "@makima-stream/core/Endpoint"
import * as MeshError from "@makima-stream/core/MeshError"
import * as NodeMeshSocket from "@makima-stream/node/NodeMeshSocket"
import { lookup } from "node:dns"
import { connect as connectTcp, isIP } from "node:net"
import { connect as connectTls } from "node:tls"
import type * as Connection from "./connection.ts"
import { Environment } from "./environment.ts"
import * as Text from "./text.ts"

/** The name of a step. */
export type StepName = "url" | "proxy" | "dns" | "tcp" | "tls" | "key" | "handshake" | "acknowledgement"

/** What a step found. */
export type Finding =
  | { readonly step: StepName; readonly ok: true; readonly detail: string; readonly millis: number }
  | {
      readonly step: StepName
      readonly ok: false
      readonly cause: string
      readonly remedy: string
      /** Whether the server answered, and refused. */
      readonly refused: boolean
    }

/** Why a step failed. */
interface Problem {
  readonly cause: string
  readonly remedy: string
  readonly refused?: boolean
}

const problem = (cause: string, remedy: string, refused = false): Problem => ({
  cause: Text.oneLine(cause),
  remedy,
  refused
})

const codeOf = (error: unknown): string =>
  error instanceof Error && "code" in error && typeof error.code === "string" ? error.code : "unknown error"

/** Where to connect to: the server, or the proxy on the way to it. */
interface Target {
  readonly host: string
  readonly port: number
}

const portOf = (url: URL): number =>
  Number(url.port) || (url.protocol === "wss:" || url.protocol === "https:" ? 443 : 80)

const hostOf = (url: URL): string => url.hostname.replace(/^\[|\]$/g, "")

/** Returns whether `NO_PROXY` excludes a host. It is a list of names; each also excludes its subdomains. */
const isExcluded = (noProxy: string, host: string, port: number): boolean =>
  noProxy
    .split(/[\s,]+/)
    .filter((entry) => entry !== "")
    .some((entry) => {
      if (entry === "*") return true
      const [name = "", entryPort] = entry
        .replace(/^\*?\./, "")
        .toLowerCase()
        .split(":")
      if (entryPort !== undefined && Number(entryPort) !== port) return false
      return host === name || host.endsWith(`.${name}`)
    })

/** The variable that names a proxy for a server, and its value. */
export const proxyFor = (
  url: URL,
  env: Readonly<Record<string, string | undefined>>
): { readonly variable: string; readonly value: string } | undefined => {
  const noProxy = env["no_proxy"] ?? env["NO_PROXY"] ?? ""
  if (isExcluded(noProxy, hostOf(url), portOf(url))) return undefined
  const names = url.protocol === "wss:" ? ["https_proxy", "HTTPS_PROXY"] : ["http_proxy", "HTTP_PROXY"]
  for (const variable of names) {
    const value = env[variable]
    if (value !== undefined && value !== "") return { variable, value }
  }
  return undefined
}

const resolveName = (host: string, proxied: string | undefined): Effect.Effect<string, Problem> =>
  Effect.callback((resume) => {
    lookup(host, (error, address) => {
      if (error === null) return resume(Effect.succeed(`${host} is ${address}`))
      const remedy =
        error.code === "EAI_AGAIN"
          ? "Check the network and the name server of this machine"
          : proxied === undefined
            ? "Check the spelling of --url, MAKIMA_API_URL or the context"
            : `Check the spelling of the proxy in ${proxied}`
      resume(Effect.fail(problem(`The name ${host} does not resolve (${error.code ?? "unknown error"})`, remedy)))
    })
  })

const openTcp = ({ host, port }: Target, millis: number): Effect.Effect<string, Problem> =>
  Effect.callback((resume) => {
    const socket = connectTcp({ host, port, timeout: millis })
    const end = (result: Effect.Effect<string, Problem>) => {
      socket.destroy()
      resume(result)
    }
    socket.once("connect", () => end(Effect.succeed(`connected to port ${port}`)))
    socket.once("timeout", () =>
      end(
        Effect.fail(
          problem(
            `${host} does not answer on port ${port} within ${millis / 1000} s`,
            "Check the port, and whether a firewall drops the connection"
          )
        )
      )
    )
    socket.once("error", (error) => {
      const code = codeOf(error)
      end(
        Effect.fail(
          code === "ECONNREFUSED"
            ? problem(
                `Nothing listens on port ${port} of ${host} (${code})`,
                "Check the port in the URL, and whether the server runs"
              )
            : problem(`${host} cannot be reached on port ${port} (${code})`, "Check the network, a VPN, a firewall")
        )
      )
    })
    return Effect.sync(() => socket.destroy())
  })

const tlsProblem = (host: string, port: number, error: unknown): Problem => {
  const code = codeOf(error)
  switch (code) {
    case "CERT_HAS_EXPIRED":
      return problem(
        `The certificate of ${host} has expired (${code})`,
        "Renew it on the server. Check this machine's clock"
      )
    case "CERT_NOT_YET_VALID":
      return problem(`The certificate of ${host} is not valid yet (${code})`, "Check this machine's clock")
    case "ERR_TLS_CERT_ALTNAME_INVALID":
      return problem(
        `The certificate is not for the name ${host} (${code})`,
        "Use the name in the certificate as the URL's host"
      )
    case "DEPTH_ZERO_SELF_SIGNED_CERT":
    case "SELF_SIGNED_CERT_IN_CHAIN":
    case "UNABLE_TO_GET_ISSUER_CERT_LOCALLY":
    case "UNABLE_TO_VERIFY_LEAF_SIGNATURE":
      return problem(
        `The certificate of ${host} is signed by an authority that this machine does not know (${code})`,
        "Set NODE_EXTRA_CA_CERTS to the file with the authority's certificate"
      )
    default:
      return code.startsWith("ERR_SSL") || code === "EPROTO"
        ? problem(`Port ${port} of ${host} does not speak TLS (${code})`, "Use http:// in the URL, or the port for TLS")
        : problem(
            `The TLS handshake with ${host} failed (${code})`,
            "Check whether a proxy or a firewall intercepts TLS"
          )
  }
}

const openTls = ({ host, port }: Target, millis: number): Effect.Effect<string, Problem> =>
  Effect.callback((resume) => {
    const socket = connectTls({ host, port, timeout: millis, ...(isIP(host) === 0 ? { servername: host } : {}) })
    const end = (result: Effect.Effect<string, Problem>) => {
      socket.destroy()
      resume(result)
    }
    socket.once("secureConnect", () => {
      const { valid_to: validTo } = socket.getPeerCertificate()
      end(Effect.succeed(`${socket.getProtocol() ?? "TLS"}, the certificate is valid to ${validTo}`))
    })
    socket.once("timeout", () =>
      end(Effect.fail(problem(`${host} does not answer the TLS handshake`, "Check that the port is for TLS")))
    )
    socket.once("error", (error) => end(Effect.fail(tlsProblem(host, port, error))))
    return Effect.sync(() => socket.destroy())
  })

/** The problem for the user, from the client's reason. */
export const handshakeProblem = (reason: MeshError.ConnectionReason, keyFrom: string): Problem => {
  if (reason._tag === "HandshakeRejected") {
    const { message, status } = reason
    if (status === 401 || status === 403) {
      return keyFrom === "nowhere"
        ? problem(`${message}. No key was sent`, "Set MAKIMA_API_KEY, or --key-file", true)
        : problem(`${message}. It came from ${keyFrom}`, "Get a new key, and check that it is for this server", true)
    }
    if (status === 404) return problem(message, "Check the path of the URL, and that it is a Makima server", true)
    if (status === 407) return problem(message, "Put the user and the password into the URL of the proxy", true)
    if (status >= 500) return problem(message, "The server, or a proxy in front of it, has a problem: try again later")
    if (status >= 300 && status < 400) return problem(message, "Use the URL that it redirects to", true)
    return problem(
      `${message}: it answered with HTTP instead of a WebSocket`,
      "Check the URL, and that every proxy passes on the headers Upgrade and Connection",
      true
    )
  }
  switch (reason._tag) {
    case "DialTimeout":
      return problem(
        `${reason.message}: the connection is open, but nothing arrives`,
        "Check the proxy in front of the server: it may accept connections without passing them on"
      )
    case "HeartbeatTimeout":
      return problem(
        `${reason.message}: the connection is half-open`,
        "Check the network, and any proxy in front of the server"
      )
    default:
      return problem(reason.message, "Check that the URL is of a Makima server, and any proxy in front of it")
  }
}

/** What the steps need. */
export interface Options {
  /** How long each step may take, in milliseconds. */
  readonly millis: number
}

const acknowledgementProblem = (millis: number): Problem =>
  problem(
    `The server did not acknowledge subscribeAll within ${millis / 1000} s`,
    "Check that the URL is the task feed, and not another WebSocket of the server"
  )

/** Subscribes to all updates, and waits for the acknowledgement. */
const subscribe = (
  socket: Socket.Socket,
  reader: Socket.Reader,
  keyFrom: string,
  millis: number
): Effect.Effect<string, Problem> =>
  Effect.gen(function* () {
    const writer = yield* socket.writer
    yield* writer.write(JSON.stringify({ type: "subscribeAll" }))
    let frames = 0
    while (true) {
      for (const frame of yield* reader.pull) {
        frames++
        if (String(frame).includes('"subscribedAll"')) {
          return `subscribedAll${frames === 1 ? "" : `, after ${frames - 1} other frames`}`
        }
      }
    }
  }).pipe(
    Effect.scoped,
    Effect.mapError((error) => handshakeProblem(MeshError.fromSocketError(error), keyFrom)),
    Effect.timeoutOrElse({ duration: millis, orElse: () => Effect.fail(acknowledgementProblem(millis)) })
  )

/** Examines a server. Calls `tell` with each finding, and returns whether all is well. */
export const examine = Effect.fnUntraced(function* (
  server: Connection.Server,
  options: Options,
  tell: (finding: Finding) => Effect.Effect<void>
) {
  const { millis } = options
  const step = <A, R>(name: StepName, run: Effect.Effect<A, Problem, R>, detail: (value: A) => string) =>
    Effect.gen(function* () {
      const start = performance.now()
      const result = yield* Effect.result(run)
      if (Result.isSuccess(result)) {
        yield* tell({ step: name, ok: true, detail: detail(result.success), millis: performance.now() - start })
        return result.success
      }
      const { cause, refused = false, remedy } = result.failure
      const finding: Finding = { step: name, ok: false, cause, remedy, refused }
      yield* tell(finding)
      return yield* Effect.fail(finding)
    })
  const same = (text: string) => text

  const endpoint = yield* step(
    "url",
    Effect.mapError(Effect.fromResult(Endpoint.fromString(server.url)), ({ message }) =>
      problem(message, "Write it as https://host, in --url, MAKIMA_API_URL or the context")
    ),
    (url) => `${url} (from ${server.urlFrom})`
  )
  const url = new URL(endpoint)
  const proxy = proxyFor(url, yield* Environment)
  const proxyUrl = proxy === undefined || !URL.canParse(proxy.value) ? undefined : new URL(proxy.value)
  if (proxy !== undefined) {
    yield* step(
      "proxy",
      proxyUrl === undefined
        ? Effect.fail(
            problem(`${proxy.variable} is not a URL`, `Write it as http://host:port, or unset ${proxy.variable}`)
          )
        : Effect.succeed(`${proxyUrl.host} (from ${proxy.variable})`),
      same
    )
  }
  const dialled = proxyUrl ?? url
  const target: Target = { host: hostOf(dialled), port: portOf(dialled) }
  if (isIP(target.host) === 0) yield* step("dns", resolveName(target.host, proxy?.variable), same)
  yield* step(
    "tcp",
    Effect.mapError(openTcp(target, millis), (found) =>
      proxy === undefined
        ? found
        : problem(`The proxy: ${found.cause}`, `Correct or unset ${proxy.variable}, or exclude the host in NO_PROXY`)
    ),
    same
  )
  // Through a proxy the certificate is seen only in the handshake.
  if (url.protocol === "wss:" && proxy === undefined) {
    yield* step("tls", openTls(target, millis), same)
  }
  const key =
    server.key === undefined
      ? undefined
      : yield* step(
          "key",
          Effect.mapError(server.key, ({ message }) =>
            problem(message, "Put the key there, or name another source with --key-env, --key-file or --key-command")
          ),
          (key) => `${Redacted.value(key).length} characters from ${server.keyFrom}`
        )
  if (key === undefined) {
    yield* tell({ step: "key", ok: true, detail: "none: the server may refuse. Set MAKIMA_API_KEY", millis: 0 })
  }
  const socket = yield* step(
    "handshake",
    Effect.mapError(
      NodeMeshSocket.make({
        url: server.url,
        apiKey: key,
        connectTimeout: millis,
        heartbeat: { interval: Math.max(1, millis / 4), deadline: Math.max(1, millis / 2) }
      }),
      ({ message }) => problem(message, "Check the key and the URL")
    ).pipe(
      Effect.flatMap((socket) =>
        Effect.map(
          Effect.mapError(socket.reader, (error) => handshakeProblem(MeshError.fromSocketError(error), server.keyFrom)),
          (reader) => ({ socket, reader })
        )
      )
    ),
    () => "the server speaks WebSocket"
  )
  yield* step("acknowledgement", subscribe(socket.socket, socket.reader, server.keyFrom, millis), same)
}, Effect.scoped)
