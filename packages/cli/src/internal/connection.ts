/**
 * The server that a command connects to, and the key.
 *
 * A value comes from a flag, else from the environment, else from the context.
 * A context's key is sent only to the context's own server.
 */
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as Flag from "effect/cli/Flag"
import * as Socket from "effect/socket/Socket"
import * as Endpoint from "@makima-stream/core/Endpoint"
import * as MeshClient from "@makima-stream/core/MeshClient"
import type { ConnectionOptions } from "@makima-stream/node/NodeMeshSocket"
import { execFile } from "node:child_process"
import { Failure, exitCodes } from "../Program.ts"
import * as Contexts from "./contexts.ts"
import { Environment } from "./environment.ts"

const optional = (name: string, metavar: string, description: string) =>
  Flag.String(name).pipe(Flag.withMetavar(metavar), Flag.withDescription(description), Flag.optional)

/** The flags that name a server and a key. */
export const serverFlags = {
  url: optional("url", "<url>", "The server. Defaults to MAKIMA_API_URL, the context's URL, or the public server"),
  context: optional("context", "<name>", "The context. Defaults to MAKIMA_CONTEXT, or the selected one"),
  keyEnv: optional("key-env", "<variable>", "The environment variable with the key. Defaults to MAKIMA_API_KEY"),
  keyFile: optional("key-file", "<path>", "The file with the key"),
  keyCommand: optional("key-command", "<command>", "The shell command that prints the key")
}

/** The flags of every command that follows the feed. */
export const flags = {
  ...serverFlags,
  replay: Flag.File("replay", { mustExist: true }).pipe(
    Flag.withDescription("Play this recording instead of connecting to a server"),
    Flag.optional
  ),
  speed: Flag.String("speed").pipe(
    Flag.withMetavar("<factor|max>"),
    Flag.withDescription("How fast a recording is played. Defaults to 1"),
    Flag.mapTryCatch(
      (text) => {
        const factor = text === "max" ? Infinity : Number(text.replace(/x$/, ""))
        if (!(factor > 0)) throw new Error()
        return factor
      },
      () => "Expected a number above 0, or max"
    ),
    Flag.withDefault(1)
  )
}

type Values<F extends Readonly<Record<string, Flag.Flag<unknown>>>> = {
  readonly [K in keyof F]: F[K] extends Flag.Flag<infer A> ? A : never
}

/** The values of `serverFlags`. */
export type ServerInput = Values<typeof serverFlags>

/** The values of `flags`. */
export type Input = Values<typeof flags>

/** A server to connect to. */
export interface Server {
  /** As the user wrote it. */
  readonly url: string
  readonly urlFrom: string
  /** Reads the key again each time. `undefined` if there is none. */
  readonly key: Effect.Effect<Redacted.Redacted, Failure> | undefined
  readonly keyFrom: string
}

const usage = (message: string) => new Failure({ message, exitCode: exitCodes.usage })

const variable = (name: string): Effect.Effect<string | undefined> =>
  Effect.map(Environment, (env) => {
    const value = env[name]?.trim()
    return value === undefined || value === "" ? undefined : value
  })

const describe = (source: Contexts.KeySource): string =>
  "env" in source ? `the variable ${source.env}` : "file" in source ? `the file ${source.file}` : "a command"

/** Runs a shell command and returns what it prints. Its error output goes to the terminal. */
const printed = (command: string): Effect.Effect<string, Failure> =>
  Effect.callback((resume) => {
    const [shell, args] =
      process.platform === "win32" ? ["cmd.exe", ["/d", "/s", "/c", command]] : ["/bin/sh", ["-c", command]]
    const child = execFile(shell, args, { timeout: 60_000 }, (error, stdout) => {
      // The error's own text is left out: it holds the command.
      if (error === null) resume(Effect.succeed(stdout))
      else resume(Effect.fail(usage(`The command for the key failed with exit code ${error.code ?? "unknown"}`)))
    })
    child.stderr?.pipe(process.stderr, { end: false })
    return Effect.sync(() => child.kill())
  })

/** Reads a key from its source. Fails with exit code 2 if the source has none. */
const readKey = (source: Contexts.KeySource): Effect.Effect<Redacted.Redacted, Failure, FileSystem.FileSystem> =>
  Effect.gen(function* () {
    const fs = yield* FileSystem.FileSystem
    const text =
      "env" in source
        ? ((yield* Environment)[source.env] ?? "")
        : "file" in source
          ? yield* fs
              .readFileString(source.file)
              .pipe(Effect.mapError(() => usage(`The file for the key, ${source.file}, could not be read`)))
          : yield* printed(source.command)
    const key = text.trim()
    if (key === "") return yield* usage(`There is no key in ${describe(source)}`)
    return Redacted.make(key)
  })

