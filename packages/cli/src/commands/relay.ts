/** `makima-stream relay`: appends the feed to a log. Of several relays on one log, one writes and the others stand by. */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import * as SubscriptionRef from "effect/SubscriptionRef"
import * as MeshClient from "@makima-stream/core/MeshClient"
import * as Relay from "@makima-stream/log/Relay"
import * as Connection from "../internal/connection.ts"
import * as Feed from "../internal/feed.ts"
import * as Line from "../internal/line.ts"
import * as Output from "../internal/output.ts"
import * as Store from "../internal/store.ts"

/** The values of the command line. */
export interface Input extends Connection.Input {
  readonly log: string
  readonly name: Option.Option<string>
  readonly quiet: boolean
}

const describe = ({ isConnected, role, term }: Relay.Status): string =>
  role === "holder" ? `writes to the log (term ${term})` : isConnected ? "stands by" : "stands by, not connected yet"

/** Runs the command. */
export const run = Effect.fnUntraced(function* (input: Input) {
  const layer = yield* Store.layer(input.log, "write")
  yield* Effect.gen(function* () {
    const status = yield* SubscriptionRef.make<Relay.Status>({
      role: "standby",
      term: 0,
      isConnected: false,
      isAligned: false
    })
    if (!input.quiet) {
      yield* SubscriptionRef.changes(status).pipe(
        Stream.map(describe),
        Stream.changes,
        Stream.runForEach((line) => Output.err(`${line}\n`)),
        Effect.forkScoped
      )
    }
    const client = yield* MeshClient.MeshClient
    const feed = Stream.tap(Feed.untilOver(client.everything()), (event) => {
      const line = input.quiet ? undefined : Line.lifecycle(event)
      return line === undefined ? Effect.void : Output.err(`${line}\n`)
    })
    yield* Relay.run(feed, { status, ...(Option.isSome(input.name) ? { relay: input.name.value } : {}) })
  }).pipe(MeshClient.drainOnInterrupt(), Effect.scoped, Effect.provide([layer, Connection.client(input)]))
})
