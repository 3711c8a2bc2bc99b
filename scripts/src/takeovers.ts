/**
 * Three relays on one log, as processes, at 500 events a second. The holder of the lease is
 * killed, stopped, or cut off from the log, again and again, and another relay takes over.
 * At the end, compares the log with the log of the mock server that sent the feed.
 *
 * `pnpm takeovers`, `pnpm takeovers --engine jetstream --count 50`
 */
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Program from "@makima-stream/cli/Program"
import * as Engines from "./takeovers/engines.ts"
import * as Judge from "./takeovers/judge.ts"
import { allowed } from "./takeovers/settings.ts"
import * as Team from "./takeovers/team.ts"

/** The command line of this program. */
export const command = Command.make(
  "takeovers",
  {
    engine: Flag.Literals("engine", ["sqlite", "jetstream"]).pipe(
      Flag.withDescription("The engine of the log"),
      Flag.withDefault("sqlite")
    ),
    count: Flag.Int("count").pipe(Flag.withDescription("The number of takeovers"), Flag.withDefault(50)),
    rate: Flag.Int("rate").pipe(Flag.withDescription("Outputs a second"), Flag.withDefault(500))
  },
  Effect.fnUntraced(function* ({ count, engine, rate }) {
    if (!Engines.isInstalled(engine)) {
      return yield* new Program.Failure({ message: "nats-server is not installed", exitCode: 2 })
    }
    const figures = yield* Effect.scoped(
      Team.run({
        engine,
        count,
        rate,
        // One process cannot be cut off from a file.
        faults: Team.faults.filter((fault) => engine !== "sqlite" || fault !== "cut"),
        onTakeover: (fault, millis) => Console.error(`${fault}: ${Math.round(millis)} ms`)
      })
    )
    const isInTime = figures.longest <= allowed
    yield* Console.log(JSON.stringify({ clean: Judge.isClean(figures) && isInTime, engine, rate, allowed, ...figures }))
    if (!Judge.isClean(figures) || !isInTime) {
      return yield* new Program.Failure({ message: "A promise was broken: see the figures", exitCode: 1 })
    }
  })
).pipe(Command.withDescription("Takes the lease of relays over, and compares the log with what the server sent"))

if (Program.isMain(import.meta)) Program.main(command)
