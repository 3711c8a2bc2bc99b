/**
 * The command line: every command with its flags. What a command does is loaded
 * when it runs, so that the program starts fast.
 *
 * @since 0.2.0
 */
import * as Effect from "effect/Effect"
import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Completions from "effect/cli/Completions"
import type { CliError } from "effect/cli/CliError"
import * as Flag from "effect/cli/Flag"
import type { MeshError } from "@makima-stream/core/MeshError"
import type { LogError } from "@makima-stream/log/LogError"
import * as TaskId from "@makima-stream/core/TaskId"
import * as Connection from "./internal/connection.ts"
import * as Flags from "./internal/flags.ts"
import * as Output from "./internal/output.ts"
import * as Store from "./internal/store.ts"
import { version } from "./internal/version.ts"
import * as Program from "./Program.ts"

const tasks = Argument.String("task").pipe(
  Argument.withDescription("The tasks to follow. Defaults to all"),
  Argument.withSchema(TaskId.TaskId),
  Argument.variadic()
)

const task = Argument.String("task").pipe(Argument.withDescription("The task"), Argument.withSchema(TaskId.TaskId))

/** Loads the module of a command, and runs it. */
const run = <I, A, E, R>(
  load: () => Promise<{ readonly run: (input: I) => Effect.Effect<A, E, R> }>
): ((input: I) => Effect.Effect<A, E, R>) => {
  return (input) => Effect.flatMap(Effect.promise(load), (module) => module.run(input))
}

/** The flags that choose events. */
const filterFlags = {
  include: Flags.patterns("include").pipe(
    Flag.withAlias("i"),
    Flag.withDescription("Print only what matches. May be repeated: one match is enough")
  ),
  exclude: Flags.patterns("exclude").pipe(
    Flag.withAlias("e"),
    Flag.withDescription("Do not print what matches. May be repeated")
  ),
  status: Flags.words("status").pipe(
    Flag.withDescription("Print updates to these statuses, and no output unless --type asks for it")
  ),
  type: Flags.words("type").pipe(
    Flag.withDescription("Print output of these message types, and no updates unless --status asks for them")
  )
}

/** The flags for the format of printed events. */
const formatFlags = {
  output: Flags.output,
  timestamps: Flag.Boolean("timestamps").pipe(
    Flag.withAlias("t"),
    Flag.withDescription("Start each line with the time of arrival"),
    Flag.withDefault(false)
  ),
  timezone: Flag.String("timezone").pipe(
    Flag.withDescription("The time zone of times, such as Asia/Tokyo. Defaults to the machine's"),
    Flag.optional
  ),
  template: Flag.String("template").pipe(
    Flag.withDescription("Print each event as this text; {member} stands for a member of the event, {at} for the time"),
    Flag.optional
  ),
  quiet: Flags.quiet
}

const count = Flags.count("count", 1).pipe(
  Flag.withAlias("n"),
  Flag.withDescription("End after this many events"),
  Flag.optional
)

const withColor = <I extends object>(input: I) => Effect.map(Flags.color, (color) => ({ ...input, color }))

const tail = Command.make(
  "tail",
  {
    tasks,
    ...Connection.flags,
    ...filterFlags,
    ...formatFlags,
    count,
    follow: Flag.Boolean("follow").pipe(
      Flag.withDescription("Whether to continue after the named tasks have ended (--no-follow ends with them)"),
      Flag.withDefault(true)
    )
  },
  (input) =>
    Effect.flatMap(
      withColor(input),
      run(() => import("./commands/tail.ts"))
    )
).pipe(
  Command.withDescription("Follow updates and output"),
  Command.withExamples([
    { command: "makima-stream tail", description: "Follow everything" },
    { command: "makima-stream tail --status failed -o json", description: "Failures, one JSON object a line" },
    { command: "makima-stream tail TASK --type assistant", description: "Read along with one agent" }
  ])
)

const snapshotUrl = Flag.String("snapshot-url").pipe(
  Flag.withMetavar("<url>"),
  Flag.withDescription("The URL of the task's present state, as JSON. {task} stands for the task's id"),
  Flag.optional
)

