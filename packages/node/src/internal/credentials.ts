/**
 * The key for one dial: had anew each time, and never told.
 *
 * What the effect fails with may hold the secret, so nothing of it is passed on
 * but the kind of the failure.
 */
import * as MeshError from "@makima-stream/core/MeshError"
import type * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Redacted from "effect/Redacted"
import type * as Socket from "effect/socket/Socket"
import { validateHeaderValue } from "node:http"
import * as Failure from "./failure.ts"

/** The header that carries the key. */
export const headerName = "x-makima-api-key"

export type ApiKey = Redacted.Redacted | Effect.Effect<Redacted.Redacted | undefined, unknown>

const failed = (what: string): Socket.SocketError =>
  Failure.openFailed(new MeshError.CredentialsFailed({ cause: new Error(what) }))

/** The key in clear, or `undefined` where there is none. */
export const read = (
  apiKey: ApiKey | undefined,
  timeoutMillis: number
): Effect.Effect<string | undefined, Socket.SocketError> => {
  if (apiKey === undefined) return Effect.undefined
  if (Redacted.isRedacted(apiKey)) return Effect.suspend(() => reveal(apiKey))
  // A fiber of its own tells an effect that was interrupted (a refresh that somebody else stopped) from a dial that is.
  // It is nobody's child, because a parent waits for its children, and this one may not stop.
  return Effect.uninterruptibleMask((restore) =>
    Effect.flatMap(Effect.forkDetach(apiKey), (fiber) =>
      Effect.onInterrupt(restore(Fiber.await(fiber)), () => Effect.sync(() => fiber.interruptUnsafe()))
    )
  ).pipe(
    Effect.timeoutOrElse({
      duration: timeoutMillis,
      orElse: () => Effect.fail(failed(`The credentials did not come within ${timeoutMillis} ms`))
    }),
    Effect.flatMap(
      Exit.match({
        onSuccess: reveal,
        onFailure: (cause) => Effect.fail(failed(`The credentials effect ${howItFailed(cause)}`))
      })
    )
  )
}

const reveal = (redacted: Redacted.Redacted | undefined): Effect.Effect<string | undefined, Socket.SocketError> => {
  if (redacted === undefined) return Effect.undefined
  let key: string
  try {
    // Without the blanks that HTTP takes off a header: what is scrubbed must be what the server saw.
    key = Redacted.value(redacted).replaceAll(/^[ \t]+|[ \t]+$/g, "")
  } catch {
    return Effect.fail(failed("The credentials are no redacted string, or were wiped"))
  }
  if (key === "") return Effect.undefined
  return isHeaderValue(key)
    ? Effect.succeed(key)
    : Effect.fail(failed("The key holds characters that an HTTP header cannot"))
}

/** Whether a key can be sent at all. */
export const isHeaderValue = (key: string): boolean => {
  try {
    validateHeaderValue(headerName, key)
    return true
  } catch {
    return false
  }
}

const howItFailed = (cause: Cause.Cause<unknown>): string => {
  const [reason] = cause.reasons
  switch (reason?._tag) {
    case "Fail":
      return `failed with ${kindOf(reason.error)}`
    case "Die":
      return `died with ${kindOf(reason.defect)}`
    default:
      return "was interrupted"
  }
}

/** The class of an error. A name with anything unusual in it is not taken for one. */
const kindOf = (error: unknown): string => {
  if (typeof error !== "object" || error === null) return `a ${typeof error}`
  const name = "_tag" in error ? error._tag : error instanceof Error ? error.name : undefined
  return typeof name === "string" && /^[A-Z][A-Za-z]{0,40}$/.test(name) ? name : "an error"
}
