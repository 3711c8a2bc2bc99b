/** A text that may be very long: its start, and a button for each further piece. */
import { useState } from "preact/hooks"
import type { ComponentChildren } from "preact"
import { count } from "../model/format.ts"
import { clip, plain, type Limits } from "../model/text.ts"

/** What is shown before the reader asks for more. */
const first: Limits = { chars: 4000, lines: 60 }

/** What each further piece adds. */
const more: Limits = { chars: 40_000, lines: 1000 }

export interface Props {
  readonly text: string
  readonly limits?: Limits
  /** Shows a piece of the text. */
  readonly children: (text: string) => ComponentChildren
}

export const LongText = ({ children, limits = first, text }: Props) => {
  const [pieces, setPieces] = useState(0)
  const { rest, text: shown } = clip(text, {
    chars: limits.chars + pieces * more.chars,
    lines: limits.lines + pieces * more.lines
  })
  return (
    <>
      {children(plain(shown))}
      {rest === 0 ? null : (
        <button type="button" class="more" onClick={() => setPieces(pieces + 1)}>
          Show more ({count(rest)} characters are hidden)
        </button>
      )}
    </>
  )
}
