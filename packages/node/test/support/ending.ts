/**
 * Measures how long a program takes to end after a signal, without the time in which it waited for a processor. So the
 * verdict does not depend on what else runs on the machine.
 */
import { readFileSync, writeSync } from "node:fs"
import type { ChildProcess } from "node:child_process"

/** The file descriptor on which a program reports its end: `stdio` has a pipe there. */
const descriptor = 3

/** How long a process has waited for a processor so far, in nanoseconds. 0 if the system does not say. */
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

/** Sends the signal. Call the returned function when the child is closed: it returns how long that took, in milliseconds. */
export const kill = (child: ChildProcess, signal: NodeJS.Signals): (() => number) => {
  let reported = ""
  child.stdio[descriptor]?.on("data", (data) => (reported += String(data)))
  const waitedBefore = waited(child.pid ?? "self")
  const start = process.hrtime.bigint()
  child.kill(signal)
  return () => {
    const [end, waitedInAll] = reported.split(" ").map(BigInt)
    if (end === undefined || waitedInAll === undefined) throw new Error("the program did not report its end")
    return Number(end - start - (waitedInAll - waitedBefore)) / 1e6
  }
}
