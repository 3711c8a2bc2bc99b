/** The logs that relays share: a file, or a NATS server that is started for the run. */
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import type { PlatformError } from "effect/PlatformError"
import type * as Scope from "effect/Scope"
import type { LogError } from "@makima-stream/log/LogError"
import type { MeshLog } from "@makima-stream/log/MeshLog"
import * as SqliteLog from "@makima-stream/log/SqliteLog"
import * as JetStreamLog from "@makima-stream/nats/JetStreamLog"
import { spawn, spawnSync } from "node:child_process"
import { join } from "node:path"
import { DatabaseSync } from "node:sqlite"

export type Engine = "sqlite" | "jetstream"

/** Opens the log at a file's path or at the port of a NATS server. */
export const open = (engine: Engine, location: string): Effect.Effect<MeshLog["Service"], LogError, Scope.Scope> =>
  engine === "sqlite"
    ? SqliteLog.make({ filename: location, synchronous: "normal" })
    : JetStreamLog.make({
        servers: `nats://127.0.0.1:${location}`,
        timeout: "1 second",
        connection: { ignoreClusterUpdates: true }
      }).pipe(
        // On a busy machine, opening can take longer than a second.
        Effect.retry({ times: 20 })
      )

/** Whether the engine can run here. */
export const isInstalled = (engine: Engine): boolean =>
  engine === "sqlite" || spawnSync("nats-server", ["--version"]).status === 0

/** Whether a process has a lock on the file of a log in SQLite. */
export const isLocked = (location: string): boolean => {
  const db = new DatabaseSync(location, { timeout: 0 })
  try {
    db.exec("BEGIN IMMEDIATE; ROLLBACK")
    return false
  } catch {
    return true
  } finally {
    db.close()
  }
}

/** Returns the path of a new file, or the port of a new server. */
export const make = (engine: Engine): Effect.Effect<string, PlatformError, Scope.Scope | FileSystem.FileSystem> =>
  Effect.gen(function* () {
    const fileSystem = yield* FileSystem.FileSystem
    const directory = yield* fileSystem.makeTempDirectoryScoped({ prefix: "makima-takeovers-" })
    return engine === "sqlite" ? join(directory, "feed.db") : yield* startServer(directory)
  })

const startServer = (directory: string): Effect.Effect<string, never, Scope.Scope> =>
  Effect.gen(function* () {
    const args = ["--jetstream", "--store_dir", directory, "--addr", "127.0.0.1", "--port", "-1"]
    const child = yield* Effect.acquireRelease(
      Effect.sync(() => spawn("nats-server", args, { stdio: ["ignore", "ignore", "pipe"] })),
      (child) =>
        Effect.callback<void>((resume) => {
          if (child.exitCode !== null || child.signalCode !== null) return resume(Effect.void)
          child.once("exit", () => resume(Effect.void))
          child.kill("SIGKILL")
        })
    )
    return yield* Effect.callback<string>((resume) => {
      let text = ""
      child.stderr.setEncoding("utf8").on("data", (chunk: string) => {
        text += chunk
        const found = /client connections on [^\s]*:(\d+)[\s\S]*Server is ready/.exec(text)
        if (found?.[1] !== undefined) resume(Effect.succeed(found[1]))
      })
      child.once("exit", () => resume(Effect.die(new Error(`nats-server ended:\n${text}`))))
    })
  })
