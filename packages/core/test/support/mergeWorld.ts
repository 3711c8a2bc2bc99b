/**
 * A model of a server and two connections to it, in discrete time, that feeds a
 * `Merge.Machine` and judges what it emits. All random numbers come from one seed.
 */
import { DecodeError } from "@makima-stream/core/DecodeError"
import type { Data, Disconnected, MeshEvent, Resync } from "@makima-stream/core/MeshEvent"
import { ConnectionLost } from "@makima-stream/core/MeshError"
import type * as Merge from "@makima-stream/core/Merge"
import { TaskId } from "@makima-stream/core/TaskId"

export interface World {
  readonly seed: number
  /** The number of different contents. With `Infinity` every content is different. */
  readonly contents: number
  /** The share of updates that have a version. */
  readonly versions: number
  readonly tasks: number
  /** Messages per second in a burst, and the mean durations of bursts and pauses in milliseconds. */
  readonly rate: number
  readonly burst: number
  readonly pause: number
  readonly seconds: number
  /** The mean durations for which a connection is open and closed, in milliseconds. `Infinity` means no cuts. */
  readonly uptime: number
  readonly downtime: number
  /** The share of cuts that hit both connections at once. */
  readonly common: number
  /** The share of cuts after a silence, and the duration of the silence in milliseconds. */
  readonly halfOpen: number
  readonly silence: number
  /** The base delay of each input in both directions, and the jitter, in milliseconds. */
  readonly delays: readonly [number, number]
  readonly jitter: number
  /** How often the server skips a message for one of the two connections. */
  readonly skips: number
  /** How often the server sends a frame that cannot be decoded, to both connections. Defaults to never. */
  readonly garbage?: number
  /** How often a message arrives on one of the two connections as a frame that cannot be decoded. Defaults to never. */
  readonly damages?: number
  /** Whether the machine may ask for boundaries. Otherwise it has signs of life only. */
  readonly asks: boolean
  readonly options?: Merge.Options
}

/** A random number generator of one seed. */
const random = (seed: number) => {
  let state = seed >>> 0
  return (): number => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296
  }
}

interface Sent {
  readonly key: string
  readonly index: number
  readonly message: Data
}

interface Connection {
  readonly input: number
  open: boolean
  subscribed: boolean
  /** When the last frame arrives: frames do not overtake each other. */
  lastDown: number
  lastUp: number
  /** The time from which nothing arrives any more. */
  frozenAt: number
  /** The messages that have arrived on it. */
  readonly arrivals: Array<{ readonly times: Map<number, number>; readonly index: number; readonly at: number }>
}

export interface Verdict {
  readonly violations: ReadonlyArray<string>
  readonly sent: number
  readonly emitted: number
  readonly cuts: number
  /** Cuts of one connection while the other one was connected. */
  readonly single: number
  /** Marks with the reason `Unaligned`, by cause. */
  readonly unaligned: Readonly<Record<string, number>>
  /** Losses of a connection that were marked although both connections were aligned. */
  readonly alignedMarks: number
  /** Marks of lost connections. */
  readonly reconnected: number
  readonly stats: Merge.Stats
  readonly maxHeld: number
}