/** The source that the flags name. */
const keyFlag = (input: ServerInput): Effect.Effect<Contexts.KeySource | undefined, Failure> => {
  const given: ReadonlyArray<Contexts.KeySource> = [
    ...Option.toArray(Option.map(input.keyEnv, (env) => ({ env }))),
    ...Option.toArray(Option.map(input.keyFile, (file) => ({ file }))),
    ...Option.toArray(Option.map(input.keyCommand, (command) => ({ command })))
  ]
  return given.length > 1
    ? Effect.fail(usage("Only one of --key-env, --key-file and --key-command can be used"))
    : Effect.succeed(given[0])
}

/** Whether two spellings of a URL name the same server. */
const isSame = (a: string, b: string): boolean => {
  const [one, other] = [Endpoint.fromString(a), Endpoint.fromString(b)]
  return Result.isSuccess(one) && Result.isSuccess(other) && one.success === other.success
}

/** Finds the server and the source of the key: from a flag, the environment or a context. Does not read the key yet. */
export const resolve = Effect.fnUntraced(function* (
  input: ServerInput
): Effect.fn.Return<Server, Failure, FileSystem.FileSystem> {
  const fs = yield* FileSystem.FileSystem
  const flagged = yield* keyFlag(input)
  const envUrl = yield* variable("MAKIMA_API_URL")
  const envKey = yield* variable("MAKIMA_API_KEY")
  // A context that is named on the command line is a flag, and so are its values.
  const isFlag = Option.isSome(input.context)
  const name = isFlag ? input.context : Option.fromUndefinedOr(yield* variable("MAKIMA_CONTEXT"))
  // The selected context is read only if it is needed, so that a broken one does not stop other commands.
  const isNeeded = Option.isSome(name) || (Option.isNone(input.url) && envUrl === undefined)
  const contextName = Option.isSome(name) ? name : isNeeded ? yield* Contexts.selected : Option.none<string>()
  const context = Option.isSome(contextName) ? yield* Contexts.read(contextName.value) : undefined
  const contextLabel = `the context ${Option.getOrElse(contextName, () => "")}`

  const candidates: ReadonlyArray<readonly [string | undefined, string]> = [
    [Option.getOrUndefined(input.url), "--url"],
    [isFlag ? context?.url : undefined, contextLabel],
    [envUrl, "MAKIMA_API_URL"],
    [context?.url, contextLabel],
    [Endpoint.publicServer, "the default"]
  ]
  const [url = Endpoint.publicServer, urlFrom] = candidates.find(([value]) => value !== undefined) ?? ["", ""]

  const contextKey = context !== undefined && isSame(context.url, url) ? context.key : undefined
  const source =
    flagged ?? (isFlag ? contextKey : undefined) ?? (envKey === undefined ? contextKey : { env: "MAKIMA_API_KEY" })
  return {
    url,
    urlFrom,
    key: source === undefined ? undefined : Effect.provideService(readKey(source), FileSystem.FileSystem, fs),
    keyFrom: source === undefined ? "nowhere" : describe(source)
  }
})

/** The socket to the server, or to the recording, that the flags name. */
export const socket = (
  input: Input,
  options?: ConnectionOptions
): Layer.Layer<Socket.Socket, Failure, FileSystem.FileSystem> =>
  Layer.effect(
    Socket.Socket,
    Effect.gen(function* () {
      if (Option.isSome(input.replay)) {
        const Replay = yield* Effect.promise(() => import("./replay.ts"))
        return yield* Replay.make(input.replay.value, input.speed)
      }
      const { key, url } = yield* resolve(input)
      // A key that cannot be read is reported at once, not as a failed attempt to connect.
      let first = key === undefined ? undefined : yield* key
      const NodeMeshSocket = yield* Effect.promise(() => import("@makima-stream/node/NodeMeshSocket"))
      const apiKey =
        key === undefined
          ? undefined
          : Effect.suspend(() => {
              const known = first
              first = undefined
              return known === undefined ? key : Effect.succeed(known)
            })
      return yield* NodeMeshSocket.make({ url, apiKey, ...options }).pipe(
        Effect.mapError(({ message }) => usage(message))
      )
    })
  )

/** The client of the server, or of the recording, that the flags name. */
export const client = (
  input: Input,
  options?: MeshClient.Options
): Layer.Layer<MeshClient.MeshClient, Failure, FileSystem.FileSystem> =>
  MeshClient.layer(options).pipe(Layer.provide(socket(input)))
