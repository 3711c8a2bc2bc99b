/**
 * Reads the entries of one task from the log of the gateway: the history first, then new entries, in one stream without a
 * gap or repetition. A stream that breaks continues after its last position.
 *
 * A browser allows only a few such requests to one host at a time, so a page that is hidden has none.
 */
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Result from "effect/Result"
import * as Stream from "effect/Stream"
import * as Sse from "effect/encoding/Sse"
import * as GatewayMessages from "@makima-stream/core/GatewayMessages"
import type { MeshEvent } from "@makima-stream/core/MeshEvent"
import * as MeshStream from "@makima-stream/core/MeshStream"
import * as ServerMessage from "@makima-stream/core/ServerMessage"
import type { Stored } from "./model/logged.ts"

/** Receives the entries of the log. */
export interface Sink {
  /** The events of a batch, as they are in the log. */
  readonly stored: (batch: ReadonlyArray<Stored<MeshEvent>>) => void
  /** The same events after the pieces of messages were joined. */
  readonly joined: (batch: ReadonlyArray<Stored<MeshEvent>>) => void
  /** The log cannot be read: why. `undefined` once it can be read again. */
  readonly failed: (problem: string | undefined) => void
}

/** The longest event that is read, in characters. */
const maxEventSize = 64 * 1024 * 1024

const retryMillis = { first: 1000, longest: 30_000 } as const

/** Why an attempt ended. Without a `problem`, the connection was lost, which the page shows elsewhere. */
interface Broken {
  readonly problem?: string
}

const broken: Broken = {}

/** Reads the member `storedAt` of a frame. A gateway writes it and `position` last. */
const storedAtOf = (data: string): number =>
  Number(/,"storedAt":(\d{1,15}),"position":\d+\}$/.exec(data.slice(-60))?.[1])

/** Decodes the data of an event. A message that cannot be decoded is a gap at its place. */
export const decode = (data: string): Stored<MeshEvent> => {
  const storedAt = storedAtOf(data) || Date.now()
  const decoded = ServerMessage.decodeFrame(data)
  const message = Result.isFailure(decoded)
    ? decoded.failure
    : decoded.success._tag === "UnknownMessage"
      ? (GatewayMessages.extension.decode(decoded.success.raw, 0, data.length) ?? decoded.success)
      : decoded.success
  switch (message._tag) {
    case "DecodeError":
      return { _tag: "Resync", epoch: 0, reason: { _tag: "BadFrame", error: message }, storedAt }
    default:
      // Acknowledgements are no events, and a log has none.
      return { ...(message as MeshEvent), storedAt }
  }
}

interface Place {
  position: number
  /** The number of consecutive attempts without an event. */
  failures: number
}

/** Waits until the page is hidden, or visible. */
const awaitHidden = (isHidden: boolean): Effect.Effect<void> =>
  Effect.callback<void>((resume) => {
    const check = (): void => {
      if (document.hidden !== isHidden) return
      document.removeEventListener("visibilitychange", check)
      resume(Effect.void)
    }
    document.addEventListener("visibilitychange", check)
    check()
    return Effect.sync(() => document.removeEventListener("visibilitychange", check))
  })

/** Waits before an attempt: longer after each failed one, and until the page is visible. */
const pause = (place: Place): Effect.Effect<void> =>
  Effect.suspend(() =>
    place.failures === 0
      ? Effect.void
      : Effect.sleep(Math.min(retryMillis.longest, retryMillis.first * 2 ** (place.failures - 1)))
  ).pipe(Effect.andThen(awaitHidden(false)))

const request = (url: string, init: RequestInit): Effect.Effect<Response, Broken> =>
  Effect.tryPromise({ try: (signal) => fetch(url, { cache: "no-store", ...init, signal }), catch: () => broken })

/** Whether the gateway has a log. */
const hasLog = (url: string, place: Place): Effect.Effect<boolean> =>
  pause(place).pipe(
    Effect.andThen(request(url, { method: "HEAD" })),
    Effect.flatMap((response) =>
      response.ok ? Effect.succeed(response.headers.get("x-makima-log") === "1") : Effect.fail(broken)
    ),
    Effect.tapError(() => Effect.sync(() => place.failures++)),
    Effect.eventually
  )

/** Parses pieces of the response. */
const parse = (text: Stream.Stream<string, Broken>, onText: () => void) =>
  Stream.suspend(() => {
    let parsed: Array<Sse.Event> = []
    const parser = Sse.makeParser((event) => void (event._tag === "Event" && parsed.push(event)), { maxEventSize })
    return text.pipe(
      Stream.mapEffect((piece) => {
        onText()
        return parser.feed(piece) === undefined
          ? Effect.succeed(parsed.splice(0))
          : Effect.fail<Broken>({ problem: "An event of the log is too large" })
      }),
      Stream.flattenIterable
    )
  })

/** One request: everything after the last position, until the stream breaks or the page is hidden. */
const read = (url: string, place: Place, sink: Sink): Stream.Stream<Sse.Event> =>
  Stream.unwrap(
    Effect.gen(function* () {
      let hasText = false
      const response = yield* request(url, { headers: { "last-event-id": `${place.position}` } })
      const { body } = response
      if (!response.ok || body === null) {
        return yield* Effect.fail<Broken>({ problem: `The gateway answered ${response.status}` })
      }
      const text = Stream.decodeText(Stream.fromReadableStream({ evaluate: () => body, onError: () => broken }))
      return parse(text, () => {
        if (hasText) return
        hasText = true
        place.failures = 0
        sink.failed(undefined)
      }).pipe(
        // A gateway whose log fails ends the stream.
        Stream.concat(
          Stream.suspend(() => Stream.fail<Broken>(hasText ? broken : { problem: "The log of the gateway failed" }))
        )
      )
    })
  ).pipe(
    Stream.catch(({ problem }) => {
      place.failures++
      if (problem !== undefined) sink.failed(problem)
      return Stream.empty
    }),
    Stream.interruptWhen(awaitHidden(true))
  )

/** Follows a task in the log of the gateway at `origin`. Does nothing if it has none. Returns how to stop. */
export const follow = (taskId: string, sink: Sink, origin: string): (() => void) => {
  const url = `${origin}/api/v1/mesh/tasks/events?task=${encodeURIComponent(taskId)}`
  const place: Place = { position: 0, failures: 0 }
  const attempt = Stream.unwrap(Effect.as(pause(place), read(url, place, sink)))
  const all = Stream.forever(attempt).pipe(
    Stream.mapArray((batch) => {
      const events = batch.map(({ data }) => decode(data)) as [Stored<MeshEvent>]
      sink.stored(events)
      // Set after the events were passed on: an event that was not is requested again.
      place.position = Number(batch.at(-1)?.id) || place.position
      return events
    }),
    MeshStream.joinPartials,
    Stream.runForEachArray((batch) => Effect.sync(() => sink.joined(batch as ReadonlyArray<Stored<MeshEvent>>)))
  )
  const fiber = Effect.runFork(Effect.flatMap(hasLog(url, place), (has) => (has ? all : Effect.void)))
  return () => void Effect.runFork(Fiber.interrupt(fiber))
}
