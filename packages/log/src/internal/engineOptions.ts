/**
 * The checks of options, for authors of engines.
 */
import type * as Effect from "effect/Effect"
import type { LogError } from "../LogError.ts"
import * as Options from "./options.ts"

/**
 * Reads the options of an engine. Fails with the reason `InvalidOption` if the function calls
 * `refuseOption`, or if a retention makes no sense.
 *
 * **Example** (A retention that keeps nothing)
 *
 * ```ts
 * import * as Effect from "effect/Effect"
 * import * as LogEngine from "@makima-stream/log/LogEngine"
 *
 * const limits = LogEngine.checkOptions(() => LogEngine.fromRetention({ maxEntries: 0 }))
 * console.log(Effect.runSync(Effect.flip(limits)).message)
 * // The option "maxEntries" must be an integer of at least 1, not 0
 * ```
 *
 * @category options
 * @since 0.2.0
 */
export const checkOptions: <A>(read: () => A) => Effect.Effect<A, LogError> = Options.checked

/**
 * Refuses an option. `detail` says what it must be.
 *
 * **Gotchas**
 *
 * Throws. Call it within `checkOptions`.
 *
 * **Example** (An option with three values)
 *
 * ```ts
 * import * as Effect from "effect/Effect"
 * import * as LogEngine from "@makima-stream/log/LogEngine"
 *
 * const options = LogEngine.checkOptions(() => LogEngine.refuseOption("replicas", "must be 1, 3 or 5"))
 * console.log(Effect.runSync(Effect.flip(options)).message) // The option "replicas" must be 1, 3 or 5
 * ```
 *
 * @category options
 * @since 0.2.0
 */
export const refuseOption: (option: string, detail: string) => never = Options.refuse
