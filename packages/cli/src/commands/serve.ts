/** `makima-stream serve`: a gateway with its dashboard. */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import * as Socket from "effect/socket/Socket"
import * as Stream from "effect/Stream"
import * as Merge from "@makima-stream/core/Merge"
import * as MeshClient from "@makima-stream/core/MeshClient"
import type * as MeshError from "@makima-stream/core/MeshError"
import type * as MeshEvent from "@makima-stream/core/MeshEvent"
import * as Dashboard from "@makima-stream/gateway/Dashboard"
import * as Gateway from "@makima-stream/gateway/Gateway"
import type { LogError } from "@makima-stream/log/LogError"
import * as MeshLog from "@makima-stream/log/MeshLog"
import * as Relay from "@makima-stream/log/Relay"
import { randomBytes } from "node:crypto"
import { existsSync } from "node:fs"
import { join } from "node:path"
import * as Connection from "../internal/connection.ts"
import * as Feed from "../internal/feed.ts"
import * as Line from "../internal/line.ts"
import * as Output from "../internal/output.ts"
import * as Store from "../internal/store.ts"
import { Failure, exitCodes } from "../Program.ts"
import * as Mock from "./mock.ts"

/** The values of the command line. */
export interface Input extends Connection.Input {
  readonly host: string
  readonly port: number
  readonly publicUrl: Option.Option<string>
  readonly allowHost: ReadonlyArray<string>
  readonly allowOrigin: ReadonlyArray<string>
  readonly tokenFile: Option.Option<string>
  readonly tlsCert: Option.Option<string>
  readonly tlsKey: Option.Option<string>
  readonly allowPlaintextBeyondLoopback: boolean
  readonly log: Option.Option<string>
  readonly keep: Option.Option<string>
  readonly connections: number
  readonly mock: boolean
  readonly output: "text" | "json"
  readonly quiet: boolean
}

const usage = (message: string) => new Failure({ message, exitCode: exitCodes.usage })

// ---------------------------------------------------------------------------
// files
// ---------------------------------------------------------------------------

const readFile = (flag: string, path: string): Effect.Effect<string, Failure, FileSystem.FileSystem> =>
  Effect.flatMap(FileSystem.FileSystem, (fs) =>
    Effect.mapError(fs.readFileString(path), () => usage(`${flag}: ${path} could not be read`))
  )

/** Reads the token of programs. Writes a random one if the file does not exist. */
const readToken = Effect.fnUntraced(function* (path: string) {
  const fs = yield* FileSystem.FileSystem
  const made = randomBytes(32).toString("base64url")
  const isNew = yield* fs.writeFileString(path, `${made}\n`, { flag: "wx", mode: 0o600 }).pipe(
    Effect.as(true),
    Effect.catchIf(
      ({ reason }) => reason._tag === "AlreadyExists",
      () => Effect.succeed(false)
    ),
    Effect.mapError(() => usage(`--token-file: ${path} could not be written`))
  )
  return Redacted.make(isNew ? made : (yield* readFile("--token-file", path)).trim())
})

/** Reads the certificate and its key. */
const readTls = Effect.fnUntraced(function* ({ tlsCert, tlsKey }: Input) {
  if (Option.isNone(tlsCert) && Option.isNone(tlsKey)) return undefined
  if (Option.isNone(tlsCert) || Option.isNone(tlsKey)) return yield* usage("--tls-cert and --tls-key belong together")
  return {
    cert: yield* readFile("--tls-cert", tlsCert.value),
    key: yield* readFile("--tls-key", tlsKey.value)
  }
})

/** Reads the page: beside the bundle, or in the package of the gateway. */
const readPage = Effect.suspend(() => {
  const beside = join(import.meta.dirname, "../dashboard")
  return Dashboard.assets(existsSync(join(beside, "index.html")) ? { directory: beside } : {})
}).pipe(Effect.mapError(({ message }) => usage(message)))

// ---------------------------------------------------------------------------
// sources
// ---------------------------------------------------------------------------

/** A speed that a person can follow: twelve agents, about eight events in a second, a minute for a task. */
const pace = {
  concurrency: Option.some(12),
  workload: { outputsPerTask: 40, meanIntervalMillis: 1500, contentSize: 160 }
}

/** How often the mock server breaks the connection, so that the dashboard has gaps to show. */
const cutEvery = "90 seconds"

/** The flags of the connection for a mock server that plays a workload from the first request on. */
const mocked = Effect.fnUntraced(function* (input: Input) {
  if (Option.isSome(input.url) || Option.isSome(input.context) || Option.isSome(input.replay)) {
    return yield* usage("--mock runs a server of its own: --url, --context and --replay cannot be used")
  }
  const server = yield* Mock.make({ host: "127.0.0.1", port: 0, key: undefined })
  yield* Effect.forkScoped(Mock.play(server, { ...pace, seed: 1, tasks: 24, speed: input.speed, loop: true }))
  yield* Effect.forkScoped(Effect.forever(Effect.delay(server.kill(), cutEvery)))
  const none = { keyEnv: Option.none(), keyFile: Option.none(), keyCommand: Option.none() }
  return { ...input, ...none, url: Option.some(server.url) }
})

