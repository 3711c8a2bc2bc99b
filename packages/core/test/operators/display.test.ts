import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { execFile } from "node:child_process"
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { promisify } from "node:util"

/** A call of each public function with options. `$` stands for the name of an option that does not exist. */
const calls = [
  'feed.pipe(MeshStream.outputOnly({ $: "resync" }))',
  'MeshStream.outputOnly(feed, { keep: "resync", $: 1 })',
  "feed.pipe(MeshStream.updatesOnly({ $: 1 }))",
  'feed.pipe(MeshStream.serverErrors({ keep: "resync", $: 1 }))',
  "feed.pipe(MeshStream.dataOnly({ $: 1 }))",
  "feed.pipe(MeshStream.filterTask(id, { $: 1 }))",
  'MeshStream.filterTask(feed, id, { keep: "resync", $: 1 })',
  'feed.pipe(MeshStream.filterStatus("done", { $: 1 }))',
  'MeshStream.filterMessageType(feed, "done", { $: 1 })',
  'feed.pipe(MeshStream.filterMessageType("done", { keep: "resync", $: 1 }))',
  'feed.pipe(MeshStream.fieldsChanged("done", { $: 1 }))',
  "feed.pipe(MeshStream.dedupeUpdates({ $: 1 }))",
  "MeshStream.dedupeUpdates(feed, { maxTasks: 1, $: 1 })",
  "feed.pipe(MeshStream.markGaps({ $: 1 }))",
  "MeshStream.markGaps(feed, { $: 1 })",
  "feed.pipe(MeshStream.statusChanges({ $: 1 }))",
  "MeshStream.statusChanges(feed, { maxTasks: 1, $: 1 })",
  "feed.pipe(MeshStream.untilTerminal(id, { $: 1 }))",
  "MeshStream.untilTerminal(feed, id, { $: 1 })",
  "feed.pipe(MeshStream.takeResult(id, { $: 1 }))",
  "MeshStream.takeResult(feed, id, { $: 1 })",
  "feed.pipe(MeshStream.joinPartials({ $: 1 }))",
  "MeshStream.joinPartials(feed, { $: 1 })",
  "feed.pipe(MeshStream.text({ $: 1 }))",
  "MeshStream.text(feed, { $: 1 })",
  "feed.pipe(MeshStream.lines({ $: 1 }))",
  'MeshStream.lines(feed, { keep: "resync", $: 1 })',
  "feed.pipe(MeshStream.toolUse(Schema.Unknown, { $: 1 }))",
  "MeshStream.toolUse(feed, { Bash: Schema.Unknown }, { $: 1 })",
  "feed.pipe(MeshStream.groupByTask({ $: 1 }))",
  "MeshStream.groupByTask(feed, { capacity: 1, $: 1 })",
  "feed.pipe(MeshStream.conflateUpdates({ $: 1 }))",
  "MeshStream.conflateUpdates(feed, { $: 1 })",
  "feed.pipe(MeshStream.sheddingBuffer({ $: 1 }))",
  "MeshStream.sheddingBuffer(feed, { $: 1 })",
  "MeshStream.connect({ interest: Interest.all, $: 1 })",
  "feed.pipe(TaskBoard.scan({ $: 1 }))",
  "TaskBoard.scan(feed, { $: 1 })",
  "feed.pipe(TaskBoard.run({ $: 1 }))",
  "TaskBoard.run(feed, { maxTasks: 1, $: 1 })",
  "TaskBoard.make({ $: 1 })",
  "TaskBoard.codec({ $: 1 })",
  "TaskBoard.reducer({ $: 1 })",
  "feed.pipe(CostLedger.scan({ $: 1 }))",
  "CostLedger.run(feed, { $: 1 })",
  "CostLedger.make({ $: 1 })",
  "CostLedger.codec({ $: 1 })",
  "CostLedger.reducer({ $: 1 })",
  "feed.pipe(TaskState.scan(id, { $: 1 }))",
  "TaskState.scan(feed, id, { $: 1 })",
  "feed.pipe(TaskState.run(id, { $: 1 }))",
  "TaskState.run(feed, id, { $: 1 })",
  "TaskState.reducer(id, { $: 1 })",
  'TaskState.update(TaskState.make(id), { _tag: "Connected", epoch: 1, at: 1 }, 0, { $: 1 })',
  "TaskState.fold(TaskState.make(id), [], 0, { $: 1 })",
  "MeshClient.make({ $: 1 })",
  "MeshClient.layer({ $: 1 })",
  "MeshClient.layerConfig({ $: 1 })",
  "client.events(Interest.all, { $: 1 })",
  "client.updates(undefined, { $: 1 })",
  "client.output(id, { $: 1 })",
  "client.task(id, { $: 1 })",
  "client.everything({ $: 1 })",
  "client.everything({ capacity: 1, $: 1 })",
  "MeshSession.make(Interest.all, { $: 1 })",
  'MeshSocket.make({ url: "", $: 1 })',
  'MeshSocket.layer({ url: "", $: 1 })',
  'MeshSocket.make({ url: "", heartbeat: { $: 1 } })',
  "MeshSocket.withHeartbeat({ $: 1 })",
  "MeshSocket.withHeartbeat(socket, { $: 1 })",
  "ReconnectPolicy.make({ $: 1 })",
  "Merge.make({ $: 1 })",
  "Merge.connections({ $: 1 })",
  "Merge.merge(feed, feed, { $: 1 })",
  "feed.pipe(Merge.merge(feed, { $: 1 }))",
  "Repair.make({ fetch, $: 1 })",
  "Repair.repair(feed, { fetch, $: 1 })",
  "feed.pipe(Repair.repair({ fetch, $: 1 }))",
  'feed.pipe(Repair.repair({ fetch, onFailure: "fail", $: 1 }))',
  "RepairHttp.make({ $: 1 })",
  'NodeMeshSocket.make({ url: "", $: 1 })',
  'NodeMeshSocket.layer({ url: "", $: 1 })',
  "NodeMeshSocket.layerConfig({ $: 1 })",
  "NodeMeshClient.layer({ $: 1 })",
  "NodeMeshClient.layerConfig({ $: 1 })",
  'NodeMeshSocket.make({ url: "", heartbeat: { $: 1 } })',
  'NodeMeshSocket.make({ url: "", tls: { $: 1 } })',
  "ChaosProxy.make({ target: 1, $: 1 })",
  "MockMeshServer.make({ $: 1 })",
  "MockMeshServer.layer({ $: 1 })",
  "ScriptedMesh.make({ $: 1 })",
  "ScriptedMesh.layer({ $: 1 })",
  "Workload.make({ $: 1 })",
  "Workload.taskIds({ $: 1 })",
  "Workload.endless({ $: 1 })",
  "Recording.replay(Stream.empty, { $: 1 })",
  "Audit.compare(log, [], { $: 1 })",
  "MergeAudit.compare(log, [], { $: 1 })",
  "Simulation.check(Simulation.meshStream, 1, { $: 1 })",
  "mesh.kill(1, { $: true })",
  "mesh.limitRequests({ perSecond: 1, $: 1 })",
  'server.emit({ _tag: "ServerError", code: "", message: "" }, { $: 1 })',
  "server.play([], { $: 1 })",
  "MeshClient.drainOnInterrupt(Effect.void, { $: 1 })",
  "Effect.void.pipe(MeshClient.drainOnInterrupt({ $: 1 }))",
  "GatewayMessages.resume(() => Effect.succeed(socket), { $: 1 })"
]

