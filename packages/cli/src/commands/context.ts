/** `makima-stream context`: named servers. */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Endpoint from "@makima-stream/core/Endpoint"
import * as Contexts from "../internal/contexts.ts"
import * as Output from "../internal/output.ts"
import * as Text from "../internal/text.ts"
import { Failure, exitCodes } from "../Program.ts"

/** The values of `context add`. */
export interface AddInput {
  readonly name: string
  readonly url: string
  readonly keyEnv: Option.Option<string>
  readonly keyFile: Option.Option<string>
  readonly keyCommand: Option.Option<string>
  readonly description: Option.Option<string>
}

const usage = (message: string) => new Failure({ message, exitCode: exitCodes.usage })

/** Writes a context. */
export const add = Effect.fnUntraced(function* (input: AddInput) {
  const url = Endpoint.fromString(input.url)
  if (Result.isFailure(url)) return yield* usage(`--url: ${url.failure.message}`)
  const sources: ReadonlyArray<Contexts.KeySource> = [
    ...Option.toArray(Option.map(input.keyEnv, (env) => ({ env }))),
    ...Option.toArray(Option.map(input.keyFile, (file) => ({ file }))),
    ...Option.toArray(Option.map(input.keyCommand, (command) => ({ command })))
  ]
  if (sources.length > 1) return yield* usage("Only one of --key-env, --key-file and --key-command can be used")
  const key = sources[0]
  const path = yield* Contexts.write(input.name, {
    url: input.url,
    ...(key === undefined ? {} : { key }),
    ...(Option.isSome(input.description) ? { description: input.description.value } : {})
  })
  yield* Output.err(`wrote ${path}\n`)
})

const toLine = (name: string, context: Contexts.Context, isSelected: boolean): string =>
  `${isSelected ? "*" : " "} ${name}  ${Text.oneLine(context.url)}${
    context.description === undefined ? "" : `  ${Text.oneLine(context.description)}`
  }\n`

/** Prints all contexts. */
export const list = Effect.fnUntraced(function* (input: { readonly output: "text" | "json" }) {
  const selected = Option.getOrUndefined(yield* Contexts.selected)
  for (const name of yield* Contexts.list) {
    const context = yield* Contexts.read(name)
    yield* Output.out(
      input.output === "json"
        ? `${JSON.stringify({ name, selected: name === selected, ...context })}\n`
        : toLine(name, context, name === selected)
    )
  }
})

/** Selects the context that is used by default. */
export const select = (input: { readonly name: string }) => Contexts.select(input.name)

/** Removes a context. */
export const remove = (input: { readonly name: string }) => Contexts.remove(input.name)
