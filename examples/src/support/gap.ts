/** Which marks are gaps for a program that starts with nothing. */
import type * as MeshEvent from "@makima-stream/core/MeshEvent"

/** The reasons of marks with which knowledge begins: the program knew nothing that could be out of date. */
const beginnings: ReadonlySet<string> = new Set(["Started", "Subscribed", "JoinedLate"])

/** Whether something that the program knew may be out of date at this mark. */
export const isGap = ({ reason }: MeshEvent.Resync): boolean => !beginnings.has(reason._tag)