const wait = Command.make(
  "wait",
  {
    task,
    ...Connection.flags,
    timeout: Flags.duration("timeout").pipe(
      Flag.withDescription("How long to wait, such as 30m. Then the exit code is 124, or 4 if the feed has a gap"),
      Flag.optional
    ),
    snapshotUrl,
    log: Flag.optional(Store.flag),
    output: Flags.textOrJson,
    quiet: Flags.quiet
  },
  run(() => import("./commands/wait.ts"))
).pipe(
  Command.withDescription(
    "Wait for a task to end. Exit code 0: it succeeded, 1: it failed, 4: unknown because of a gap, 124: the time is up"
  ),
  Command.withExamples([{ command: "makima-stream wait TASK --timeout 30m", description: "A gate for CI" }])
)

const cost = Command.make(
  "cost",
  {
    tasks,
    ...Connection.flags,
    budget: Flag.Finite("budget").pipe(
      Flag.withMetavar("<usd>"),
      Flag.withDescription("End with exit code 1 when the total is above this amount"),
      Flag.filter(
        (usd) => usd >= 0,
        (usd) => `Expected an amount of at least 0, got ${usd}`
      ),
      Flag.optional
    ),
    duration: Flags.duration("duration").pipe(Flag.withDescription("End after this time"), Flag.optional),
    log: Flag.optional(Store.flag),
    since: Flags.duration("since").pipe(
      Flag.withDescription("With --log: from this long ago on, such as 24h. Defaults to everything"),
      Flag.optional
    ),
    follow: Flag.Boolean("follow").pipe(
      Flag.withDescription("With --log: whether to go on with new events (--no-follow ends at the newest one)"),
      Flag.withDefault(true)
    ),
    output: Flags.textOrJson,
    quiet: Flags.quiet
  },
  run(() => import("./commands/cost.ts"))
).pipe(
  Command.withDescription("What the tasks cost, by task and in total"),
  Command.withExamples([{ command: "makima-stream cost --budget 5", description: "Stop when $5 are spent" }])
)

const top = Command.make(
  "top",
  {
    ...Connection.flags,
    sort: Flag.Literals("sort", ["activity", "cost", "status", "age", "task"]).pipe(
      Flag.withDescription("The order of the tasks"),
      Flag.withDefault("activity")
    ),
    filter: Flag.String("filter").pipe(
      Flag.withDescription("Show only tasks whose id, status or output contains this text"),
      Flag.withDefault("")
    ),
    interval: Flags.duration("interval").pipe(
      Flag.withDescription("The time between two frames"),
      Flag.filter(
        (millis) => millis >= 50,
        () => "Expected at least 50ms"
      ),
      Flag.withDefault(250)
    )
  },
  (input) =>
    Effect.flatMap(
      withColor(input),
      run(() => import("./commands/top.ts"))
    )
).pipe(
  Command.withDescription("A live board in the terminal"),
  Command.withExamples([{ command: "makima-stream top --sort cost", description: "The most expensive tasks first" }])
)

const record = Command.make(
  "record",
  {
    file: Argument.String("file").pipe(Argument.withDescription("The file to write; - for standard output")),
    tasks,
    ...Connection.flags,
    force: Flag.Boolean("force").pipe(Flag.withDescription("Replace the file if it exists"), Flag.withDefault(false)),
    duration: Flags.duration("duration").pipe(Flag.withDescription("End after this time"), Flag.optional),
    quiet: Flags.quiet
  },
  run(() => import("./commands/record.ts"))
).pipe(
  Command.withDescription("Write a session to disk"),
  Command.withExamples([{ command: "makima-stream record session.jsonl", description: "Until Ctrl-C" }])
)

