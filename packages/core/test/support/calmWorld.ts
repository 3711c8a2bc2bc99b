import type { World } from "./mergeWorld.ts"

/** A world without faults, for the laws of a merge and for its mutants. */
export const calm: World = {
  seed: 0,
  contents: Infinity,
  versions: 1,
  tasks: 3,
  rate: 20,
  burst: 1500,
  pause: 1500,
  seconds: 150,
  uptime: 20_000,
  downtime: 2000,
  common: 0,
  halfOpen: 0,
  silence: 0,
  delays: [20, 20],
  jitter: 30,
  skips: 0,
  asks: true
}
