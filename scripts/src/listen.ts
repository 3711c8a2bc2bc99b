/** Listens on a free port of 127.0.0.1, until the scope closes. Returns the URL. */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { Server } from "node:http"

export const listen = (server: Server): Effect.Effect<string, never, Scope.Scope> =>
  Effect.gen(function* () {
    yield* Effect.acquireRelease(
      Effect.callback<void>((resume) => void server.listen(0, "127.0.0.1", () => resume(Effect.void))),
      () =>
        Effect.callback<void>((resume) => {
          server.closeAllConnections()
          server.close(() => resume(Effect.void))
        })
    )
    const address = server.address()
    if (address === null || typeof address === "string") return yield* Effect.die(new Error("the server has no port"))
    return `http://127.0.0.1:${address.port}/`
  })
