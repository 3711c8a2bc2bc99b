/** Markdown as elements. */
import type { Token, Tokens } from "marked"
import type { ComponentChild } from "preact"
import * as Diff from "../model/diff.ts"
import { decodeEntities, parser, safeHref } from "../model/markdown.ts"
import { DiffLines } from "./DiffLines.tsx"

/** Deeper nesting is shown as text. */
const maxDepth = 12

type Known =
  | Tokens.Blockquote
  | Tokens.Br
  | Tokens.Code
  | Tokens.Codespan
  | Tokens.Def
  | Tokens.Del
  | Tokens.Em
  | Tokens.Escape
  | Tokens.Heading
  | Tokens.Hr
  | Tokens.HTML
  | Tokens.Image
  | Tokens.Link
  | Tokens.List
  | Tokens.Paragraph
  | Tokens.Space
  | Tokens.Strong
  | Tokens.Table
  | Tokens.Text

const all = (tokens: ReadonlyArray<Token> | undefined, depth: number): ComponentChild =>
  tokens?.map((token, index) => <Node key={index} token={token} depth={depth + 1} />)

const Code = ({ lang, text }: { readonly lang: string; readonly text: string }) => (
  <pre class="code">
    {lang === "diff" || Diff.isDiff(text) ? (
      <DiffLines lines={Diff.parse(text)} isLoose={lang === "diff"} />
    ) : (
      <code>{text}</code>
    )}
  </pre>
)

const Item = ({ depth, item }: { readonly item: Tokens.ListItem; readonly depth: number }) => (
  <li>
    {item.task ? <span class="task-box">{item.checked === true ? "☑ " : "☐ "}</span> : null}
    {all(item.tokens, depth)}
  </li>
)

const Node = ({ depth, token: untyped }: { readonly token: Token; readonly depth: number }): ComponentChild => {
  if (depth > maxDepth) return untyped.raw
  if (untyped.type === "verbatim") return <p class="verbatim">{untyped.raw}</p>
  // `Token` also allows tokens of extensions. There are none here.
  const token = untyped as Known
  switch (token.type) {
    case "heading":
      // The page has its own headings.
      return <p class={`heading heading-${Math.min(token.depth, 4)}`}>{all(token.tokens, depth)}</p>
    case "paragraph":
      return <p>{all(token.tokens, depth)}</p>
    case "code":
      return <Code lang={(token.lang ?? "").split(" ", 1)[0] ?? ""} text={token.text} />
    case "blockquote":
      return <blockquote>{all(token.tokens, depth)}</blockquote>
    case "list": {
      const items = token.items.map((item, index) => <Item key={index} item={item} depth={depth} />)
      return token.ordered ? <ol start={Number(token.start) || 1}>{items}</ol> : <ul>{items}</ul>
    }
    case "table":
      return (
        <div class="table-scroll" tabIndex={0} role="group" aria-label="Table">
          <table>
            <thead>
              <tr>
                {token.header.map((cell, index) => (
                  <th key={index}>{all(cell.tokens, depth)}</th>
                ))}
              </tr>
            </thead>
            <tbody>
              {token.rows.map((row, index) => (
                <tr key={index}>
                  {row.map((cell, column) => (
                    <td key={column}>{all(cell.tokens, depth)}</td>
                  ))}
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )
    case "hr":
      return <hr />
    case "space":
    case "def":
      return null
    case "br":
      return <br />
    case "strong":
      return <strong>{all(token.tokens, depth)}</strong>
    case "em":
      return <em>{all(token.tokens, depth)}</em>
    case "del":
      return <del>{all(token.tokens, depth)}</del>
    case "codespan":
      return <code>{token.text}</code>
    case "link": {
      const href = safeHref(token.href)
      return href === undefined ? (
        <span>{all(token.tokens, depth)}</span>
      ) : (
        <a href={href} target="_blank" rel="noopener noreferrer nofollow" title={href}>
          {all(token.tokens, depth)}
        </a>
      )
    }
    // An image would tell its server that it was seen.
    case "image":
      return <span class="image">{`[image: ${token.text || token.href}]`}</span>
    case "text":
      return "tokens" in token && token.tokens !== undefined ? (
        <>{all(token.tokens, depth)}</>
      ) : (
        decodeEntities(token.text)
      )
    case "escape":
      return token.text
    default:
      return untyped.raw
  }
}

// A cache of results, which changes nothing that is seen.
const parse = parser()

/** Shows a text as Markdown, and a very long one as it is. */
export const Markdown = ({ text }: { readonly text: string }) => {
  const tokens = parse(text)
  return tokens === undefined ? <pre class="plain">{text}</pre> : <div class="markdown">{all(tokens, 0)}</div>
}
