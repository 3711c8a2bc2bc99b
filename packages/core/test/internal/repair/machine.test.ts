import { assert, describe, it } from "@effect/vitest"
import * as Arbitrary from "effect/Arbitrary"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type * as MeshEvent from "@makima-stream/core/MeshEvent"
import * as TaskId from "@makima-stream/core/TaskId"
import * as TaskStatus from "@makima-stream/core/TaskStatus"
import { Machine, maxNamed, type Ask, type TaskSnapshot } from "../../../src/internal/repair/machine.ts"

const ids = ["a", "b", "c"].map((id) => TaskId.make(id))
const [a, b] = ids as [TaskId.TaskId, TaskId.TaskId, TaskId.TaskId]
const statuses = ["running", "paused", "done"]

const make = (options: Partial<ConstructorParameters<typeof Machine>[0]> = {}) =>
  new Machine({ complete: false, initial: true, maxTasks: 100, isTerminal: TaskStatus.isTerminal, ...options })

const updated = (taskId: TaskId.TaskId, version: number | undefined, status?: string): MeshEvent.MeshEvent => ({
  _tag: "TaskUpdated",
  taskId,
  ...(version === undefined ? {} : { version }),
  ...(status === undefined ? {} : { status })
})

const mark = (reason: MeshEvent.ResyncReason, rest: Partial<MeshEvent.Resync> = {}): MeshEvent.Resync => ({
  _tag: "Resync",
  epoch: 1,
  reason,
  ...rest
})

const connected = (epoch: number): MeshEvent.MeshEvent => ({ _tag: "Connected", epoch, at: 0 })
const disconnected: MeshEvent.MeshEvent = { _tag: "Disconnected", epoch: 1, opened: true } as MeshEvent.Disconnected
const started = mark({ _tag: "Started" })
const reconnected = mark({ _tag: "Reconnected", downMillis: 1 })
const versionGap = mark({ _tag: "VersionGap", lastVersion: 1, version: 3 }, { taskId: a })
const restated = (taskId: TaskId.TaskId, version: number | undefined, status: string): MeshEvent.Restated => ({
  _tag: "Restated",
  taskId,
  ...(version === undefined ? {} : { version }),
  status
})

const outcome = (elements: ReadonlyArray<MeshEvent.RepairElement>): MeshEvent.Repaired => {
  const last = elements.at(-1)
  if (last?._tag !== "Repaired") throw new Error("the last element of a snapshot is its Repaired")
  return last
}

// ---------------------------------------------------------------------------
// a server, a connection and a snapshot endpoint, in steps
// ---------------------------------------------------------------------------

/** One step. `n` picks the task, and the status. */
const Step = Schema.Struct({
  what: Schema.Literals([
    "update",
    "update",
    "update",
    "delete",
    "deliver",
    "deliver",
    "cut",
    "connect",
    "confirm",
    "lose",
    "begin",
    "read",
    "end",
    "fail"
  ]),
  n: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 8 }))
})
type Step = typeof Step.Type

const steps = Arbitrary.array(Arbitrary.schema(Step), { maxLength: 60 })

interface Row {
  readonly version: number
  readonly status: string
}

interface Rules {
  readonly complete: boolean
  readonly versions: boolean
}

/** Whatever a consumer sees, with what was true when it did. */
interface Entry {
  readonly event: MeshEvent.MeshEvent
  /** How many marks had passed when the fetch of a `Repaired` began. */
  readonly began?: number
}

/**
 * Runs steps, and then whatever it takes to end a clean fetch. A step that makes no sense
 * at its place does nothing.
 */
