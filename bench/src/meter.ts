/**
 * Counts the events of a variant, and starts and stops its clock. The payload repeats,
 * so the number of matching events is known in advance. A variant that loses or adds an
 * event ends with a different checksum, or does not end.
 */

export interface Usage {
  /** Wall time between the two marks. */
  readonly wallMillis: number
  /** CPU time of the whole client process between the two marks: user and system, all threads. */
  readonly cpuMillis: number
  /** The length of all contents between the two marks. */
  readonly chars: number
}

export interface Meter {
  /** A matching output reached the consumer. */
  readonly output: (content: string) => void
  readonly done: Promise<Usage>
}

/** Starts after `warm` matching outputs and stops after `measured` more. */
export const make = (warm: number, measured: number): Meter => {
  let resolve: (usage: Usage) => void = () => {}
  const done = new Promise<Usage>((settle) => {
    resolve = settle
  })
  const stop = warm + measured
  let count = 0
  let chars = 0
  let startedAt = 0
  let startCpu = process.cpuUsage()
  let startChars = 0
  return {
    output(content) {
      chars += content.length
      count++
      if (count === warm) {
        startCpu = process.cpuUsage()
        startChars = chars
        startedAt = performance.now()
      } else if (count === stop) {
        const wallMillis = performance.now() - startedAt
        const { user, system } = process.cpuUsage(startCpu)
        resolve({ wallMillis, cpuMillis: (user + system) / 1000, chars: chars - startChars })
      }
    },
    done
  }
}
