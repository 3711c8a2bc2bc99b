/** A client of `makima-stream serve`, as a browser is. */
import { assert } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { WebSocket } from "ws"

export const feed = "/api/v1/mesh/tasks/subscribe"
export const board = "/api/v1/mesh/tasks"

export interface Reply {
  readonly status: number
  readonly headers: Headers
  readonly body: string
}

export const get = (url: string, headers: Readonly<Record<string, string>> = {}): Effect.Effect<Reply> =>
  Effect.promise(async () => {
    const response = await fetch(url, { headers, redirect: "manual" })
    return { status: response.status, headers: response.headers, body: await response.text() }
  })

/** The newest login URL that was printed. */
export const loginUrl = (printed: string): string => printed.trim().split("\n").at(-1) ?? ""

/** Signs in as a browser does, and returns the cookie. */
export const signIn = Effect.fnUntraced(function* (url: string) {
  const reply = yield* get(url)
  assert.deepStrictEqual([reply.status, reply.headers.get("location")], [303, "/"])
  const cookie = String(reply.headers.get("set-cookie"))
  assert.include(cookie, "HttpOnly")
  return { cookie: cookie.split(";")[0] ?? "", reply }
})

/** A WebSocket as a page opens it, after its first request was answered. */
export const open = Effect.fnUntraced(function* (origin: string, headers: Readonly<Record<string, string>>) {
  const frames: Array<string> = []
  const ws = new WebSocket(`${origin.replace("http", "ws")}${feed}`, { headers: { origin, ...headers } })
  yield* Effect.addFinalizer(() => Effect.sync(() => ws.terminate()))
  const closed = new Promise<number>((resolve) => ws.on("close", resolve))
  yield* Effect.callback<void>((resume) => {
    ws.on("open", () => ws.send(`{"type":"subscribeAll"}`))
    ws.on("message", (data) => {
      frames.push(String(data))
      resume(Effect.void)
    })
    ws.on("error", (error) => resume(Effect.die(error)))
  })
  return { ws, frames, closed: Effect.promise(() => closed) }
})

/** Waits until an effect returns a value that satisfies the condition. */
export const until = <A>(effect: Effect.Effect<A>, condition: (value: A) => boolean): Effect.Effect<A> =>
  Effect.flatMap(effect, (value) =>
    condition(value) ? Effect.succeed(value) : Effect.andThen(Effect.sleep("10 millis"), until(effect, condition))
  )
