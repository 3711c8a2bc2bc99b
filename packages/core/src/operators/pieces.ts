/**
 * What the operators that join pieces of text have in common: the conventions
 * that a server may follow, and the reasons why a text stays unfinished.
 *
 * The protocol only says that an output `isPartial`. Whether a piece
 * adds to the ones before it or repeats them, and whether the whole message at
 * the end repeats them, is a convention, so it is an option.
 */

import type { Resync } from "../MeshEvent.ts"

/**
 * What the pieces of a message mean.
 *
 * @category options
 * @since 0.1.0
 */
export interface PieceOptions {
  /**
   * What an output with `isPartial` holds: `"delta"`, the text that follows the
   * pieces before it; `"snapshot"`, the message's whole text so far. Default:
   * `"delta"`.
   */
  readonly pieces?: "delta" | "snapshot" | undefined
  /**
   * What the output that closes a message (the first one without `isPartial`
   * after pieces of the same task and message type) holds: `"whole"`, the whole
   * text again; `"piece"`, the last piece alone. A whole one that is empty closes
   * the message and leaves its text as it was. Snapshots are always closed by a
   * whole one. Default: `"whole"`.
   */
  readonly closing?: "whole" | "piece" | undefined
}

/**
 * Why a text is unfinished.
 *
 * **Details**
 *
 * - `Resync`: events of the task may have been missed after it.
 * - `Ended`: the stream ended, or failed.
 * - `RunEnded`: the task's `result` came, and the message was not closed.
 * - `TooLong`: the text reached its bound; what follows it comes by itself.
 * - `Replaced`: the server sent another text than the one that had begun.
 * - `Evicted`: more tasks, or more message types of the task, had unfinished text
 *   than the bound allows, and this was the oldest.
 *
 * @category models
 * @since 0.1.0
 */
export type UnfinishedReason = "Resync" | "Ended" | "RunEnded" | "TooLong" | "Replaced" | "Evicted"

/**
 * Whether output may be missing at a mark, so that what follows does not continue the
 * text before it. A subscription to updates says nothing of output.
 */
export const cutsText = ({ reason }: Resync): boolean => reason._tag !== "Subscribed" || reason.kind === "output"

/** How many message types of one task may have text in waiting at once. The protocol names seven. */
export const maxKinds = 16

/**
 * A copy of a text that was cut out of a larger one. Engines keep the larger one
 * in memory behind the cut, so a few characters in waiting could hold a megabyte.
 */
export const detach = (text: string): string => (text.length < 13 ? text : (" " + text).slice(1))