const relay = Command.make(
  "relay",
  {
    log: Store.flag,
    name: Flag.String("name").pipe(
      Flag.withDescription("The name of this relay. Defaults to a random one"),
      Flag.optional
    ),
    ...Connection.flags,
    quiet: Flags.quiet
  },
  run(() => import("./commands/relay.ts"))
).pipe(
  Command.withDescription("Append the feed to a log. Of several relays on one log, one writes and the others stand by"),
  Command.withExamples([{ command: "makima-stream relay --log feed.db", description: "Until Ctrl-C" }])
)

const log = Command.make(
  "log",
  {
    log: Store.flag,
    task: Flag.String("task").pipe(
      Flag.withDescription("Only this task. May be repeated"),
      Flag.withSchema(TaskId.TaskId),
      Flag.atLeast(0)
    ),
    from: Flag.String("from").pipe(
      Flag.withMetavar("<beginning|new|position|time>"),
      Flag.withDescription("Where to start. Defaults to the beginning"),
      Flag.optional
    ),
    since: Flags.duration("since").pipe(Flag.withDescription("Start this long ago, such as 15m"), Flag.optional),
    lastPerTask: Flag.Boolean("last-per-task").pipe(
      Flag.withDescription("Start with the newest update of each task"),
      Flag.withDefault(false)
    ),
    follow: Flag.Boolean("follow").pipe(
      Flag.withAlias("f"),
      Flag.withDescription("Continue with new events"),
      Flag.withDefault(false)
    ),
    ...filterFlags,
    ...formatFlags,
    output: Flags.textOrJson,
    count
  },
  (input) =>
    Effect.flatMap(
      withColor(input),
      run(() => import("./commands/log.ts"))
    )
).pipe(
  Command.withDescription("Read a kept feed"),
  Command.withExamples([
    {
      command: "makima-stream log --log feed.db --since 1h --status failed",
      description: "Failures of the last hour"
    }
  ])
)

const port = Flags.count("port", 0, 65_535).pipe(
  Flag.withDescription("The port to listen on. 0 stands for a free one"),
  Flag.withDefault(0)
)

const host = Flag.String("host").pipe(Flag.withDescription("The address to listen on"), Flag.withDefault("127.0.0.1"))

const replay = Command.make(
  "replay",
  {
    file: Argument.File("file", { mustExist: true }).pipe(Argument.withDescription("The recording")),
    speed: Connection.flags.speed,
    ...filterFlags,
    ...formatFlags,
    count,
    serve: Flag.Boolean("serve").pipe(
      Flag.withDescription("Play it as a server, to which any program can connect"),
      Flag.withDefault(false)
    ),
    port,
    host
  },
  (input) =>
    Effect.flatMap(
      withColor(input),
      run(() => import("./commands/replay.ts"))
    )
).pipe(
  Command.withDescription("Play a recording. Every other command plays one with --replay"),
  Command.withExamples([
    { command: "makima-stream replay session.jsonl --speed max -o json", description: "As JSON, at once" },
    { command: "makima-stream replay session.jsonl --serve --port 8080", description: "As a server" },
    { command: "makima-stream top --replay session.jsonl --speed 10", description: "In another command" }
  ])
)

const file = (name: string) => Flag.String(name).pipe(Flag.withMetavar("<path>"))