const simulate = (script: ReadonlyArray<Step>, { complete, versions }: Rules) => {
  const machine = make({ complete })
  const server = new Map<TaskId.TaskId, Row>()
  const lastVersions = new Map<TaskId.TaskId, number>()
  const log: Array<Entry> = []
  let wire: Array<MeshEvent.MeshEvent> = []
  let epoch = 0
  let isConnected = false
  let isSubscribed = false
  let marks = 0
  let began = 0
  let beganMarked = true
  let fetches = 0
  let isMarked = false
  let fetching: Ask | undefined
  let read: ReadonlyArray<TaskSnapshot> | undefined

  const emit = (event: MeshEvent.MeshEvent): void => {
    machine.observe([event])
    if (event._tag === "Resync") {
      marks++
      isMarked = true
    }
    if (event._tag === "Connected" || event._tag === "Disconnected") isMarked = false
    log.push({ event })
  }
  const send = (event: MeshEvent.MeshEvent): void => {
    if (isSubscribed) wire.push(event)
  }
  const toUpdate = (taskId: TaskId.TaskId, { status, version }: Row) =>
    updated(taskId, versions ? version : undefined, status)

  const step = ({ n, what }: Step): void => {
    const taskId = ids[n % ids.length] ?? a
    switch (what) {
      case "update": {
        const version = (lastVersions.get(taskId) ?? 0) + 1
        lastVersions.set(taskId, version)
        const row = { version, status: statuses[Math.floor(n / ids.length)] ?? "running" }
        server.set(taskId, row)
        return send(toUpdate(taskId, row))
      }
      case "delete":
        // Nothing says so on the wire: only a snapshot after the next mark can.
        if (!isSubscribed) server.delete(taskId)
        return
      case "deliver": {
        const event = wire.shift()
        if (event !== undefined) emit(event)
        return
      }
      case "cut":
        if (!isConnected) return
        isConnected = isSubscribed = false
        wire = []
        return emit(disconnected)
      case "connect":
        if (isConnected) return
        isConnected = true
        epoch++
        return emit(connected(epoch))
      case "confirm":
        if (!isConnected || isSubscribed) return
        isSubscribed = true
        return send({ ...(epoch === 1 ? started : reconnected), epoch })
      case "lose": {
        // A frame of an update that could not be decoded.
        if (wire[0]?._tag !== "TaskUpdated") return
        wire.shift()
        return emit(mark({ _tag: "Overflow", dropped: 1 }, { epoch }))
      }
      case "begin":
        if (!machine.isDue || !machine.mayBegin) return
        fetches++
        began = marks
        beganMarked &&= isMarked
        fetching = machine.begin()
        read = undefined
        return
      case "read": {
        const asked = fetching
        if (asked === undefined || read !== undefined) return
        read = [...server].flatMap(([taskId, { status, version }]) =>
          asked._tag === "All" || asked.taskIds.includes(taskId)
            ? [versions ? { taskId, version, status } : { taskId, status }]
            : []
        )
        return
      }
      case "end":
        if (fetching === undefined || read === undefined) return
        for (const event of machine.apply(read)) log.push({ event, began })
        fetching = undefined
        return
      case "fail":
        if (fetching === undefined) return
        log.push({ event: machine.fail(1, "Refused") })
        fetching = undefined
    }
  }

  for (const each of script) step(each)
  const settle = (what: Step["what"]) => step({ what, n: 0 })
  settle("connect")
  settle("confirm")
  while (wire.length > 0) settle("deliver")
  settle("read")
  settle("end")
  if (!machine.isSettled) {
    // A fetch that failed is made up for by the next one.
    if (!machine.isDue) emit({ ...reconnected, epoch })
    settle("begin")
    settle("read")
    settle("end")
  }
  return { log, server, machine, marks, fetches, beganMarked }
}

/** The state of the tasks, by the rule that the higher version wins. */
const fold = (log: ReadonlyArray<Entry>) => {
  const tasks = new Map<TaskId.TaskId, { version: number | undefined; status: string | undefined; gone: boolean }>()
  for (const { event } of log) {
    if (event._tag !== "TaskUpdated" && event._tag !== "Restated") continue
    const { status, taskId, version } = event
    const known = tasks.get(taskId)
    const gone = event._tag === "Restated" && event.gone === true
    if (known?.version !== undefined && version !== undefined && version <= known.version && !gone) continue
    tasks.set(taskId, { version: version ?? known?.version, status: status ?? known?.status, gone })
  }
  return tasks
}