/** Runs a world with a merge and judges it. */
export const run = (world: World, { make }: Pick<typeof Merge, "make">): Verdict => {
  const rnd = random(world.seed)
  const { damages = 0 } = world
  /** Whether one connection may lack what the other one has. */
  const isLossy = world.skips > 0 || damages > 0
  const exponential = (mean: number) => (mean === Infinity ? Infinity : -Math.log(1 - rnd()) * mean)
  const machine = make({ ...world.options, ...(world.asks ? { skew: Infinity } : {}) })

  // ------------------------------------------------------------------ events
  const queue: Array<{ readonly at: number; readonly order: number; readonly run: () => void }> = []
  let order = 0
  let now = 0
  /** Schedules a function. Functions with the same time run in the order in which they were scheduled. */
  const at = (time: number, run: () => void): void => {
    if (time === Infinity) return
    const item = { at: time, order: order++, run }
    let lo = 0
    let hi = queue.length
    while (lo < hi) {
      const mid = (lo + hi) >> 1
      const other = queue[mid]
      if (other !== undefined && (other.at < time || (other.at === time && other.order < item.order))) lo = mid + 1
      else hi = mid
    }
    queue.splice(lo, 0, item)
  }

  // ------------------------------------------------------------------ output
  interface Row {
    readonly element: MeshEvent
    readonly at: number
  }
  const output: Array<Row> = []
  let maxHeld = 0
  let alignedMarks = 0
  const emit = (elements: ReadonlyArray<MeshEvent>, wereAligned = false): void => {
    if (wereAligned && elements.some(isGap)) alignedMarks++
    for (const element of elements) output.push({ element, at: now })
    maxHeld = Math.max(maxHeld, machine.stats().held)
  }

  // ------------------------------------------------------------------ server
  const copies = new Map<object, Sent>()
  const sequences = new Map<string, Array<Sent>>()
  const received = new Map<string, Map<number, number>>()
  const versions = new Map<string, number>()
  const connections: Array<Connection | undefined> = [undefined, undefined]
  let sent = 0

  const emission = (): void => {
    const taskId = TaskId.make(`t${Math.floor(rnd() * world.tasks)}`)
    const isUpdate = rnd() < 0.3
    const key = `${taskId}:${isUpdate ? "updates" : "output"}`
    const sequence = sequences.get(key) ?? []
    sequences.set(key, sequence)
    const content = world.contents === Infinity ? `unique ${sent}` : `c${Math.floor(rnd() * world.contents)}`
    const withVersion = rnd() < world.versions
    const version = (versions.get(taskId) ?? 0) + 1
    if (isUpdate) versions.set(taskId, version)
    const make = (): Data =>
      isUpdate
        ? { _tag: "TaskUpdated", taskId, ...(withVersion ? { version } : {}), status: content }
        : { _tag: "TaskOutput", taskId, messageType: "assistant", content }
    const index = sequence.length
    sequence.push({ key, index, message: make() })
    sent++
    const skipped = rnd() < world.skips ? Math.floor(rnd() * 2) : -1
    const damaged = damages > 0 && rnd() < damages ? Math.floor(rnd() * 2) : -1
    connections.forEach((connection) => {
      if (connection === undefined || !connection.subscribed || connection.input === skipped) return
      const message = make()
      copies.set(message, { key, index, message })
      down(connection, () => {
        if (connection.input === damaged) return emit(machine.offer(connection.input, [badFrame], now))
        const times = received.get(key) ?? new Map<number, number>()
        received.set(key, times)
        if (!times.has(index)) times.set(index, now)
        connection.arrivals.push({ times, index, at: now })
        emit(machine.offer(connection.input, [message], now))
      })
    })
  }

  const garbage = (): void => {
    for (const connection of connections) {
      if (connection?.subscribed === true) {
        down(connection, () => emit(machine.offer(connection.input, [badFrame], now)))
      }
    }
  }

  /** Sends something to the client. */
  const down = (connection: Connection, run: () => void): void => {
    const base = world.delays[connection.input] ?? 0
    const arrival = Math.max(connection.lastDown, now + base + rnd() * world.jitter)
    connection.lastDown = arrival
    at(arrival, () => {
      if (connection.open && now < connection.frozenAt) run()
    })
  }

  /** Sends something to the server. */
  const up = (connection: Connection, run: () => void): void => {
    const base = world.delays[connection.input] ?? 0
    const arrival = Math.max(connection.lastUp, now + base + rnd() * world.jitter)
    connection.lastUp = arrival
    at(arrival, () => {
      if (connection.open && now < connection.frozenAt) run()
    })
  }

  const burst = (until: number): void => {
    if (now > end) return
    if (now >= until) {
      const next = now + exponential(world.pause)
      at(next, () => burst(next + exponential(world.burst)))
      return
    }
    emission()
    if (world.garbage !== undefined && rnd() < world.garbage) garbage()
    at(now + exponential(1000 / world.rate), () => burst(until))
  }

  // ------------------------------------------------------------------ client
  const end = world.seconds * 1000
  const epochs = [0, 0]
  const wasUp = [false, false]
  let cuts = 0
  let single = 0

  const dial = (input: number): void => {
    if (now > end) return
    machine.open(input, now)
    const connection: Connection = {
      input,
      open: true,
      subscribed: false,
      lastDown: now,
      lastUp: now,
      frozenAt: Infinity,
      arrivals: []
    }
    connections[input] = connection
    const requestedAt = now
    const epoch = (epochs[input] ?? 0) + 1
    epochs[input] = epoch
    up(connection, () => {
      down(connection, () => emit(machine.offer(input, [{ _tag: "Connected", epoch, at: now }], now)))
      // The request comes some time after the handshake.
      at(now + rnd() * 30, () => {
        if (!connection.open || now >= connection.frozenAt) return
        connection.subscribed = true
        down(connection, () => {
          if (world.asks)
            for (const kind of ["updates", "output"] as const) emit(machine.boundary(input, kind, requestedAt, now))
          const mark: Resync = {
            _tag: "Resync",
            epoch,
            reason: wasUp[input] === true ? { _tag: "Reconnected", downMillis: 1 } : { _tag: "Started" }
          }
          wasUp[input] = true
          emit(machine.offer(input, [mark], now))
        })
      })
    })
    const lives = exponential(world.uptime)
    const silent = rnd() < world.halfOpen ? world.silence : 0
    at(now + lives, () => lose(connection, silent))
  }

  const lose = (connection: Connection, silent: number): void => {
    if (!connection.open || now > end) return
    connection.frozenAt = now
    at(now + silent, () => cut(connection))
  }

  const cut = (connection: Connection): void => {
    if (!connection.open) return
    const { input } = connection
    connection.open = false
    connections[input] = undefined
    cuts++
    // Where the server skips, only what could be compared with the other connection counts as received.
    if (isLossy) {
      for (const { at, index, times } of connection.arrivals) if (at > now - 3000) times.delete(index)
    }
    const other = connections[1 - input]
    if (other?.open === true) {
      single++
      if (rnd() < world.common) cut(other)
    }
    const element: Disconnected = {
      _tag: "Disconnected",
      epoch: epochs[input] ?? 0,
      opened: true,
      attempt: 1,
      reason: new ConnectionLost({}),
      retryInMillis: 1,
      at: now
    }
    const wereAligned = machine.isAligned(0) && machine.isAligned(1)
    emit(machine.offer(input, [element], now), wereAligned)
    at(now + 1 + exponential(world.downtime), () => dial(input))
  }

  /** Works like a driver: asks both inputs for boundaries while a sequence joins, and from time to time. */
  const outstanding = new Set<string>()
  const ask = (): void => {
    for (const kind of ["updates", "output"] as const) {
      if (!machine.isJoining(kind) && !(machine.isLagging(kind) && now % 2000 < 100)) continue
      for (const connection of connections) {
        if (connection === undefined || !connection.subscribed || outstanding.has(`${connection.input}${kind}`))
          continue
        outstanding.add(`${connection.input}${kind}`)
        const requestedAt = now
        at(now + 3000, () => outstanding.delete(`${connection.input}${kind}`))
        up(connection, () =>
          down(connection, () => {
            outstanding.delete(`${connection.input}${kind}`)
            emit(machine.boundary(connection.input, kind, requestedAt, now))
          })
        )
      }
    }
    if (now < end + 60_000) at(now + 100, ask)
  }

  dial(0)
  at(50, () => dial(1))
  at(10, () => burst(10 + exponential(world.burst)))
  if (world.asks) at(100, ask)
  for (let item = queue.shift(); item !== undefined; item = queue.shift()) {
    now = Math.max(now, item.at)
    item.run()
  }

  return {
    ...judge(),
    sent,
    emitted: output.filter(({ element }) => copies.has(element)).length,
    cuts,
    single,
    unaligned: unalignedByCause(),
    alignedMarks,
    reconnected: output.filter(({ element }) => element._tag === "Resync" && element.reason._tag === "Reconnected")
      .length,
    stats: machine.stats(),
    maxHeld
  }

  function unalignedByCause(): Record<string, number> {
    const counts: Record<string, number> = {}
    for (const { element } of output) {
      if (element._tag !== "Resync" || element.reason._tag !== "Unaligned") continue
      const { cause } = element.reason
      counts[cause] = (counts[cause] ?? 0) + 1
    }
    return counts
  }

  function judge(): { readonly violations: ReadonlyArray<string> } {
    const violations: Array<string> = []
    /** The marks and the messages of each sequence. */
    const rows = new Map<string, Array<Row>>(Array.from(sequences.keys(), (key) => [key, []]))
    for (const row of output) {
      const copy = copies.get(row.element)
      if (copy !== undefined) rows.get(copy.key)?.push(row)
      else for (const [key, own] of rows) if (isMarkOf(row.element, taskOf(key), world)) own.push(row)
    }
    for (const [key, sequence] of sequences) {
      const own = rows.get(key) ?? []
      const taskId = taskOf(key)
      const times = received.get(key) ?? new Map<number, number>()
      /** The index of the message before; `undefined` after a mark. */
      let last: number | undefined
      let lastAt = 0
      let isComplete = false
      const marksAt = own.flatMap(({ at, element }) => (isMarkOf(element, taskId, world) ? [at] : []))
      for (const { at, element } of own) {
        if (isMarkOf(element, taskId, world)) {
          isComplete = element._tag === "Resync"
          last = undefined
          continue
        }
        const copy = copies.get(element)
        if (copy === undefined) continue
        const { index } = copy
        if (isComplete && last !== undefined && index !== last + 1) {
          if (index <= last) {
            // If the server skips messages, a mark may follow its cause: nothing shows the skip earlier.
            if (!isLossy || !marksAt.some((mark) => mark >= at && mark <= at + 20_000))
              violations.push(`${key}: ${index} after ${last}, at ${at}`)
          } else {
            // A gap. A message that the server skipped on one connection may be missing, but a received message may not.
            for (let missing = last + 1; missing < index; missing++) {
              const time = times.get(missing)
              if (!isLossy) violations.push(`${key}: ${missing} missing before ${index}, at ${at}`)
              else if (time !== undefined && !marksAt.some((mark) => mark >= lastAt && mark <= time + 20_000)) {
                violations.push(`${key}: ${missing} skipped and received at ${time}, missing before ${index}, at ${at}`)
              }
            }
          }
        }
        last = index
        lastAt = at
      }
      // At the end, every message that was received after the last mark is present.
      if (isComplete && last !== undefined && !isLossy) {
        for (let missing = last + 1; missing < sequence.length; missing++) {
          if (times.has(missing)) violations.push(`${key}: ${missing} missing at the end, after ${last}`)
        }
      }
    }
    return { violations }
  }
}

const badFrame: Resync = {
  _tag: "Resync",
  epoch: 1,
  reason: { _tag: "BadFrame", error: new DecodeError({ problem: "InvalidJson", path: [], expected: "JSON", size: 2 }) }
}

/** The task of a sequence, by its key. */
const taskOf = (key: string): string => key.slice(0, key.indexOf(":"))

const isGap = ({ _tag }: MeshEvent): boolean => _tag === "Resync" || _tag === "Disconnected"

/** Whether a message may be missing at the place of an element. `garbage` hides no message. */
const isMarkOf = (element: MeshEvent, taskId: string, world: World): boolean =>
  element._tag === "Disconnected" ||
  (element._tag === "Resync" &&
    (element.taskId === undefined || element.taskId === taskId) &&
    (element.reason._tag !== "BadFrame" || world.damages !== undefined))
