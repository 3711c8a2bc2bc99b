/**
 * Relays as processes on one log, and a mock server that sends them a feed. Faults hit the
 * holder of the lease, one after the other, and the others take over.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Latch from "effect/Latch"
import * as Queue from "effect/Queue"
import * as Random from "effect/Random"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as TaskId from "@makima-stream/core/TaskId"
import type { MeshLog } from "@makima-stream/log/MeshLog"
import * as ChaosProxy from "@makima-stream/test-kit/ChaosProxy"
import * as MockMeshServer from "@makima-stream/test-kit/MockMeshServer"
import * as Child from "../child.ts"
import * as Engines from "./engines.ts"
import * as Judge from "./judge.ts"
import { Line, tasks, timeToLive } from "./settings.ts"

/** `kill`: SIGKILL. `stop`: SIGSTOP, and SIGCONT after the takeover. `cut`: no connection to the log until after the takeover. */
export const faults = ["kill", "stop", "cut"] as const
export type Fault = (typeof faults)[number]

export interface Figures extends Judge.Verdict {
  readonly takeovers: number
  /**
   * Stops in the middle of a transaction of SQLite. The stopped process keeps its lock on the
   * file, so no other one can take over before it continues.
   */
  readonly blocked: number
  /** Takeovers by fault. */
  readonly by: Readonly<Record<string, number>>
  /** How long takeovers took, from the fault to the new holder, in milliseconds. */
  readonly longest: number
  readonly median: number
}

/** A relay and its last line. */
export interface Member {
  readonly child: Child.Child
  readonly proxy: ChaosProxy.ChaosProxy | undefined
  line: Line
  /** Whether a fault has hit it that it has not recovered from. */
  isFaulty: boolean
}

const decodeLine = Schema.decodeUnknownSync(Schema.fromJsonString(Line))
const initial: Line = { role: "standby", term: 0, isConnected: false, isAligned: false, isReady: false }

export interface Team {
  readonly server: MockMeshServer.Service
  readonly log: MeshLog["Service"]
  readonly members: ReadonlyArray<Member>
  /** Waits until a relay that was stopped has kept a lock on the file for longer than its lease. */
  readonly awaitLock: Effect.Effect<void>
  /** Starts a relay. `killAt` is a step of an append to SQLite at which it kills itself. */
  readonly start: (killAt?: string) => Effect.Effect<Member>
  /** Waits until a condition on the lines of the relays is true. */
  readonly until: (isTrue: () => boolean) => Effect.Effect<void>
  /** Ends the feed, waits until the log has its last messages, and compares. */
  readonly judge: Effect.Effect<Judge.Verdict>
}

/** Starts the server and its feed: `rate` outputs a second, and an update of each task twice a second. */
export const make = Effect.fnUntraced(function* (engine: Engines.Engine, rate: number) {
  const scope = yield* Effect.scope
  const location = yield* Engines.make(engine)
  const log = yield* Engines.open(engine, location)
  const server = yield* MockMeshServer.make()
  const changed = Latch.makeUnsafe(false)
  let members: ReadonlyArray<Member> = []
  let started = 0

  const start: Team["start"] = (killAt) =>
    Effect.gen(function* () {
      const proxy = engine === "sqlite" ? undefined : yield* Effect.orDie(ChaosProxy.make({ target: Number(location) }))
      const at = proxy === undefined ? location : String(proxy.port)
      const args = [engine, at, `relay-${++started}`, ...(killAt === undefined ? [] : [killAt])]
      const child = yield* Child.start("takeovers/relay", args, [], {
        MAKIMA_API_URL: server.url,
        MAKIMA_API_KEY: "key"
      })
      const member: Member = { child, proxy, line: initial, isFaulty: false }
      members = [...members, member]
      yield* Queue.take(child.lines).pipe(
        Effect.map((line) => {
          member.line = decodeLine(line)
          changed.openUnsafe()
        }),
        Effect.forever,
        Effect.forkScoped
      )
      yield* child.exited.pipe(
        Effect.map(() => {
          members = members.filter((other) => other !== member)
          changed.openUnsafe()
        }),
        Effect.forkScoped
      )
      return member
    }).pipe(Scope.provide(scope))

  let sent = 0
  let version = 0
  const update = Effect.suspend(() => {
    version++
    return Effect.forEach(tasks, (id) =>
      server.emit({ _tag: "TaskUpdated", taskId: TaskId.make(id), version, status: "running" })
    )
  })
  const output = Effect.suspend(() => {
    const taskId = TaskId.make(tasks[sent % tasks.length] ?? "a")
    return server.emit({ _tag: "TaskOutput", taskId, messageType: "assistant", content: `${sent++}` })
  })
  const startedAt = yield* Clock.currentTimeMillis
  const load = Effect.gen(function* () {
    const elapsed = (yield* Clock.currentTimeMillis) - startedAt
    if (elapsed / 500 > version) yield* update
    const due = Math.floor((elapsed / 1000) * rate) - sent
    for (let n = 0; n < Math.min(due, 100); n++) yield* output
    yield* Effect.sleep(20)
  })
  const loading = yield* Scope.fork(scope)
  yield* load.pipe(Effect.forever, Effect.forkIn(loading))

  const until: Team["until"] = Effect.fnUntraced(function* (isTrue) {
    while (!isTrue()) {
      changed.closeUnsafe()
      yield* changed.await
    }
  })

  const judge: Team["judge"] = Effect.gen(function* () {
    yield* Scope.close(loading, Exit.void)
    // The last message of each task.
    yield* update
    const serverLog = yield* server.log
    // The holder writes in the order of the feed, so the log has everything once it has the last message of each task.
    const last = new Set(tasks.map((id) => `${id} ${version}`))
    yield* log.read({ follow: true }).pipe(
      Stream.runForEachWhile(({ event }) =>
        Effect.sync(() => {
          if (event._tag === "TaskUpdated") last.delete(`${event.taskId} ${event.version}`)
          return last.size > 0
        })
      ),
      Effect.timeoutOption("10 minutes")
    )
    return Judge.judge(serverLog, yield* Stream.runCollect(log.read()))
  }).pipe(Effect.orDie)

  const awaitLock = Effect.gen(function* () {
    if (engine !== "sqlite") return yield* Effect.never
    yield* Effect.sleep(timeToLive)
    for (let locked = 0; locked < 5;) {
      yield* Effect.sleep(100)
      locked = Engines.isLocked(location) ? locked + 1 : 0
    }
  })

  const team: Team = {
    server,
    awaitLock,
    log,
    get members() {
      return members
    },
    start,
    until,
    judge
  }
  return team
})

