/**
 * Shared parts of the operators that join pieces of text: the conventions of servers,
 * and the reasons why a text is unfinished.
 *
 * The protocol only says that an output `isPartial`. It is a convention of the server,
 * and so an option, whether a piece continues or repeats the pieces before it, and
 * whether the closing message repeats them.
 */
import type { Resync } from "../MeshEvent.ts"
import { oneOf } from "../internal/bounds.ts"

/**
 * How a server sends a message in pieces.
 *
 * @category options
 * @since 0.1.0
 */
export interface PieceOptions {
  /**
   * The content of an output with `isPartial`: `"delta"`, the text after the previous
   * pieces; `"snapshot"`, the whole text of the message so far. Defaults to `"delta"`.
   */
  readonly pieces?: "delta" | "snapshot" | undefined
  /**
   * The content of the output that closes a message (the first one without `isPartial`
   * after pieces of the same task and message type): `"whole"`, the whole text again;
   * `"piece"`, only the last piece. With `"whole"`, an empty content closes the message
   * without changing its text. Snapshots are always closed by a whole text. Defaults
   * to `"whole"`.
   */
  readonly closing?: "whole" | "piece" | undefined
}

/** Normalised `PieceOptions`. */
export interface PieceSettings {
  readonly snapshots: boolean
  /** Whether the closing output contains the whole text. */
  readonly closedByWhole: boolean
}

export const pieceSettings = (options: PieceOptions | undefined): PieceSettings => {
  const snapshots = oneOf("pieces", options?.pieces, ["delta", "snapshot"]) === "snapshot"
  const closedByWhole = oneOf("closing", options?.closing, ["whole", "piece"]) === "whole"
  return { snapshots, closedByWhole: snapshots || closedByWhole }
}

/** The default of `maxTotalLength`: 32 MiB of text. */
export const defaultMaxTotalLength = 16 * 1024 * 1024

/**
 * Why a text is unfinished.
 *
 * **Details**
 *
 * - `Resync`: events of the task may be missing after it.
 * - `Ended`: the stream ended or failed.
 * - `RunEnded`: the task's `result` arrived before the message was closed.
 * - `TooLong`: the text reached its bound. The text after it is emitted separately.
 * - `Replaced`: the server sent a text that does not continue the one before.
 * - `Evicted`: too many tasks, or message types of the task, had unfinished text, or
 *   too much of it in total. This was the oldest.
 *
 * @category models
 * @since 0.1.0
 */
export type UnfinishedReason = "Resync" | "Ended" | "RunEnded" | "TooLong" | "Replaced" | "Evicted"

/**
 * Whether output may be missing at a mark, so that the text after the mark does not
 * continue the text before it. A subscription to updates does not affect output.
 */
export const cutsText = ({ reason }: Resync): boolean => reason._tag !== "Subscribed" || reason.kind === "output"

/** The most message types of one task with pending text. The protocol defines seven. */
export const maxKinds = 16

/**
 * Copies a substring. JavaScript engines keep the original string in memory for a
 * substring, so a few pending characters could retain a megabyte.
 */
export const detach = (text: string): string => (text.length < 13 ? text : (" " + text).slice(1))
