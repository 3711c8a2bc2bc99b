/** nginx in front of a server, where it is installed: in a directory of its own, on a free port, in the foreground. */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import type * as Scope from "effect/Scope"
import { spawn, spawnSync } from "node:child_process"
import * as Net from "node:net"
import { netServer, until } from "./servers.ts"

/** How nginx is called, or `undefined` where there is none. Debian keeps it out of a user's `PATH`. */
export const command = ["nginx", "/usr/sbin/nginx"].find((name) => spawnSync(name, ["-v"]).status === 0)

export const missing = "nginx is not installed: `apt-get install nginx-light` brings it, and .ci/run does where it may"

export interface Nginx {
  readonly port: number
  /** Ends it as a restart does, and waits until it is gone. */
  readonly stop: Effect.Effect<void>
  /** Starts it (again), and waits until it listens. */
  readonly start: Effect.Effect<void>
}

const listens = (port: number): Effect.Effect<boolean> =>
  Effect.callback((resume) => {
    const socket = Net.connect({ port, host: "127.0.0.1" })
    socket.on("connect", () => resume(Effect.succeed(true)))
    socket.on("error", () => resume(Effect.succeed(false)))
    socket.on("close", () => resume(Effect.succeed(false)))
    return Effect.sync(() => socket.destroy())
  })

/**
 * A reverse proxy as its manual shows it: the upgrade's two headers, and every default as it is, but for what the test
 * says.
 */
export const make = Effect.fnUntraced(function* (options: {
  readonly nginx: string
  readonly target: number
  /** Directives of the server's block. */
  readonly server?: string
  readonly tls?: boolean
}): Effect.fn.Return<Nginx, never, Scope.Scope | FileSystem.FileSystem> {
  const fileSystem = yield* FileSystem.FileSystem
  const directory = yield* Effect.orDie(fileSystem.makeTempDirectoryScoped({ prefix: "makima-nginx-" }))
  const { port } = yield* Effect.scoped(netServer(() => {}))
  const fixture = (name: string) => new URL(`../fixtures/${name}`, import.meta.url).pathname
  const tls = options.tls === true
  const config = `
    ${process.getuid?.() === 0 ? "user root;" : ""}
    daemon off;
    pid ${directory}/nginx.pid;
    error_log ${directory}/error.log;
    events {}
    http {
      access_log off;
      client_body_temp_path ${directory}/body;
      proxy_temp_path ${directory}/proxy;
      fastcgi_temp_path ${directory}/fastcgi;
      uwsgi_temp_path ${directory}/uwsgi;
      scgi_temp_path ${directory}/scgi;
      server {
        listen 127.0.0.1:${port}${tls ? " ssl" : ""};
        ${tls ? `ssl_certificate ${fixture("server.pem")}; ssl_certificate_key ${fixture("server.key")};` : ""}
        ${options.server ?? ""}
        location / {
          proxy_pass http://127.0.0.1:${options.target};
          proxy_http_version 1.1;
          proxy_set_header Upgrade $http_upgrade;
          proxy_set_header Connection "upgrade";
        }
      }
    }`
  yield* Effect.orDie(fileSystem.writeFileString(`${directory}/nginx.conf`, config))

  let running: { readonly kill: (signal: NodeJS.Signals) => void; readonly exited: Effect.Effect<void> } | undefined

  const start = Effect.gen(function* () {
    const exited = Deferred.makeUnsafe<void>()
    const args = ["-p", directory, "-e", `${directory}/error.log`, "-c", `${directory}/nginx.conf`]
    const child = spawn(options.nginx, args, { stdio: ["ignore", "ignore", "pipe"] })
    let said = ""
    let ended = false
    child.stderr.on("data", (data) => (said += String(data)))
    child.on("exit", () => {
      ended = true
      Deferred.doneUnsafe(exited, Effect.void)
    })
    running = { kill: (signal) => child.kill(signal), exited: Deferred.await(exited) }
    while (!(yield* listens(port))) {
      if (ended) return yield* Effect.die(new Error(`nginx ended: ${said}`))
      yield* until(() => true)
    }
  })

  const stop = Effect.suspend(() => {
    const child = running
    running = undefined
    if (child === undefined) return Effect.void
    // A fast end: connections are cut, workers included.
    child.kill("SIGTERM")
    return child.exited
  })

  yield* Effect.acquireRelease(start, () => stop)
  return { port, start, stop }
})
