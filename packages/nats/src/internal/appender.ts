/**
 * Appends events in order, with a compare and set of the stream's last sequence.
 *
 * JetStream has no transaction over several messages. Each message therefore expects
 * the sequence and the id of the one before it, so that:
 *
 * - the stored part of a batch is a prefix of it, also if the connection breaks in
 *   the middle and the client sends the rest again;
 * - two writers cannot mix their batches;
 * - a writer that has lost its lease is refused. A new holder of a lease puts a
 *   message into the stream, and every append expects the end of the stream that the
 *   writer saw when it checked its lease.
 *
 * The id is needed too: a message of another process before a window increases the
 * sequence, to just the sequence that the second message of the window expects.
 *
 * A message whose id the server knows does not advance the stream, so the messages
 * sent after it are refused and sent again. Windows are small after that.
 *
 * `window.ts` publishes the messages, and `known.ts` has what this writer knows of the
 * stream.
 */
import * as Effect from "effect/Effect"
import * as Semaphore from "effect/Semaphore"
import { leaseKey, type Cells, type Fence } from "@makima-stream/log/LogEngine"
import type { LogError } from "@makima-stream/log/LogError"
import type { NewEvent } from "@makima-stream/log/MeshLog"
import type { JetStreamManager } from "@nats-io/jetstream"
import * as Errors from "./errors.ts"
import { Known } from "./known.ts"
import { maxWindow, Publisher, type Options as PublisherOptions } from "./window.ts"

export interface Appender {
  readonly append: (events: ReadonlyArray<NewEvent>, fence: Fence | undefined) => Effect.Effect<number, LogError>
  /** Puts a message into the stream that says that a lease has a new holder. */
  readonly markLease: (name: string) => Effect.Effect<void, LogError>
}

export interface Options extends PublisherOptions {
  readonly jsm: JetStreamManager
  readonly stream: string
  /** The subject on which appends are announced to readers. */
  readonly notify: string
  readonly getCell: Cells["get"]
}

const attempt = <A>(run: () => Promise<A>): Effect.Effect<A, LogError> =>
  Effect.tryPromise({ try: run, catch: Errors.toLogError })

export const make = (options: Options): Appender => {
  const { js, nc, subjects } = options
  const lock = Semaphore.makeUnsafe(1)
  const known = new Known(options)
  const publisher = new Publisher(options, known)

  const check = Effect.fnUntraced(function* (fence: Fence) {
    if (known.isChecked(fence)) return
    const cell = yield* options.getCell(leaseKey(fence.name))
    yield* Effect.try({ try: () => known.check(fence, cell), catch: Errors.toLogError })
  })

  const announce = Effect.sync(() => {
    if (!nc.isClosed()) nc.publish(options.notify)
  })

  const appendAll = Effect.fnUntraced(function* (events: ReadonlyArray<NewEvent>, fence: Fence | undefined) {
    let done = 0
    let position = 0
    let size = maxWindow
    while (done < events.length) {
      // First the end of the stream, then the lease: if the holder changes in between, the append is refused.
      const tail = yield* attempt(() => known.tail())
      if (fence !== undefined) yield* check(fence)
      yield* attempt(() => known.readVersions(events))
      const outcome = yield* attempt(() => publisher.window(events, done, size, tail))
      if (outcome.count > 0) {
        done += outcome.count
        position = outcome.position
      }
      // Another writer may have stored an event that was stored before.
      if (outcome.isDuplicate) known.forgetVersions()
      size = outcome.isDuplicate ? 1 : Math.min(maxWindow, size * 2)
      if (outcome.isConflict) known.forget()
    }
    yield* announce
    return position
  })

  /** An append of nothing. It checks the lease too. */
  const emptyAppend = Effect.fnUntraced(function* (fence: Fence | undefined) {
    known.forget()
    const tail = yield* attempt(() => known.tail())
    if (fence !== undefined) yield* check(fence)
    return tail.seq
  })

  const guarded = <A>(effect: Effect.Effect<A, LogError>): Effect.Effect<A, LogError> =>
    lock.withPermit(
      Effect.onExit(effect, (exit) =>
        Effect.sync(() => {
          // It is unknown what was stored.
          if (exit._tag === "Failure") known.forget()
        })
      )
    )

  return {
    append: (events, fence) => guarded(events.length === 0 ? emptyAppend(fence) : appendAll(events, fence)),
    // Without the lock: it has to refuse an append that is in progress.
    markLease: (name) =>
      Effect.asVoid(attempt(() => js.publish(subjects.fence(name), "", { timeout: options.timeoutMillis })))
  }
}
