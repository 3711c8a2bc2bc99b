/**
 * The task that the page shows. Its transcript comes from the log of the gateway, if there is one: the history and new
 * entries, from one stream. Otherwise, or while the log cannot be read, it has what the page has received since it was opened.
 */
import type { Frames } from "./frames.ts"
import * as Log from "./log.ts"
import * as Logged from "./model/logged.ts"
import type { Models } from "./models.ts"

/** A transcript as it is drawn. */
export interface Shown extends Logged.Shown {
  /** Whether it comes from the log. */
  readonly isLogged: boolean
  /** Why the log cannot be read. Absent if it can, or if there is none. */
  readonly problem?: string
}

export interface OpenTask {
  /** Opens a task, or none. */
  readonly open: (taskId: string | undefined) => void
  /** The transcript of a task. */
  readonly shown: (taskId: string) => Shown
}

export const make = ({ gaps, transcripts }: Models, frames: Frames, origin: string): OpenTask => {
  let current: { readonly taskId: string; readonly logged: Logged.Logged; readonly stop: () => void } | undefined
  return {
    open(taskId) {
      current?.stop()
      current = undefined
      transcripts.open(taskId)
      if (taskId === undefined) return
      const logged = Logged.make(taskId)
      const sink: Log.Sink = {
        stored(batch) {
          logged.stored(batch)
          frames.request()
        },
        joined(batch) {
          logged.joined(batch)
          frames.request()
        },
        failed(problem) {
          logged.failed(problem)
          frames.request()
        }
      }
      current = { taskId, logged, stop: Log.follow(taskId, sink, origin) }
    },
    shown(taskId) {
      const logged = current?.taskId === taskId ? current.logged : undefined
      const shown = logged?.shown()
      if (shown !== undefined) return { ...shown, isLogged: true }
      const problem = logged?.problem()
      return {
        transcript: transcripts.get(taskId),
        gap: gaps.get,
        isLogged: false,
        ...(problem === undefined ? {} : { problem })
      }
    }
  }
}
