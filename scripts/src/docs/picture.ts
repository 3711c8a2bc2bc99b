/**
 * Draws the picture of the README, `docs/demo.svg`: plays the demo with a fixed
 * seed, keeps one frame of its live view from the middle of the run, and the
 * summary. Takes ten seconds.
 *
 * Run by `pnpm docs:picture`, after a change of the demo's output.
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as Audit from "@makima-stream/test-kit/Audit"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import { writeFileSync } from "node:fs"
import { resolve } from "node:path"
import * as Frame from "@makima-stream/cli/demo/Frame"
import * as Local from "@makima-stream/cli/demo/Local"
import * as Tally from "@makima-stream/cli/demo/Tally"
import * as Svg from "./svg.ts"

const file = resolve(import.meta.dirname, "../../../docs/demo.svg")
const seed = 1
const tasks = 24
const terminal: Frame.Terminal = { columns: 96, rows: 21, colour: true }

const program = Effect.gen(function* () {
  let kept: Tally.Tally | undefined
  const { report, tally } = yield* Local.run({
    seed,
    tasks,
    connections: 1,
    view: Effect.succeed({
      // Late enough for two reconnects, and early enough for some running tasks.
      show: (_, tally) =>
        Effect.sync(() => {
          if (tally.connections >= 3 && tally.online && Tally.ended(tally) >= 4) kept ??= tally
        })
    })
  })
  const lines = [
    "$ npx -y pnpm@12 demo",
    "",
    ...Frame.frame(kept ?? tally, tasks, terminal),
    "",
    ...Frame.wrap(Frame.summary(tally, Audit.format(report)), terminal.columns).split("\n")
  ]
  writeFileSync(
    file,
    Svg.render(lines, {
      columns: terminal.columns,
      title: "The demo in a terminal: tasks with their status and costs, and the audit at the end"
    })
  )
  yield* Console.log(`Wrote ${file}`)
})

NodeRuntime.runMain(program)