const serve = Command.make(
  "serve",
  {
    ...Connection.flags,
    host: Flag.String("host").pipe(
      Flag.withDescription("The address to listen on. One that other machines can reach needs --token-file and TLS"),
      Flag.withDefault("127.0.0.1")
    ),
    port: Flags.count("port", 0, 65_535).pipe(
      Flag.withDescription("The port to listen on. 0 stands for a free one"),
      Flag.withDefault(8787)
    ),
    publicUrl: Flag.String("public-url").pipe(
      Flag.withMetavar("<url>"),
      Flag.withDescription("The URL that browsers use, behind a proxy or a tunnel"),
      Flag.optional
    ),
    allowHost: Flags.words("allow-host").pipe(Flag.withDescription("Also accept this Host. May be repeated")),
    allowOrigin: Flags.words("allow-origin").pipe(
      Flag.withDescription("Let pages of this origin read everything. May be repeated")
    ),
    tokenFile: file("token-file").pipe(
      Flag.withDescription("The file with the token of programs. It is made if it does not exist"),
      Flag.optional
    ),
    tlsCert: file("tls-cert").pipe(Flag.withDescription("The certificate chain, in PEM"), Flag.optional),
    tlsKey: file("tls-key").pipe(Flag.withDescription("The private key, in PEM"), Flag.optional),
    allowPlaintextBeyondLoopback: Flag.Boolean("allow-plaintext-beyond-loopback").pipe(
      Flag.withDescription("Serve without TLS: everyone on the path can then read the feed and the token"),
      Flag.withDefault(false)
    ),
    log: Flag.optional(Store.flag),
    keep: Flag.String("keep").pipe(
      Flag.withMetavar("<file|nats://host>"),
      Flag.withDescription("Like --log, and also fill the log, as relay does, on a second connection"),
      Flag.optional
    ),
    connections: Flags.count("connections", 1, 2).pipe(
      Flag.withDescription("How many connections to the server, 1 or 2. With 2, one can break without a gap"),
      Flag.withDefault(1)
    ),
    mock: Flag.Boolean("mock").pipe(
      Flag.withDescription("Serve a mock server with a workload of twelve agents, to try the dashboard"),
      Flag.withDefault(false)
    ),
    output: Flags.textOrJson,
    quiet: Flags.quiet
  },
  run(() => import("./commands/serve.ts"))
).pipe(
  Command.withDescription("Run a gateway with a dashboard, and print the URL for a browser"),
  Command.withExamples([
    { command: "makima-stream serve", description: "The dashboard of the server, on this machine" },
    { command: "makima-stream serve --mock", description: "The dashboard with a workload, without a server" },
    { command: "makima-stream serve --keep feed.db", description: "With history" }
  ])
)

const mock = Command.make(
  "mock",
  {
    port,
    host,
    tasks: Flags.count("tasks", 1, 10_000).pipe(
      Flag.withDescription("How many tasks the workload has"),
      Flag.withDefault(24)
    ),
    seed: Flag.Int("seed").pipe(Flag.withDescription("Which workload is played"), Flag.withDefault(1)),
    speed: Connection.flags.speed,
    concurrency: Flags.count("concurrency", 1).pipe(
      Flag.withDescription("How many tasks run at the same time. Defaults to 8"),
      Flag.optional
    ),
    loop: Flag.Boolean("loop").pipe(
      Flag.withDescription("Whether to begin again with new tasks at the end"),
      Flag.withDefault(true)
    ),
    keyEnv: Flag.String("key-env").pipe(
      Flag.withDescription("The environment variable with the key that clients must send. Defaults to no check"),
      Flag.optional
    ),
    killEvery: Flags.duration("kill-every").pipe(
      Flag.withDescription("How often to cut every connection. Defaults to never"),
      Flag.optional
    ),
    output: Flags.textOrJson
  },
  run(() => import("./commands/mock.ts"))
).pipe(
  Command.withDescription("Run a mock server with a workload, to try every other command"),
  Command.withExamples([
    { command: "makima-stream mock --port 8080", description: "Then: top --url http://127.0.0.1:8080" }
  ])
)

/**
 * The command `demo`, also run by `pnpm demo`.
 *
 * @category commands
 * @since 0.2.0
 */
export const demo = Command.make(
  "demo",
  {
    seed: Flag.Int("seed").pipe(Flag.withDescription("The seed of the workload. Defaults to 1"), Flag.optional),
    tasks: Flags.count("tasks", 1, 1000).pipe(
      Flag.withDescription("The number of tasks, from 1 to 1000. Defaults to 24"),
      Flag.optional
    ),
    connections: Flags.count("connections", 1, 2).pipe(
      Flag.withDescription("How many connections the client has, 1 or 2. With 2, each fault hits one of them"),
      Flag.withDefault(1)
    ),
    json: Flag.Boolean("json").pipe(Flag.withDescription("Print only the final object"), Flag.withDefault(false)),
    url: Flag.String("url").pipe(
      Flag.withDescription("Follow the server at this URL instead, with the key from MAKIMA_API_KEY"),
      Flag.optional
    )
  },
  run(() => import("./commands/demo.ts"))
).pipe(
  Command.withDescription("Follows a task feed through three faults of its connection, and audits the received events")
)

