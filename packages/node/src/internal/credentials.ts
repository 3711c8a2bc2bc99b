/**
 * Obtains the key for one dial. The key never appears in an error or a log.
 *
 * The error of the credentials effect may contain the secret, so only the kind
 * of the failure is passed on.
 */
import * as MeshError from "@makima-stream/core/MeshError"
import type * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import type * as Socket from "effect/socket/Socket"
import * as Failure from "./failure.ts"
import { InvalidOption, isHeaderValue } from "./options.ts"

export type ApiKey = Redacted.Redacted | Effect.Effect<Redacted.Redacted | undefined, unknown>

/** Whether the next attempt may send another key, because the key is an effect. */
export const mayChange = (apiKey: ApiKey | undefined): boolean => apiKey !== undefined && !Redacted.isRedacted(apiKey)

/** Refuses a value that the type does not allow, such as a plain string. Does not repeat it: it may be the key. */
export const check = (apiKey: ApiKey | undefined): Result.Result<ApiKey | undefined, InvalidOption> =>
  apiKey === undefined || Redacted.isRedacted(apiKey) || Effect.isEffect(apiKey)
    ? Result.succeed(apiKey)
    : Result.fail(
        new InvalidOption({ option: "apiKey", detail: "it must be a Redacted, or an effect that returns one" })
      )

const failed = (detail: string, isFinal = false): Socket.SocketError =>
  Failure.openFailed(
    new MeshError.CredentialsFailed({ cause: new Error(detail), detail, ...(isFinal ? { isFinal } : {}) })
  )

/** Returns the key as plain text, or `undefined` if there is no key. */
export const read = (
  apiKey: ApiKey | undefined,
  timeoutMillis: number
): Effect.Effect<string | undefined, Socket.SocketError> => {
  if (apiKey === undefined) return Effect.undefined
  if (Redacted.isRedacted(apiKey)) return Effect.suspend(() => reveal(apiKey, true))
  // A separate fiber distinguishes an interrupted effect (such as a refresh that another fiber stopped) from an
  // interrupted dial. Detached: a parent would wait for it, and it may never end.
  return Effect.uninterruptibleMask((restore) =>
    Effect.flatMap(Effect.forkDetach(apiKey), (fiber) =>
      Effect.onInterrupt(restore(Fiber.await(fiber)), () => Effect.sync(() => fiber.interruptUnsafe()))
    )
  ).pipe(
    Effect.timeoutOrElse({
      duration: timeoutMillis,
      orElse: () => Effect.fail(failed(`The credentials effect did not return within ${timeoutMillis} ms`))
    }),
    Effect.flatMap(
      Exit.match({
        onSuccess: (redacted) => reveal(redacted, false),
        onFailure: (cause) => Effect.fail(failed(`The credentials effect ${howItFailed(cause)}`))
      })
    )
  )
}

const reveal = (
  redacted: Redacted.Redacted | undefined,
  isFixed: boolean
): Effect.Effect<string | undefined, Socket.SocketError> => {
  if (redacted === undefined) return Effect.undefined
  let key: string
  try {
    // Like `MeshConfig`. Line breaks and byte order marks come from files. HTTP removes surrounding spaces, and the text
    // that is scrubbed must be the text that the server saw.
    key = Redacted.value(redacted).trim()
  } catch {
    return Effect.fail(failed("The credentials are not a redacted string, or were wiped", isFixed))
  }
  if (key === "") return Effect.undefined
  return isHeaderValue(key)
    ? Effect.succeed(key)
    : Effect.fail(failed("The key has characters that are not allowed in an HTTP header", isFixed))
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

/** The class of an error. A name with unusual characters is not shown, since it may contain the secret. */
const kindOf = (error: unknown): string => {
  if (typeof error !== "object" || error === null) return `a ${typeof error}`
  const name = "_tag" in error ? error._tag : error instanceof Error ? error.name : undefined
  return typeof name === "string" && /^[A-Z][A-Za-z]{0,40}$/.test(name) ? name : "an error"
}