/** The modules and values of the calls. */
const preamble = `
  import * as Effect from "effect/Effect"
  import * as Schema from "effect/Schema"
  import type * as Socket from "effect/socket/Socket"
  import * as Stream from "effect/Stream"
  import {
    CostLedger, GatewayMessages, Interest, Merge, MeshClient, type MeshEvent, MeshSession, MeshSocket, MeshStream,
    ReconnectPolicy, Repair, TaskBoard, TaskId, TaskState
  } from "../../packages/core/src/index.ts"
  import * as RepairHttp from "../../packages/core/src/RepairHttp.ts"
  import { NodeMeshClient, NodeMeshSocket } from "../../packages/node/src/index.ts"
  import {
    Audit, ChaosProxy, MergeAudit, MockMeshServer, Recording, ScriptedMesh, type ServerLog, Simulation, Workload
  } from "../../packages/test-kit/src/index.ts"
  declare const feed: Stream.Stream<MeshEvent.MeshEvent>
  declare const socket: Socket.Socket
  declare const client: MeshClient.Service
  declare const log: ServerLog.ServerLog
  declare const mesh: ScriptedMesh.Service
  declare const server: MockMeshServer.Service
  const id = TaskId.make("a")
  const fetch = () => Effect.succeed([])
`

/** A program whose calls misspell an option each, and whose last line uses a value that does not exist. */
const lines = [
  preamble,
  ...calls.map((call, n) => `export const call${n} = ${call.replace("$", `misspelt${n}`)}`),
  `export const value = feed.pipe(MeshStream.outputOnly({ keep: "resyncs" }))`
]

const compiler = fileURLToPath(import.meta.resolve("typescript/package.json").replace(/package\.json$/, "bin/tsc"))
const build = fileURLToPath(new URL("../../../../build/", import.meta.url))

/**
 * What the compiler says about the calls, and the declarations that it makes of `test/types/display.ts`. One run for both
 * tests, since most of its time goes into the sources. The program is inside the repository, so that its imports are found.
 */
