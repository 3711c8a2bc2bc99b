/** The rows of the throughput table. */

export type VariantName =
  | "bare"
  | "bareByTask"
  | "connect"
  | "events"
  | "repair"
  | "pair"
  | "client"
  | "clientByTask"
  | "rxjs"
  | "graphqlWs"
  | "centrifuge"
  | "partysocket"
  | "handWritten"

export interface ThroughputRow {
  readonly id: string
  readonly what: string
  readonly variant: VariantName
  readonly tasks: number
  /** The number of wanted tasks. */
  readonly wanted: number
  /** Whether the application enables Effect's schema JIT. */
  readonly jit?: boolean
  /** The row to which this one is compared. It has the same payload and the same task. */
  readonly reference: string
  /** The required ratio to the reference. */
  readonly target?: number
}

const half = { tasks: 24, wanted: 12, reference: "bare" } as const

export const throughput: ReadonlyArray<ThroughputRow> = [
  { id: "bare", what: "bare ws, JSON.parse, switch", variant: "bare", ...half },
  { id: "connect", what: "MeshStream.connect, filterTask, outputOnly", variant: "connect", ...half, target: 2 },
  { id: "connect-jit", what: "the same, schema JIT enabled", variant: "connect", ...half, jit: true, target: 2 },
  {
    id: "events",
    what: "MeshStream.connect, every event",
    variant: "events",
    tasks: 24,
    wanted: 24,
    reference: "events"
  },
  {
    id: "repair",
    what: "MeshStream.connect, Repair.repair, every event",
    variant: "repair",
    tasks: 24,
    wanted: 24,
    reference: "events",
    target: 0.95
  },
  {
    id: "pair",
    what: "MeshStream.connect, two connections, filterTask, outputOnly",
    variant: "pair",
    ...half,
    target: 0.9
  },
  { id: "client", what: "MeshClient, 1 consumer", variant: "client", ...half, target: 1.8 },
  { id: "rxjs", what: "rxjs webSocket", variant: "rxjs", ...half },
  { id: "graphql-ws", what: "graphql-ws", variant: "graphqlWs", ...half },
  { id: "centrifuge", what: "centrifuge", variant: "centrifuge", ...half },
  { id: "partysocket", what: "partysocket", variant: "partysocket", ...half },
  { id: "effect", what: "hand-written Effect", variant: "handWritten", ...half },
  { id: "bare-1", what: "bare, one task of 1,000", variant: "bare", tasks: 1000, wanted: 1, reference: "bare-1" },
  {
    id: "connect-1",
    what: "MeshStream.connect, filterTask, outputOnly: one task of 1,000",
    variant: "connect",
    tasks: 1000,
    wanted: 1,
    reference: "bare-1",
    target: 2
  },
  {
    id: "bare-10000",
    what: "bare, a handler for each of 10,000 tasks",
    variant: "bareByTask",
    tasks: 10_000,
    wanted: 10_000,
    reference: "bare-10000"
  },
  {
    id: "client-10000",
    what: "MeshClient, 10,000 per-task consumers",
    variant: "clientByTask",
    tasks: 10_000,
    wanted: 10_000,
    reference: "bare-10000"
  }
]
