/**
 * How long a program takes to end, in time of its own: less what the machine kept it waiting for a processor, which is
 * nothing where nothing else runs. What it waits for by itself and what it computes both count, from the signal on.
 */
import { readFileSync, writeSync } from "node:fs"
import type { ChildProcess } from "node:child_process"

/** The file descriptor that a program tells its end on: `stdio` has a pipe there. */
const descriptor = 3

/** How long a process has waited for a processor so far, in nanoseconds, where the system says so. */
const waited = (process: number | "self"): bigint => {
  try {
    return BigInt(readFileSync(`/proc/${process}/schedstat`, "latin1").split(" ")[1] ?? 0)
  } catch {
    return 0n
  }
}

/** Called by the program itself. */
export const tell = (): void => {
  // This clock is one for all processes.
  process.once("exit", () => writeSync(descriptor, `${process.hrtime.bigint()} ${waited("self")}`))
}

/** Sends the signal. What it gives is for when the child is closed: how long it took, in milliseconds. */
export const kill = (child: ChildProcess, signal: NodeJS.Signals): (() => number) => {
  let told = ""
  child.stdio[descriptor]?.on("data", (data) => (told += String(data)))
  const waitedBefore = waited(child.pid ?? "self")
  const start = process.hrtime.bigint()
  child.kill(signal)
  return () => {
    const [end, waitedInAll] = told.split(" ").map(BigInt)
    if (end === undefined || waitedInAll === undefined) throw new Error("the program did not tell of its end")
    return Number(end - start - (waitedInAll - waitedBefore)) / 1e6
  }
}