const compile = Effect.gen(function* () {
  const directory = yield* Effect.acquireRelease(
    Effect.promise(async () => {
      await mkdir(build, { recursive: true })
      return mkdtemp(join(build, "types-"))
    }),
    (directory) => Effect.promise(() => rm(directory, { recursive: true }))
  )
  const settings = {
    extends: "../../packages/core/test/types/tsconfig.json",
    compilerOptions: {
      outDir: "out",
      rewriteRelativeImportExtensions: false,
      allowImportingTsExtensions: true,
      types: ["node"]
    },
    files: ["../../packages/core/test/types/display.ts", "program.ts"]
  }
  return yield* Effect.promise(async (signal) => {
    await writeFile(join(directory, "tsconfig.json"), JSON.stringify(settings))
    await writeFile(join(directory, "program.ts"), lines.join("\n"))
    // Several threads do some of the work several times.
    const args = [compiler, "-p", directory, "--singleThreaded"]
    const complaints = await promisify(execFile)(process.execPath, args, { signal }).then(
      () => "",
      // `execFile` rejects with the output of a command that failed.
      (error: { readonly stdout: string }) => error.stdout
    )
    const declarations = await readFile(join(directory, "out/packages/core/test/types/display.d.ts"), "utf8")
    return { complaints, declarations }
  })
}).pipe(Effect.scoped)

const compiled = Effect.runSync(Effect.cached(compile))

/** The types of `test/types/display.ts` as an editor shows them, by export. */
const displayed = Effect.map(compiled, ({ declarations }) =>
  Object.fromEntries(
    declarations
      // An editor shows a name without its module.
      .replaceAll(/import\("[^"]+"\)\./g, "")
      .replaceAll(/\s+/g, " ")
      .split("export declare const ")
      .slice(1)
      .map((declaration) => declaration.replace(/; ?$/, "").split(/: (.*)/s))
  )
)

describe("what an editor shows", () => {
  it.live("names the elements by the interfaces of the vocabulary, and keeps E and R", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* displayed, {
        outputOnly: "Stream<TaskOutput, MeshError, Socket>",
        outputWithResync: "Stream<RepairFailed | Repaired | Resync | TaskOutput, MeshError, Socket>",
        ofTask: "Stream<Restated | TaskUpdated, MeshError, Socket>",
        dedupeUpdates: "Stream<MeshEvent, MeshError, Socket>",
        markGaps: "Stream<MeshEvent, MeshError, Socket>",
        statusChanges: "Stream<MeshStream.StatusRestated | MeshStream.StatusUpdated, MeshError, Socket>",
        untilTerminal: "Stream<MeshEvent, MeshError, Socket>",
        takeResult: "Effect<MeshStream.TaskResult, MeshError | MeshStream.NoResult | MeshStream.TaskFailed, Socket>",
        joinPartials: "Stream<MeshStream.JoinedOutput, MeshError, Socket>",
        text: "Stream<string, MeshError, Socket>",
        lines: "Stream<RepairFailed | Repaired | Resync | MeshStream.TaskLine, MeshError, Socket>",
        toolUse:
          'Stream<MeshStream.ToolUse<{ readonly command: string; }, "Bash"> | MeshStream.ToolUseMismatch<"Bash">, MeshError, Socket>',
        filterTask: "Stream<Restated | TaskOutput | TaskUpdated, MeshError, Socket>",
        groupByTask: "Stream<MeshStream.TaskEvents<MeshEvent, MeshError>, MeshError, Socket>",
        filterStatus: "Stream<MeshStream.StatusRestated | MeshStream.StatusUpdated, MeshError, Socket>",
        filterMessageType: "Stream<TaskOutput, MeshError, Socket>",
        fieldsChanged: "Stream<RepairFailed | Repaired | Restated | Resync | TaskUpdated, MeshError, Socket>",
        dataOnly: "Stream<Restated | Data, MeshError, Socket>",
        lifecycleOnly: "Stream<Lifecycle, MeshError, Socket>",
        serverErrors: "Stream<ServerError, MeshError, Socket>",
        conflateUpdates: "Stream<Restated | Resync | TaskUpdated, MeshError, Socket>",
        boards: "Stream<TaskBoard.TaskBoard, MeshError, Socket>",
        ledger: "Effect<Projection<CostLedger.CostLedger, MeshError>, never, Scope | Socket>",
        client: "Effect<MeshClient.Service, never, Scope | Socket>",
        layer: "Layer<MeshClient.MeshClient, never, Socket>"
      })
    })
  )
})

describe("a misspelt option", () => {
  it.live("is a type error that names the option, for each public function with options", () =>
    Effect.gen(function* () {
      const { complaints: text } = yield* compiled
      const unnamed = calls.filter((_, n) => !new RegExp(`misspelt${n}\\b`).test(text))
      assert.deepStrictEqual(unnamed, [], text)
      assert.include(text, '"resyncs"')
      // The modules and values themselves are right.
      const first = preamble.split("\n").length
      const places = Array.from(text.matchAll(/^\S+\((\d+),\d+\): error/gm), ([, line]) => Number(line))
      assert.isAbove(Math.min(...places), first - 1, text)
    })
  )
})
