/**
 * Mistakes in the merge of two connections, and whether the laws of the merge or the
 * simulator find them. A program of its own, because the modules that a test has loaded
 * cannot be loaded anew: prints a line of JSON for each mistake.
 */
import * as Effect from "effect/Effect"
import { calm as calmWorld } from "../../../core/test/support/calmWorld.ts"
import { run, type World } from "../../../core/test/support/mergeWorld.ts"
import { modulesWith, type Modules, type Patch } from "./mutants.ts"

const sequence = "internal/merge/sequence.ts"
const inputs = "internal/merge/inputs.ts"
const machine = "internal/merge/machine.ts"
const feed = "internal/merge/feed.ts"

/** Without versions, so that everything is aligned by its content. */
const calm: World = { ...calmWorld, versions: 0 }

interface Mutant {
  readonly name: string
  readonly patch: Patch
  /** The world that shows it, and a seed that does: the search starts there, to save time. */
  readonly world: Partial<World>
  readonly from: number
  /** The most messages that may be held, if the mistake is that there are more. */
  readonly maxHeld?: number
}

const mutants: ReadonlyArray<Mutant> = [
  {
    name: "aligns at the first match",
    patch: {
      file: sequence,
      from: `    } else if (message._tag === "TaskUpdated" && message.version !== undefined) {
      const indexes = this.#emitted.indexesOf(message)
      if (indexes.length === 1)`,
      to: `    } else {
      const indexes = this.#emitted.indexesOf(message)
      if (indexes.length >= 1)`
    },
    world: { contents: 3 },
    from: 9
  },
  {
    name: "counts before it is aligned",
    patch: { file: inputs, from: `leads ? "aligned" : "joining"`, to: `"aligned"` },
    world: { contents: 1 },
    from: 4
  },
  {
    name: "skips the comparison",
    patch: {
      file: sequence,
      from: "member.at < this.#emitted.base || isSame(",
      to: "member.at < this.#emitted.base || true || isSame("
    },
    world: { skips: 0.01 },
    from: 4
  },
  {
    name: "holds messages without a bound",
    patch: {
      file: sequence,
      from: "return messages > window || bytes > windowBytes || held > maxHeld || heldBytes > maxHeldBytes",
      to: "return messages + bytes + held + heldBytes + window + windowBytes + maxHeld + maxHeldBytes < 0"
    },
    world: { rate: 300, tasks: 20, pause: 100, seconds: 10, options: { capacity: 20 } },
    from: 1,
    maxHeld: 20
  },
  {
    name: "does not mark what it could not align",
    patch: { file: machine, from: "    out.push(mark)\n", to: "" },
    world: { uptime: 3000, downtime: 1000, common: 0.2 },
    from: 4
  }
]

/** Whether the laws of the merge find something. */
const isFound = ({ from, maxHeld = Infinity, world }: Mutant, merge: Modules["Merge"]): boolean => {
  for (let tried = 0; tried < 20; tried++) {
    const seed = 1 + ((from - 1 + tried) % 20)
    const verdict = run({ ...calm, ...world, seed }, merge)
    if (verdict.violations.length > 0 || verdict.maxHeld > maxHeld) return true
  }
  return false
}

const simulated: ReadonlyArray<{ readonly name: string; readonly patch: Patch }> = [
  {
    name: "dials both connections at once",
    patch: { file: feed, from: "export const dialSpacing = 1000", to: "export const dialSpacing = 0" }
  },
  {
    name: "marks every loss of a connection",
    patch: { file: machine, from: "    if (lead >= 0) {\n", to: "    if (lead >= 9) {\n" }
  }
]

/** What the simulator finds first; `undefined` if it finds nothing. */
const simulate = async ({ name, patch }: (typeof simulated)[number]): Promise<string | undefined> => {
  const { Simulation } = await modulesWith(`pair ${name}`, [patch])
  // Both show under the second seed.
  for (let seed = 2; seed <= 100; seed++) {
    const outcome = await Effect.runPromise(Simulation.check(Simulation.meshPair, seed, { maxShrinks: 0 }))
    if (outcome._tag === "Failed") return outcome.violation.message
  }
  return undefined
}

for (const mutant of mutants) {
  const { Merge } = await modulesWith(`merge ${mutant.name}`, [mutant.patch])
  console.log(JSON.stringify({ name: mutant.name, found: isFound(mutant, Merge) ? "by the laws" : undefined }))
}
for (const mutant of simulated) console.log(JSON.stringify({ name: mutant.name, found: await simulate(mutant) }))
