/**
 * One way to read the feed. Every variant has the same task: to pass the content of
 * each output of the wanted tasks to `output`, in order.
 */
export interface Job {
  readonly port: number
  readonly wanted: ReadonlySet<string>
  readonly output: (content: string) => void
}

export interface Variant {
  /** Connects, and reads until the process ends. */
  readonly start: (job: Job) => void
  /** The number of messages that the server must have received before it sends data. */
  readonly expects: (job: Job) => number
  /** The number of its connections. Each must have sent this number of messages. Defaults to 1. */
  readonly connections?: number
}

export const feedUrl = (port: number): string => `ws://127.0.0.1:${port}/api/v1/mesh/tasks/subscribe`
