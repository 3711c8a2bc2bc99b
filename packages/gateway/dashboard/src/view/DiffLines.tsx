/** The lines of a diff. The sign at the start of a line has the same meaning as its colour. */
import type { Line, LineKind } from "../model/diff.ts"

const signs: Readonly<Record<string, LineKind>> = { "+": "added", "-": "removed", "@": "hunk" }

/** `isLoose` also colours lines outside of hunks by their signs: for a text that says that it is a diff. */
export const DiffLines = ({ isLoose, lines }: { readonly lines: ReadonlyArray<Line>; readonly isLoose?: boolean }) => (
  <code class="diff">
    {lines.map(({ kind, text }, index) => {
      const shown = isLoose === true && kind === "text" ? (signs[text.charAt(0)] ?? kind) : kind
      return (
        <span key={index} class={`diff-line diff-${shown}`}>
          {text === "" ? " " : text}
          {"\n"}
        </span>
      )
    })}
  </code>
)
