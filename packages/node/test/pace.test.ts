import * as Interest from "@makima-stream/core/Interest"
import * as MeshStream from "@makima-stream/core/MeshStream"
import * as TaskId from "@makima-stream/core/TaskId"
import * as MockMeshServer from "@makima-stream/test-kit/MockMeshServer"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import * as Stream from "effect/Stream"
import * as NodeMeshSocket from "../src/NodeMeshSocket.ts"

describe("a server that closes connections which send too many requests", () => {
  // Real time: how long the halved replay takes depends on the machine, that it succeeds does not.
  it.live("confirms the whole interest of a client that slows down", () =>
    Effect.gen(function* () {
      const perSecond = 100
      const tasks = Array.from({ length: perSecond + 1 }, (_, n) => TaskId.make(`task ${n}`))
      const server = yield* MockMeshServer.make({ requestLimit: { perSecond, code: 4429 } })
      const socket = NodeMeshSocket.layer({ url: server.url })
      const feed = MeshStream.connect({
        interest: Interest.output(tasks),
        policy: { schedule: Schedule.spaced("10 millis") }
      })
      const marks = yield* feed.pipe(
        Stream.filter((event) => event._tag === "Resync"),
        Stream.take(1),
        Stream.runHead,
        Effect.provide(socket)
      )
      const mark = Option.getOrThrow(marks)
      assert.isTrue(mark._tag === "Resync" && mark.unconfirmed === undefined && mark.epoch > 1)
      const closed = (yield* server.log).filter((entry) => entry._tag === "Closed" && entry.by === "server")
      assert.isAtLeast(closed.length, 1)
    })
  )
})