/** Opens the log that the gateway reads. */
const openLog = Effect.fnUntraced(function* ({ keep, log }: Input) {
  if (Option.isSome(keep) && Option.isSome(log)) {
    return yield* usage(
      "Use --log or --keep, not both: another process fills the log of --log, and this one fills the log of --keep"
    )
  }
  const location = Option.orElse(keep, () => log)
  if (Option.isNone(location)) return undefined
  const layer = yield* Store.layer(location.value, Option.isSome(keep) ? "write" : "read")
  return Context.get(yield* Layer.build(layer), MeshLog.MeshLog)
})

/** Appends the feed to the log on a connection of its own, as `relay` does. */
const relay = (
  input: Input,
  log: MeshLog.Service
): Effect.Effect<void, Failure | LogError | MeshError.MeshError, FileSystem.FileSystem> =>
  Effect.gen(function* () {
    const client = yield* MeshClient.MeshClient
    yield* Relay.run(Feed.untilOver(client.everything()))
  }).pipe(
    MeshClient.drainOnInterrupt(),
    Effect.provideService(MeshLog.MeshLog, log),
    Effect.provide(Connection.client(input))
  )

// ---------------------------------------------------------------------------
// the gateway
// ---------------------------------------------------------------------------

/** Returns the failure with a message that names the flags. */
const toFailure = (error: Gateway.GatewayError): Failure => {
  switch (error._tag) {
    case "ListenError": {
      const code = error.cause instanceof Error && "code" in error.cause ? error.cause.code : undefined
      const at = `${error.host}, port ${error.port}`
      return usage(
        code === "EADDRINUSE"
          ? `The gateway cannot listen on ${at}: it is in use. --port 0 takes a free one`
          : `The gateway cannot listen on ${at}${typeof code === "string" ? ` (${code})` : ""}`
      )
    }
    case "UnsafeOptions":
      return usage(
        error.option === "token"
          ? `${error.problem}. Use --token-file`
          : "An address that other machines can reach needs --tls-cert and --tls-key. --allow-plaintext-beyond-loopback serves it without TLS: everyone on the path can then read the feed and the token"
      )
    case "InvalidTls":
    case "InvalidPublicUrl":
    case "InvalidOption":
      return usage(error.message)
  }
}

/** Prints login URLs: one at once, and a new one when the last was used, so that the newest always works. */
const printLogins = (gateway: Gateway.Service, { output, quiet }: Input): Effect.Effect<void> => {
  let isFirst = true
  return Stream.runForEach(gateway.loginUrls, (loginUrl) => {
    const hint = isFirst
      ? "Open the URL in a browser. It works once. After it was used, the next URL is printed\n"
      : "A browser has signed in. The URL for the next one:\n"
    isFirst = false
    return Effect.andThen(
      Output.err(quiet ? "" : hint),
      Output.out(output === "json" ? `${JSON.stringify({ url: gateway.url, loginUrl })}\n` : `${loginUrl}\n`)
    )
  })
}

const printLifecycle = (element: MeshEvent.Lifecycle): Effect.Effect<void> => {
  const line = Line.lifecycle(element)
  return line === undefined ? Effect.void : Output.err(`${line}\n`)
}

const start = Effect.fnUntraced(function* (
  input: Input,
  log: MeshLog.Service | undefined
): Effect.fn.Return<Gateway.Service, Failure, FileSystem.FileSystem | Scope.Scope> {
  const assets = yield* readPage
  const tls = yield* readTls(input)
  const token = Option.isSome(input.tokenFile) ? yield* readToken(input.tokenFile.value) : undefined
  const socket = yield* Layer.build(Connection.socket(input))
  return yield* Gateway.make({
    host: input.host,
    port: input.port,
    hosts: input.allowHost,
    origins: input.allowOrigin,
    publicUrl: Option.getOrUndefined(input.publicUrl),
    token,
    tls,
    allowPlaintextBeyondLoopback: input.allowPlaintextBeyondLoopback,
    log,
    assets,
    upstream: {
      ...(input.connections === 2 ? { connections: Merge.connections() } : {}),
      ...(input.quiet ? {} : { onLifecycle: printLifecycle })
    }
  }).pipe(Effect.mapError(toFailure), Effect.provideService(Socket.Socket, Context.get(socket, Socket.Socket)))
})

/** Runs the command. */
export const run = Effect.fnUntraced(function* (given: Input) {
  const input = given.mock ? yield* mocked(given) : given
  const log = yield* openLog(input)
  const gateway = yield* start(input, log)
  if (Option.isSome(input.replay) && !input.quiet) yield* Output.err("The gateway ends when the recording is over\n")
  yield* Effect.forkScoped(printLogins(gateway, input))
  const served = Stream.runDrain(Feed.untilOver(Stream.fromEffect(gateway.awaitFailure)))
  yield* log === undefined || Option.isNone(input.keep) ? served : Effect.raceFirst(served, relay(input, log))
}, Effect.scoped)
