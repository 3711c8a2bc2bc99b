import { render } from "preact"
import { signal } from "@preact/signals"
import type { Status } from "@makima-stream/core/MeshClient"
import * as Feed from "./feed.ts"
import * as Board from "./model/board.ts"

const board = Board.make()
const tasks = signal<ReadonlyArray<Board.Task>>([])
const status = signal<Status>({ _tag: "Idle" })
let scheduled = false
const changed = () => {
  if (scheduled) return
  scheduled = true
  requestAnimationFrame(() => {
    scheduled = false
    tasks.value = board.tasks()
  })
}

Feed.start(
  {
    events: (batch) => {
      board.fold(batch, Date.now())
      changed()
    },
    joined: () => {},
    listed: (list) => {
      board.list(list, Date.now())
      changed()
    },
    status: (next) => void (status.value = next),
    upstream: () => {},
    signedIn: () => {}
  },
  location.origin
)

const App = () => (
  <main>
    <h1>Tasks</h1>
    <p role="status">{status.value._tag}</p>
    <div role="table" aria-label="Tasks">
      {tasks.value.map((task) => (
        <div role="row" key={task.taskId}>
          <span role="rowheader">{task.taskId}</span> <span role="cell">{task.status}</span>
        </div>
      ))}
    </div>
  </main>
)

const root = document.getElementById("app")
if (root !== null) render(<App />, root)
