import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as SubscriptionRef from "effect/SubscriptionRef"
import * as Team from "./support/team.ts"

/**
 * Three relays of which faults hit the holder, again and again. At least one relay is
 * untouched at any time. Returns the number of takeovers, the longest one, and the
 * verdict.
 */
const runTeam = Effect.fnUntraced(function* (options: {
  readonly seed: number
  readonly distinct: number
  readonly takeovers: number
  /** Whether a standby is aligned before the next fault. */
  readonly patient: boolean
}) {
  const random = Team.randomOf(options.seed)
  const next = Team.workload(random, options.distinct)
  const team = yield* Team.make()
  let started = 0
  const start = Effect.suspend(() => team.start(`relay-${++started}`, { timeToLive: "1 second", skew: "500 millis" }))
  let members = [yield* start, yield* start, yield* start]
  /** Faults that are to be healed, and when. */
  let heals: Array<{ readonly at: number; readonly member: Team.Member; readonly heal: Effect.Effect<void> }> = []
  let now = 0
  const roleOf = (member: Team.Member) => Effect.map(SubscriptionRef.get(member.status), ({ role }) => role)
  const isAligned = (member: Team.Member) =>
    Effect.map(SubscriptionRef.get(member.status), (status) => status.role === "standby" && status.isAligned)
  /** Until when the status of a healed member may be from before its fault. */
  const stale = new Map<Team.Member, number>()

  const step = Effect.gen(function* () {
    yield* team.emit(next())
    if (random() < 0.5) yield* team.emit(next())
    yield* Team.pass(100, 100)
    now += 100
    const due = heals.filter(({ at }) => at <= now)
    heals = heals.filter(({ at }) => at > now)
    for (const { heal, member } of due) {
      yield* heal
      stale.set(member, now + 2000)
    }
  })

  let takeovers = 0
  let longest = 0
  while (takeovers < options.takeovers) {
    const faulty = new Set([
      ...heals.map(({ member }) => member),
      ...members.filter((member) => (stale.get(member) ?? 0) > now)
    ])
    const healthy = members.filter((member) => !faulty.has(member))
    let holder: Team.Member | undefined
    for (const member of healthy) if ((yield* roleOf(member)) === "holder") holder = member
    const others = healthy.filter((member) => member !== holder)
    const ready = yield* Effect.forEach(others, isAligned)
    if (holder === undefined || others.length === 0 || (options.patient && !ready.some((aligned) => aligned))) {
      yield* step
      continue
    }
    const victim = holder
    const fault = Math.floor(random() * 4)
    const heal = (effect: Effect.Effect<void>) =>
      heals.push({ at: now + 500 + Math.floor(random() * 3000), member: victim, heal: effect })
    if (fault === 0) {
      yield* victim.kill
      members = members.filter((member) => member !== victim)
      members.push(yield* start)
    } else if (fault === 1) {
      yield* victim.stop
      heal(victim.resume)
    } else if (fault === 2) {
      yield* victim.cutOff
      heal(victim.restore)
    } else {
      yield* victim.disconnect
      heal(victim.connect)
    }
    const since = now
    let successor: Team.Member | undefined
    const elapsed = () => now - since
    while (successor === undefined && elapsed() < 12_000) {
      yield* step
      for (const member of others) if ((yield* roleOf(member)) === "holder") successor = member
      // The victim healed and went on before its lease was over.
      if (!heals.some(({ member }) => member === victim) && (yield* roleOf(victim)) === "holder") break
    }
    if (successor !== undefined) {
      takeovers++
      longest = Math.max(longest, now - since)
    }
  }
  for (let n = 0; n < 400; n++) yield* step
  return { takeovers, longest, verdict: yield* team.judge }
})

/** The time to live, one second, and a step of the test. */
const allowed = 1000 + 1000 + 100

describe("a team of three relays", () => {
  for (const distinct of [3]) {
    it.effect(
      `loses and doubles nothing in 50 takeovers with aligned standbys, without any mark (${distinct} contents)`,
      () =>
        Effect.gen(function* () {
          const { longest, takeovers, verdict } = yield* runTeam({
            seed: distinct,
            distinct,
            takeovers: 50,
            patient: true
          })
          const { disordered, doubled, lost, marks } = verdict
          assert.deepStrictEqual(
            { takeovers, lost, doubled, disordered, marks },
            { takeovers: 50, lost: 0, doubled: 0, disordered: 0, marks: [] }
          )
          assert.isAtMost(longest, allowed)
        })
    )
  }

  for (const distinct of [1, 50]) {
    it.effect(
      `loses nothing and doubles nothing without a mark in 50 takeovers as they come (${distinct} contents)`,
      () =>
        Effect.gen(function* () {
          const { longest, takeovers, verdict } = yield* runTeam({
            seed: 7 + distinct,
            distinct,
            takeovers: 50,
            patient: false
          })
          const { disordered, doubled, lost } = verdict
          assert.deepStrictEqual(
            { takeovers, lost, doubled, disordered },
            { takeovers: 50, lost: 0, doubled: 0, disordered: 0 }
          )
          assert.isAtMost(longest, allowed)
        })
    )
  }
})
