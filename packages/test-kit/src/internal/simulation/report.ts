/** Formats the outcome of a search as text. */
import type { Outcome, Step } from "./program.ts"

export const format = <Action>(outcome: Outcome<Action>): string => {
  if (outcome._tag === "Passed") return "Nothing was found."
  const { generatedSteps, program, schedule, seed, violation } = outcome
  const { maxBatch, nameTasks, steps } = schedule
  const lines = steps.map((step, index) => {
    const here = index + 1 === violation.step ? "   <-- here" : ""
    return `  ${String(index + 1).padStart(2)}. ${showStep(step)}${here}`
  })
  const where =
    violation.step < 0 || violation.step <= steps.length ? "" : " (after the schedule: while healing, or at the end)"
  return [
    `${program}, seed ${seed}: ${violation.message}${where}`,
    `The smallest schedule found, ${steps.length} of ${generatedSteps} steps, with pulls of ${maxBatch} frames and acknowledgements that ${
      nameTasks ? "name" : "do not name"
    } their task${schedule.yields === true ? ", and a scheduler that yields at random" : ""}:`,
    ...lines
  ].join("\n")
}

const showStep = <Action>(step: Step<Action>): string => {
  const { _tag, ...members } = step._tag === "Act" ? { _tag: step._tag, ...toRecord(step.action) } : step
  const said = Object.entries(members).map(([key, value]) => `${key}: ${JSON.stringify(value)}`)
  return said.length === 0 ? _tag : `${_tag} ${said.join(", ")}`
}

const toRecord = (action: unknown): object => (typeof action === "object" && action !== null ? action : { action })
