/** Recognises unified diffs, line by line. */

/** What a line of a diff is. */
export type LineKind = "added" | "removed" | "hunk" | "header" | "context" | "text"

/** One line of a text that contains a diff. */
export interface Line {
  readonly kind: LineKind
  readonly text: string
}

const hunk = /^@@ -\d+(?:,\d+)? \+\d+(?:,\d+)? @@/
const header = /^(?:diff --git |index [0-9a-f]{6,}|(?:new|deleted) file mode |similarity index |rename (?:from|to) )/

/** Whether a text contains a unified diff. Looks at its first 200 lines. */
export const isDiff = (text: string): boolean => {
  const head = text.slice(0, 20_000).split("\n", 200)
  return head.some((line) => hunk.test(line)) || head.some((line) => line.startsWith("diff --git "))
}

/** Returns the lines of a text that contains a diff. Lines outside its hunks are `header` or `text`. */
export const parse = (text: string): ReadonlyArray<Line> => {
  let isInside = false
  return text.split("\n").map((line): Line => {
    if (hunk.test(line)) {
      isInside = true
      return { kind: "hunk", text: line }
    }
    if (header.test(line)) {
      isInside = false
      return { kind: "header", text: line }
    }
    if (/^(?:---|\+\+\+) /.test(line) && !isInside) return { kind: "header", text: line }
    // The header of the next file of a diff without `diff --git`.
    if (isInside && /^--- \S/.test(line)) {
      isInside = false
      return { kind: "header", text: line }
    }
    if (!isInside) return { kind: "text", text: line }
    if (line.startsWith("+")) return { kind: "added", text: line }
    if (line.startsWith("-")) return { kind: "removed", text: line }
    if (line.startsWith(" ") || line.startsWith("\\") || line === "") return { kind: "context", text: line }
    isInside = false
    return { kind: "text", text: line }
  })
}

/** Returns an edit as a diff: the old lines, then the new ones, without what both have at their start and end. */
export const ofEdit = (before: string, after: string): ReadonlyArray<Line> => {
  const [removed, added] = [before.split("\n"), after.split("\n")]
  const most = Math.min(removed.length, added.length)
  let start = 0
  while (start < most && removed[start] === added[start]) start++
  let end = 0
  while (end < most - start && removed.at(-1 - end) === added.at(-1 - end)) end++
  const lines = (kind: LineKind, sign: string, all: ReadonlyArray<string>) =>
    all.map((line): Line => ({ kind, text: `${sign}${line}` }))
  return [
    ...lines("context", " ", removed.slice(Math.max(0, start - 2), start)),
    ...lines("removed", "-", removed.slice(start, removed.length - end)),
    ...lines("added", "+", added.slice(start, added.length - end)),
    ...lines("context", " ", removed.slice(removed.length - end, removed.length - Math.max(0, end - 2)))
  ]
}