const isHolder = ({ line }: Member): boolean => line.role === "holder"

/** Injects one fault into the holder, and waits for the takeover. Returns how long it took; `undefined` if it was blocked. */
const takeOver = Effect.fnUntraced(function* (team: Team, fault: Fault, isPatient: boolean) {
  const standbys = () =>
    team.members.filter(
      (member) => !isHolder(member) && !member.isFaulty && member.line.isConnected && member.line.isReady
    )
  const holder = () => team.members.find((member) => isHolder(member) && !member.isFaulty)
  // A relay that has just started receives the output of a task from its next update on.
  const areReady = () => standbys().length > 0 && team.members.every(({ line }) => line.isReady)
  yield* team.until(
    () =>
      holder() !== undefined &&
      team.members.filter(isHolder).length === 1 &&
      areReady() &&
      (!isPatient || standbys().some(({ line }) => line.isAligned))
  )
  const victim = holder()
  if (victim === undefined) return yield* Effect.die(new Error("There is no holder"))
  // The others, whose lines are from now on.
  const others = team.members.filter((member) => member !== victim)
  victim.isFaulty = true
  const before = yield* Clock.monotonicTimeNanos
  if (fault === "cut") yield* victim.proxy?.freeze() ?? Effect.void
  else yield* victim.child.signal(fault === "kill" ? "SIGKILL" : "SIGSTOP")
  const isBlocked = yield* Effect.raceFirst(
    Effect.as(
      team.until(() => others.some(isHolder)),
      false
    ),
    fault === "stop" ? Effect.as(team.awaitLock, true) : Effect.never
  )
  const took = Number((yield* Clock.monotonicTimeNanos) - before) / 1e6
  if (fault === "kill") {
    yield* team.start()
  } else {
    yield* Effect.sleep(yield* Random.nextIntBetween(0, 1500))
    yield* fault === "stop" ? victim.child.signal("SIGCONT") : (victim.proxy?.thaw() ?? Effect.void)
    if (!isBlocked) yield* team.until(() => !isHolder(victim))
    victim.isFaulty = false
  }
  return isBlocked ? undefined : took
})

/** Runs three relays through takeovers. Half of the takeovers do not wait for an aligned standby. */
export const run = Effect.fnUntraced(function* (options: {
  readonly engine: Engines.Engine
  readonly count: number
  readonly rate: number
  readonly faults: ReadonlyArray<Fault>
  readonly onTakeover?: (fault: Fault, millis: number) => Effect.Effect<void>
}) {
  const team = yield* make(options.engine, options.rate)
  for (let n = 0; n < 3; n++) yield* team.start()
  const by: Record<string, number> = {}
  const times: Array<number> = []
  let blocked = 0
  for (let n = 0; times.length < options.count; n++) {
    const fault = options.faults[n % options.faults.length] ?? "kill"
    const took = yield* takeOver(team, fault, n % 4 < 2)
    if (took === undefined) {
      blocked++
      continue
    }
    times.push(took)
    by[fault] = (by[fault] ?? 0) + 1
    yield* options.onTakeover?.(fault, took) ?? Effect.void
  }
  const verdict = yield* team.judge
  times.sort((a, b) => a - b)
  const figures: Figures = {
    takeovers: times.length,
    blocked,
    by,
    longest: Math.round(times.at(-1) ?? 0),
    median: Math.round(times[times.length >> 1] ?? 0),
    ...verdict
  }
  return figures
})
