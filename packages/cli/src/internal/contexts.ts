/**
 * Contexts: named servers, each with the source of its key. Each is a file in the
 * user's configuration directory that only its owner can read. A context never
 * contains a key itself.
 */
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as UserDirectories from "effect/persistence/UserDirectories"
import { Failure, exitCodes } from "../Program.ts"

/** Where a key is read from. */
export const KeySource = Schema.Union([
  Schema.Struct({ env: Schema.NonEmptyString }),
  Schema.Struct({ file: Schema.NonEmptyString }),
  Schema.Struct({ command: Schema.NonEmptyString })
])

/** Where a key is read from. */
export type KeySource = typeof KeySource.Type

/** A named server. */
export const Context = Schema.Struct({
  url: Schema.NonEmptyString,
  key: Schema.optionalKey(KeySource),
  description: Schema.optionalKey(Schema.String)
})

/** A named server. */
export interface Context extends Schema.Schema.Type<typeof Context> {}

const ContextJson = Schema.fromJsonString(Context)

const failure = (message: string) => new Failure({ message, exitCode: exitCodes.usage })

/** A context's name is the name of its file. */
export const checkName = (name: string): Effect.Effect<string, Failure> =>
  /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/.test(name)
    ? Effect.succeed(name)
    : Effect.fail(failure(`"${name}" is not a name for a context. Use letters, digits, ".", "_" and "-"`))

const directory = UserDirectories.make()
  .config("makima-stream")
  .pipe(Effect.mapError(({ message }) => failure(`The configuration directory is not known: ${message}`)))

const fileOf = (name: string) => Effect.map(directory, (path) => `${path}/contexts/${name}.json`)

const selectedFile = Effect.map(directory, (path) => `${path}/selected`)

const writePrivate = Effect.fnUntraced(
  function* (path: string, text: string) {
    const fs = yield* FileSystem.FileSystem
    const temporary = `${path}.${process.pid}.tmp`
    yield* fs.makeDirectory(path.slice(0, path.lastIndexOf("/")), { recursive: true, mode: 0o700 })
    yield* fs.writeFileString(temporary, text, { mode: 0o600 })
    // A file that was there before keeps its mode, so the new one replaces it.
    yield* fs.chmod(temporary, 0o600)
    yield* fs.rename(temporary, path)
  },
  Effect.mapError(({ message }) => failure(`The context could not be written: ${message}`))
)

/** Reads a text file; `None` if it does not exist. */
const readIfPresent = Effect.fnUntraced(function* (path: string) {
  const fs = yield* FileSystem.FileSystem
  return yield* fs.readFileString(path).pipe(
    Effect.map(Option.some),
    Effect.catchIf(
      (error) => error.reason._tag === "NotFound",
      () => Effect.succeed(Option.none<string>())
    ),
    Effect.mapError(({ message }) => failure(`${path} could not be read: ${message}`))
  )
})

/** The name of the selected context. */
export const selected = Effect.gen(function* () {
  const text = yield* readIfPresent(yield* selectedFile)
  return Option.filter(
    Option.map(text, (name) => name.trim()),
    (name) => name !== ""
  )
})

/** Reads a context. Fails if it does not exist. */
export const read = Effect.fnUntraced(function* (name: string) {
  const path = yield* fileOf(yield* checkName(name))
  const text = yield* readIfPresent(path)
  if (Option.isNone(text)) {
    return yield* failure(`There is no context "${name}". "makima-stream context list" shows all contexts`)
  }
  return yield* Schema.decodeEffect(ContextJson)(text.value).pipe(
    Effect.mapError(() => failure(`${path} is not a context. Write it again with "makima-stream context add ${name}"`))
  )
})

/** Writes a context. The first one becomes the selected one. */
export const write = Effect.fnUntraced(function* (name: string, context: Context) {
  const path = yield* fileOf(yield* checkName(name))
  yield* writePrivate(path, `${JSON.stringify(context, undefined, 2)}\n`)
  if (Option.isNone(yield* selected)) yield* select(name)
  return path
})

/** Makes a context the selected one. */
export const select = Effect.fnUntraced(function* (name: string) {
  yield* read(name)
  yield* writePrivate(yield* selectedFile, `${name}\n`)
})

/** Removes a context. */
export const remove = Effect.fnUntraced(function* (name: string) {
  yield* read(name)
  const fs = yield* FileSystem.FileSystem
  const failed = ({ message }: { readonly message: string }) => failure(`The context could not be removed: ${message}`)
  yield* Effect.mapError(fs.remove(yield* fileOf(name)), failed)
  const current = yield* selected
  if (Option.isSome(current) && current.value === name) {
    yield* Effect.mapError(fs.remove(yield* selectedFile), failed)
  }
})

/** The names of all contexts, sorted. */
export const list = Effect.gen(function* () {
  const fs = yield* FileSystem.FileSystem
  const names = yield* Effect.orElseSucceed(fs.readDirectory(`${yield* directory}/contexts`), () => [])
  return names
    .filter((name) => name.endsWith(".json"))
    .map((name) => name.slice(0, -".json".length))
    .toSorted()
})