const everyRule: ReadonlyArray<Rules> = [true, false].flatMap((complete) =>
  [true, false].map((versions) => ({ complete, versions }))
)

const itObeys = (name: string, check: (run: ReturnType<typeof simulate>, rules: Rules) => void) =>
  it.effect(name, () =>
    Effect.gen(function* () {
      const result = yield* Arbitrary.checkEffect(
        steps,
        (script) => {
          for (const rules of everyRule) check(simulate(script, rules), rules)
          return true
        },
        { runs: 1000, size: 60 }
      )
      assert.strictEqual(result._tag, "Passed")
    })
  )

describe("the laws of a repair", () => {
  itObeys("equals the server once a clean fetch has ended", ({ log, server }, { complete, versions }) => {
    const tasks = fold(log)
    for (const [taskId, { status, version }] of server) {
      const known = tasks.get(taskId)
      assert.deepStrictEqual(
        { status: known?.status, version: versions ? known?.version : undefined, gone: known?.gone },
        { status, version: versions ? version : undefined, gone: false }
      )
    }
    if (!complete) return
    for (const [taskId, { gone }] of tasks) if (!server.has(taskId)) assert.isTrue(gone)
  })

  itObeys("never restates a version that is not above every version before it", ({ log }) => {
    const highest = new Map<TaskId.TaskId, number>()
    for (const { event } of log) {
      if ((event._tag !== "TaskUpdated" && event._tag !== "Restated") || event.version === undefined) continue
      const before = highest.get(event.taskId) ?? 0
      if (event._tag === "Restated" && event.gone !== true) assert.isAbove(event.version, before)
      if (event._tag === "Restated" && event.gone === true) assert.strictEqual(event.version, before)
      highest.set(event.taskId, Math.max(before, event.version))
    }
  })

  itObeys("claims only marks that stood before its fetch began", ({ log }) => {
    let marks = 0
    const reasons: Array<string> = []
    for (const { began, event } of log) {
      if (event._tag === "Resync") {
        marks++
        reasons.push(event.reason._tag)
      }
      if (event._tag !== "Repaired" || began === undefined) continue
      for (const reason of event.reasons) assert.include(reasons.slice(0, began), reason)
      assert.isAtLeast(event.open, marks - began)
      if (event.open === 0) assert.strictEqual(marks, began)
    }
  })

  itObeys("begins a fetch only where the connection has its mark", ({ beganMarked }) => assert.isTrue(beganMarked))

  itObeys("fetches at most once for each mark", ({ fetches, marks }) => assert.isAtMost(fetches, marks))

  itObeys("emits nothing for a snapshot that was applied before", ({ machine, server }, { versions }) => {
    const snapshot = [...server].map(([taskId, { status, version }]) =>
      versions ? { taskId, version, status } : { taskId, status }
    )
    machine.refresh()
    machine.begin()
    machine.apply(snapshot)
    machine.refresh()
    machine.begin()
    assert.deepStrictEqual(
      machine.apply(snapshot).map(({ _tag }) => _tag),
      ["Repaired"]
    )
  })

  itObeys("says tombstones only if a snapshot is complete", ({ log }, { complete }) => {
    if (!complete) assert.isFalse(log.some(({ event }) => event._tag === "Restated" && event.gone === true))
  })
})

// ---------------------------------------------------------------------------
// one by one
// ---------------------------------------------------------------------------

/** Observes, and begins the fetch that is due. */
const begun = (machine: Machine, ...events: ReadonlyArray<MeshEvent.MeshEvent>): Ask => {
  machine.observe(events)
  assert.isTrue(machine.isDue)
  assert.isTrue(machine.mayBegin)
  return machine.begin()
}

