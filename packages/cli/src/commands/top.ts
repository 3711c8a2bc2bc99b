/** `makima-stream top`: a live board in the terminal. */
import * as NodeTerminal from "@effect/platform-node/NodeTerminal"
import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Queue from "effect/Queue"
import * as Stream from "effect/Stream"
import * as CostLedger from "@makima-stream/core/CostLedger"
import * as MeshClient from "@makima-stream/core/MeshClient"
import type * as MeshEvent from "@makima-stream/core/MeshEvent"
import * as TaskBoard from "@makima-stream/core/TaskBoard"
import * as Board from "../internal/board.ts"
import * as Connection from "../internal/connection.ts"
import * as Feed from "../internal/feed.ts"
import * as Line from "../internal/line.ts"
import * as Output from "../internal/output.ts"
import * as Screen from "../internal/screen.ts"
import * as Text from "../internal/text.ts"
import { Failure, exitCodes } from "../Program.ts"

/** The values of the command line. */
export interface Input extends Connection.Input {
  readonly sort: Board.Sort
  readonly filter: string
  /** Milliseconds between two frames. */
  readonly interval: number
  readonly color: Output.ColorMode
}

/** How many lines of output the open task keeps. */
const maxOutput = 500

/** The state of the board. Events and keys change it. */
const makeState = (input: Input) => {
  let view: Board.View = { ...Board.initial, sort: input.sort, filter: input.filter }
  let board = TaskBoard.make()
  let ledger = CostLedger.make()
  let connection = "connecting"
  let online = false
  let events = 0
  let gaps = 0
  let output: Array<string> = []
  let rate = { since: 0, events: 0, shown: 0 }

  const note = (event: MeshEvent.MeshEvent): void => {
    switch (event._tag) {
      case "Connected":
        online = true
        connection = `online, connection ${event.epoch}`
        break
      case "Disconnected":
        online = false
        connection = Line.lifecycle(event) ?? ""
        gaps++
        break
      case "Resync":
        if (!["Started", "Reconnected", "Subscribed", "JoinedLate"].includes(event.reason._tag)) gaps++
        break
      case "Repaired":
      case "RepairFailed":
        break
      default:
        events++
    }
    if (event._tag === "TaskOutput" && view.open && event.taskId === view.selected && event.isPartial !== true) {
      output.push(`${Text.oneLine(event.messageType)}  ${Text.strip(event.content)}`)
      if (output.length > maxOutput) output = output.slice(-maxOutput / 2)
    }
  }

  const model = (now: number): Board.Model => ({
    tasks: [...TaskBoard.live(board), ...TaskBoard.ended(board)],
    ledger,
    online,
    connection,
    events,
    rate: rate.shown,
    gaps,
    output,
    now
  })

  return {
    fold: (batch: ReadonlyArray<MeshEvent.MeshEvent>, at: number): void => {
      board = TaskBoard.fold(board, batch, at)
      ledger = CostLedger.fold(ledger, batch, at)
      for (const event of batch) note(event)
    },
    over: (): void => {
      online = false
      connection = "the recording is over"
    },
    frame: (now: number, size: Board.Size, color: boolean): ReadonlyArray<string> => {
      const elapsed = now - rate.since
      if (elapsed >= 1000) {
        const shown = rate.since === 0 ? 0 : Math.round(((events - rate.events) / elapsed) * 1000)
        rate = { since: now, events, shown }
      }
      return Board.frame(model(now), view, size, color)
    },
    /** Returns `false` if the key ends the program. */
    press: (key: Board.Key, now: number, rows: number): boolean => {
      const next = Board.press(model(now), view, key, rows)
      if (next === undefined) return false
      if (next.selected !== view.selected || !next.open) output = []
      view = next
      return true
    }
  }
}

const sizeOf = (): Board.Size => ({ columns: process.stdout.columns || 80, rows: process.stdout.rows || 24 })

/** Runs the command. */
export const run = Effect.fnUntraced(function* (input: Input) {
  if (!process.stdout.isTTY || process.env["TERM"] === "dumb") {
    return yield* new Failure({
      message: "top needs a terminal as its output. Use tail, or tail -o json",
      exitCode: exitCodes.usage
    })
  }
  const color = Output.useColor(input.color, process.env, process.stdout.isTTY)
  const state = makeState(input)
  yield* Effect.gen(function* () {
    const client = yield* MeshClient.MeshClient
    const screen = yield* Screen.make
    const quit = yield* Deferred.make<void>()
    let isResized = false
    const onResize = () => {
      isResized = true
    }
    yield* Effect.acquireRelease(
      Effect.sync(() => process.stdout.on("resize", onResize)),
      () => Effect.sync(() => process.stdout.removeListener("resize", onResize))
    )
    const draw = Effect.flatMap(Clock.currentTimeMillis, (now) => {
      const clear = isResized
      isResized = false
      return screen.draw(state.frame(now, sizeOf(), color), clear)
    })
    const keys = Effect.gen(function* () {
      if (!process.stdin.isTTY) return
      // By default it ends at Escape, which is a key of the board.
      const terminal = yield* NodeTerminal.make(() => false)
      const pressed = yield* terminal.readInput
      while (true) {
        const { input: text, key } = yield* Queue.take(pressed)
        const now = yield* Clock.currentTimeMillis
        const found = { name: key.name, text: Option.getOrElse(text, () => ""), ctrl: key.ctrl }
        // In raw mode the terminal does not turn Ctrl-C into a signal.
        if (found.ctrl && found.name === "c") {
          yield* Deferred.interrupt(quit)
          break
        }
        if (!state.press(found, now, sizeOf().rows)) break
        yield* draw
      }
      yield* Deferred.succeed(quit, undefined)
    })
    // The board stays when the keyboard is closed.
    yield* keys.pipe(
      Effect.scoped,
      Effect.catchCause(() => Effect.void),
      Effect.forkScoped
    )
    const following = Feed.untilOver(client.everything({ overflow: "conflate" })).pipe(
      Stream.runForEachArray((batch) =>
        Effect.map(Clock.currentTimeMillis, (at) => {
          state.fold(batch, at)
        })
      ),
      Effect.andThen(Effect.sync(() => state.over())),
      Effect.andThen(Effect.never)
    )
    const drawing = draw.pipe(Effect.andThen(Effect.sleep(input.interval)), Effect.forever)
    yield* Effect.raceFirst(Deferred.await(quit), Effect.raceFirst(following, drawing))
  }).pipe(Effect.scoped, Effect.provide(Connection.client(input)))
})
