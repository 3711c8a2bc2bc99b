/** Distinguishes marks that are gaps for a program that starts without knowledge. */
import type * as MeshEvent from "@makima-stream/core/MeshEvent"

/** The reasons of marks at which knowledge begins, so that nothing can be out of date. */
const beginnings: ReadonlySet<string> = new Set(["Started", "Subscribed", "JoinedLate"])

/** Whether the element marks a gap: something that the program knew may be out of date. */
export const isGap = (event: MeshEvent.MeshEvent): boolean =>
  event._tag === "Resync" && !beginnings.has(event.reason._tag)
