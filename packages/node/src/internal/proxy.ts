/**
 * Determines the HTTP proxy of a connection: from the option, or from the usual
 * variables (`HTTPS_PROXY`, `HTTP_PROXY`, `NO_PROXY`).
 *
 * `tunnel.ts` connects through this proxy.
 */
import * as Config from "effect/Config"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"

/** A proxy. `authorization` is secret and never part of an error. */
export interface Proxy {
  readonly secure: boolean
  readonly host: string
  readonly port: number
  /** The value of `Proxy-Authorization`, if the URL has a user. */
  readonly authorization: string | undefined
  /** The parts of the URL that must not appear in an error. */
  readonly secrets: ReadonlyArray<string>
}

/** The normalised option: the proxy of the environment, no proxy, or a given proxy. */
export type Setting = "environment" | false | Proxy

/** Parses a proxy's URL. Returns `undefined` if it is invalid. A URL without a protocol counts as `http`, as for curl. */
export const parse = (text: string): Proxy | undefined => {
  const trimmed = text.trim()
  let url: URL
  let user: string
  let password: string
  try {
    url = new URL(trimmed.includes("://") ? trimmed : `http://${trimmed}`)
    user = decodeURIComponent(url.username)
    password = decodeURIComponent(url.password)
  } catch {
    return undefined
  }
  if ((url.protocol !== "http:" && url.protocol !== "https:") || url.hostname === "") return undefined
  const secure = url.protocol === "https:"
  const basic = Buffer.from(`${user}:${password}`).toString("base64")
  return {
    secure,
    host: unbracketed(url.hostname),
    port: url.port === "" ? (secure ? 443 : 80) : Number(url.port),
    authorization: user === "" && password === "" ? undefined : `Basic ${basic}`,
    secrets: user === "" && password === "" ? [] : [password, url.password, basic].filter((secret) => secret !== "")
  }
}

/** The environment's proxy cannot be used. Does not contain its URL. */
export class InvalidProxyVariable extends Data.TaggedError("InvalidProxyVariable")<{ readonly variable: string }> {
  /** What is wrong, in one line. */
  override get message(): string {
    return `${this.variable} is not the URL of an HTTP proxy`
  }
}

/** The proxy for one connection, or `undefined` for a direct one. Reads the environment through the `ConfigProvider`. */
export const resolve = (setting: Setting, url: URL): Effect.Effect<Proxy | undefined, InvalidProxyVariable> => {
  if (setting === false) return Effect.undefined
  if (setting !== "environment") return Effect.succeed(setting)
  return Effect.gen(function* () {
    const variable = url.protocol === "wss:" ? "HTTPS_PROXY" : "HTTP_PROXY"
    const text = yield* read(variable)
    if (text === "" || isExcluded(yield* read("NO_PROXY"), url)) return undefined
    return parse(text) ?? (yield* Effect.fail(new InvalidProxyVariable({ variable })))
  })
}

/** Reads a variable by its lower-case name, or else by its upper-case name. Empty if it is missing. */
const read = (variable: string): Effect.Effect<string> =>
  Effect.gen(function* () {
    for (const name of [variable.toLowerCase(), variable]) {
      const value = yield* Effect.orElseSucceed(Config.option(Config.String(name)), () => Option.none<string>())
      if (Option.isSome(value) && value.value.trim() !== "") return value.value.trim()
    }
    return ""
  })

/**
 * Whether a `NO_PROXY` excludes a server. It is a list of hosts, each with or without a
 * port. `*` excludes everything. A domain, with or without a leading dot or `*.`,
 * excludes its subdomains too.
 */
export const isExcluded = (noProxy: string, url: URL): boolean => {
  const host = unbracketed(url.hostname).toLowerCase()
  const port = url.port === "" ? (url.protocol === "wss:" ? "443" : "80") : url.port
  return noProxy.split(/[\s,]+/).some((entry) => {
    if (entry === "") return false
    if (entry === "*") return true
    const [, name = "", entryPort] = /^(.*?)(?::(\d+))?$/.exec(isBareIpv6(entry) ? `[${entry}]` : entry) ?? []
    if (entryPort !== undefined && entryPort !== port) return false
    const domain = unbracketed(name)
      .toLowerCase()
      .replace(/^\*?\./, "")
    return domain !== "" && (host === domain || host.endsWith(`.${domain}`))
  })
}

const isBareIpv6 = (entry: string): boolean => !entry.startsWith("[") && entry.split(":").length > 2

const unbracketed = (host: string): string => (/^\[.*\]$/.test(host) ? host.slice(1, -1) : host)
