/** A recording instead of a server, at its own speed or at another speed. */
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import * as Recording from "@makima-stream/test-kit/Recording"

const stamp = /^(\{"_tag":"[A-Za-z]+","at":)(\d+(?:\.\d+)?)/

/** Divides the time of an entry by a factor. A line in another form is left for `Recording` to judge. */
const faster =
  (speed: number) =>
  (line: string): string =>
    line.replace(stamp, (_, start: string, at: string) => `${start}${Number(at) / speed}`)

/** Makes the socket that plays a recording. `Infinity` plays it as fast as it is read. */
export const make = (file: string, speed: number) =>
  Effect.gen(function* () {
    const lines = Recording.fromFile(file)
    const paced = Number.isFinite(speed) && speed !== 1 ? Stream.map(lines, faster(speed)) : lines
    const { socket } = yield* Recording.replay(paced, { timing: Number.isFinite(speed) ? "recorded" : "asPulled" })
    return socket
  })

export { isOver } from "@makima-stream/test-kit/Recording"