const doctor = Command.make(
  "doctor",
  {
    ...Connection.serverFlags,
    timeout: Flags.duration("timeout").pipe(
      Flag.withDescription("How long each step may take"),
      Flag.filter(
        (millis) => millis >= 100,
        () => "Expected at least 100ms"
      ),
      Flag.withDefault(5000)
    ),
    output: Flags.textOrJson
  },
  (input) =>
    Effect.flatMap(
      withColor(input),
      run(() => import("./commands/doctor.ts"))
    )
).pipe(Command.withDescription("Check the connection to the server step by step, with a remedy for the first failure"))

const contextName = Argument.String("name").pipe(Argument.withDescription("The name of the context"))

const context = Command.make("context").pipe(
  Command.withDescription("Named servers, stored in the configuration directory"),
  Command.withSubcommands([
    Command.make(
      "add",
      {
        name: contextName,
        url: Flag.String("url").pipe(Flag.withMetavar("<url>"), Flag.withDescription("The server")),
        keyEnv: Connection.serverFlags.keyEnv,
        keyFile: Connection.serverFlags.keyFile,
        keyCommand: Connection.serverFlags.keyCommand,
        description: Flag.String("description").pipe(Flag.withDescription("Shown by context list"), Flag.optional)
      },
      (input) =>
        Effect.flatMap(
          Effect.promise(() => import("./commands/context.ts")),
          ({ add }) => add(input)
        )
    ).pipe(Command.withDescription("Write a context, or replace it")),
    Command.make("list", { output: Flags.textOrJson }, (input) =>
      Effect.flatMap(
        Effect.promise(() => import("./commands/context.ts")),
        ({ list }) => list(input)
      )
    ).pipe(Command.withDescription("List the contexts. * marks the selected one"), Command.withAlias("ls")),
    Command.make("select", { name: contextName }, (input) =>
      Effect.flatMap(
        Effect.promise(() => import("./commands/context.ts")),
        ({ select }) => select(input)
      )
    ).pipe(Command.withDescription("Select the context that is used by default")),
    Command.make("remove", { name: contextName }, (input) =>
      Effect.flatMap(
        Effect.promise(() => import("./commands/context.ts")),
        ({ remove }) => remove(input)
      )
    ).pipe(Command.withDescription("Remove a context"), Command.withAlias("rm"))
  ])
)

const completions = Command.make(
  "completions",
  {
    shell: Argument.Literals("shell", ["bash", "zsh", "fish", "powershell"]).pipe(Argument.withDescription("The shell"))
  },
  ({ shell }) =>
    Effect.suspend(() =>
      Output.out(`${Completions.generate("makima-stream", shell, Completions.fromCommand(command))}\n`)
    )
).pipe(
  Command.withDescription("Print the completions of a shell"),
  Command.withExamples([
    { command: "source <(makima-stream completions bash)", description: "For this bash. Other shells are similar" }
  ])
)

/**
 * The command `makima-stream`.
 *
 * @category commands
 * @since 0.2.0
 */
export const command: Command.Command<
  "makima-stream",
  {},
  {},
  CliError | Program.Failure | MeshError | LogError,
  Command.Environment
> = Command.make("makima-stream").pipe(
  Command.withDescription("The Makima task feed at a terminal"),
  Command.withSubcommands([
    tail,
    top,
    wait,
    cost,
    record,
    replay,
    relay,
    log,
    serve,
    mock,
    demo,
    doctor,
    context,
    completions
  ]),
  Command.withGlobalFlags([Flags.color])
)

/**
 * Runs the command as the program of the process.
 *
 * @category running
 * @since 0.2.0
 */
export const main = (): void => Program.main(command, { version, refused: Program.exitCodes.refused, errorsOnly: true })