describe("Machine", () => {
  it("asks for all tasks after a mark that names none, and for the task that a mark names", () => {
    assert.deepStrictEqual(begun(make(), started), { _tag: "All" })
    assert.deepStrictEqual(begun(make(), versionGap), { _tag: "Tasks", taskIds: [a] })
    const subscribed = mark({ _tag: "Subscribed", kind: "updates" }, { taskId: b })
    assert.deepStrictEqual(begun(make(), subscribed), { _tag: "Tasks", taskIds: [b] })
    assert.deepStrictEqual(begun(make(), versionGap, subscribed), { _tag: "Tasks", taskIds: [a, b] })
    assert.deepStrictEqual(begun(make(), versionGap, mark({ _tag: "Overflow", dropped: 2 })), { _tag: "All" })
  })

  it("asks for nothing after a subscription of output", () => {
    const machine = make()
    machine.observe([mark({ _tag: "Subscribed", kind: "output" }, { taskId: a })])
    assert.isFalse(machine.isDue)
  })

  it("asks for all tasks where too many are named", () => {
    const machine = make()
    for (let n = 0; n <= maxNamed; n++) machine.observe([{ ...versionGap, taskId: TaskId.make(`task ${n}`) }])
    assert.deepStrictEqual(machine.begin(), { _tag: "All" })
  })

  it("waits for the mark of a connection, and keeps the requests that are due from the previous connection", () => {
    const machine = make()
    machine.observe([connected(1)])
    assert.isFalse(machine.mayBegin)
    machine.observe([started, disconnected, connected(2)])
    assert.isTrue(machine.isDue)
    assert.isFalse(machine.mayBegin)
    begun(machine, { ...reconnected, epoch: 2 })
    assert.deepInclude(outcome(machine.apply([])), { epoch: 2, reasons: ["Started", "Reconnected"], open: 0 })
  })

  it("leaves a mark open that came while the fetch ran, and applies the snapshot all the same", () => {
    const machine = make()
    begun(machine, started)
    machine.observe([disconnected, connected(2), { ...reconnected, epoch: 2 }])
    const out = machine.apply([{ taskId: a, version: 3, status: "done" }])
    assert.deepStrictEqual(out[0], restated(a, 3, "done"))
    assert.deepInclude(outcome(out), { epoch: 1, reasons: ["Started"], restated: 1, open: 2 })
    begun(machine)
    assert.deepInclude(outcome(machine.apply([])), { epoch: 2, reasons: ["Reconnected"], open: 0 })
    assert.isTrue(machine.isSettled)
  })

  it("asks again for what a fetch has failed to repair, with the next mark and not before", () => {
    const machine = make()
    begun(machine, started)
    assert.deepStrictEqual(machine.fail(3, "Refused"), {
      _tag: "RepairFailed",
      epoch: 1,
      reasons: ["Started"],
      attempts: 3,
      error: "Refused"
    })
    assert.isFalse(machine.isDue)
    assert.isFalse(machine.isSettled)
    assert.deepStrictEqual(begun(machine, versionGap), { _tag: "All" })
    assert.deepStrictEqual(outcome(machine.apply([])).reasons, ["Started", "VersionGap"])
  })

  it("includes newly due requests in the next attempt", () => {
    const machine = make()
    begun(machine, versionGap)
    machine.observe([reconnected])
    assert.isTrue(machine.mayBegin)
    assert.deepStrictEqual(machine.begin(), { _tag: "All" })
    assert.deepInclude(outcome(machine.apply([])), { reasons: ["VersionGap", "Reconnected"], open: 0 })
    assert.isFalse(machine.isDue)
  })

  it("counts the keys of its marks that are unconfirmed, those of the last connection only", () => {
    const machine = make()
    machine.observe([{ ...started, unconfirmed: 3 }])
    machine.observe([{ ...reconnected, unconfirmed: 2 }])
    machine.begin()
    assert.strictEqual(outcome(machine.apply([])).unconfirmed, 2)
  })

  it("asks for nothing at the first mark without initial, but at one that follows an update", () => {
    const machine = make({ initial: false })
    machine.observe([connected(1), started])
    assert.isFalse(machine.isDue)
    machine.observe([updated(a, 1), reconnected])
    assert.isTrue(machine.isDue)
  })

  it("does not restate a task without a version that was updated since the fetch began", () => {
    const machine = make()
    begun(machine, updated(a, undefined, "running"), updated(b, undefined, "running"), started)
    machine.observe([updated(a, undefined, "paused")])
    const out = machine.apply([
      { taskId: a, status: "done" },
      { taskId: b, status: "done" }
    ])
    assert.deepStrictEqual(out.slice(0, -1), [restated(b, undefined, "done")])
  })

  it("does not restate an older status over one that came without a version since the fetch began", () => {
    const machine = make()
    begun(machine, updated(a, 4, "running"), started)
    machine.observe([updated(a, undefined, "done")])
    assert.deepStrictEqual(
      machine.apply([{ taskId: a, version: 5, status: "paused" }]).map(({ _tag }) => _tag),
      ["Repaired"]
    )
  })

  it("calls a task gone once, keeps its version, and revives it by a newer one only", () => {
    const machine = make({ complete: true })
    begun(machine, updated(a, 4, "running"), started)
    const gone: MeshEvent.Restated = { _tag: "Restated", taskId: a, version: 4, gone: true }
    assert.deepStrictEqual(machine.apply([])[0], gone)
    machine.refresh()
    machine.begin()
    assert.strictEqual(outcome(machine.apply([])).restated, 0)
    begun(machine, reconnected)
    assert.strictEqual(outcome(machine.apply([{ taskId: a, version: 4, status: "running" }])).restated, 0)
    begun(machine, updated(a, 3, "running"), reconnected)
    assert.strictEqual(outcome(machine.apply([])).restated, 0)
    begun(machine, reconnected)
    assert.strictEqual(outcome(machine.apply([{ taskId: a, version: 5, status: "running" }])).restated, 1)
    begun(machine, reconnected)
    assert.deepStrictEqual(machine.apply([])[0], { ...gone, version: 5 })
    begun(machine, updated(a, 6, "running"), reconnected)
    assert.deepStrictEqual(machine.apply([])[0], { ...gone, version: 6 })
  })

  it("does not report a task as gone if the fetch did not ask for it, or if it was updated since the fetch began", () => {
    const machine = make({ complete: true })
    begun(machine, updated(a, 4), updated(b, 4), versionGap)
    assert.deepStrictEqual(
      machine.apply([]).map((event) => (event._tag === "Restated" ? event.taskId : event._tag)),
      [a, "Repaired"]
    )
    begun(machine, reconnected)
    machine.observe([updated(b, 5)])
    assert.strictEqual(outcome(machine.apply([])).restated, 0)
  })

  it("counts the known tasks without an end that a partial snapshot does not have", () => {
    const machine = make()
    begun(machine, updated(a, 1, "running"), updated(b, 1, "done"), reconnected)
    assert.strictEqual(outcome(machine.apply([])).absent, 1)
  })

  it("forgets the oldest task that was not updated since, and never the newest one", () => {
    const machine = make({ maxTasks: 3 })
    const [c, d, e] = ["c", "d", "e"].map((id) => TaskId.make(id)) as [TaskId.TaskId, TaskId.TaskId, TaskId.TaskId]
    machine.observe([updated(a, 1), updated(b, 1), updated(c, 1), updated(d, 1)])
    assert.deepStrictEqual(new Set(machine.known().map(({ taskId }) => taskId)), new Set([b, c, d]))
    machine.observe([updated(b, 2), updated(e, 1)])
    assert.deepStrictEqual(new Set(machine.known().map(({ taskId }) => taskId)), new Set([b, d, e]))
  })

  it("reports the known versions of tasks, except those that are gone", () => {
    const machine = make({ complete: true })
    begun(machine, updated(a, 4, "running"), updated(b, 2), started)
    machine.apply([{ taskId: a, version: 4, costUsd: 1 }])
    assert.deepStrictEqual(machine.known(), [restated(a, 4, "running")])
    assert.deepStrictEqual(machine.known([b]), [])
  })
})
