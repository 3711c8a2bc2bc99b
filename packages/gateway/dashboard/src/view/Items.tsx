/** The items of a transcript. */
import { memo } from "preact/compat"
import * as Diff from "../model/diff.ts"
import { clock, long, span, usd } from "../model/format.ts"
import type { Gap } from "../model/gaps.ts"
import { clip, plain } from "../model/text.ts"
import * as Tools from "../model/tools.ts"
import type { Item, ToolResult } from "../model/transcript.ts"
import { Boundary } from "./Boundary.tsx"
import { DiffLines } from "./DiffLines.tsx"
import * as Icon from "./icons.tsx"
import { LongText } from "./LongText.tsx"
import { Markdown } from "./Markdown.tsx"
import { Status } from "./Status.tsx"

const Plain = ({ text }: { readonly text: string }) => (
  <LongText text={text}>
    {(shown) => (
      <pre class="plain">{Diff.isDiff(shown) ? <DiffLines lines={Diff.parse(shown)} /> : <code>{shown}</code>}</pre>
    )}
  </LongText>
)

const Time = ({ at, now }: { readonly at: number; readonly now: number }) => (
  <time class="time" dateTime={new Date(at).toISOString()}>
    {clock(at, now)}
  </time>
)

const unfinishedText: Readonly<Record<string, string>> = {
  Resync: "The rest of this message may be missing: output was lost here.",
  RunEnded: "The run ended before this message was complete.",
  TooLong: "This message continues below.",
  Evicted: "This message was cut, because too many were open at once.",
  Ended: "The connection ended before this message was complete."
}

/** A message that is no prose: a line of a log, mostly. It takes one line if it has one. */
const LogLine = ({ item, now }: { readonly item: Extract<Item, { kind: "message" }>; readonly now: number }) => (
  <div class={`entry-log ${item.isError ? "entry-log-error" : ""}`}>
    {item.messageType === "raw" ? null : <span class="log-type">{plain(item.messageType).slice(0, 40)}</span>}
    <div class="log-text">
      <Plain text={item.content} />
      {item.unfinished === undefined ? null : <Unfinished why={item.unfinished} />}
    </div>
    <Time at={item.at} now={now} />
  </div>
)

const Unfinished = ({ why }: { readonly why: string }) => (
  <p class="unfinished">{unfinishedText[why] ?? "The rest of this message is missing."}</p>
)

const Message = ({ item, now }: { readonly item: Extract<Item, { kind: "message" }>; readonly now: number }) => {
  const isProse = item.messageType === "assistant" || item.messageType === "user"
  if (!isProse) return <LogLine item={item} now={now} />
  return (
    <div class={`entry entry-${item.messageType} ${item.isError ? "entry-error" : ""}`}>
      <div class="entry-head">
        <span class="entry-who">{item.messageType}</span>
        <Time at={item.at} now={now} />
      </div>
      <div class="entry-body">
        <LongText text={item.content}>{(shown) => <Markdown text={shown} />}</LongText>
        {item.unfinished === undefined ? null : <Unfinished why={item.unfinished} />}
      </div>
    </div>
  )
}

const lineCount = (text: string): number => {
  let lines = 1
  for (let at = text.indexOf("\n"); at !== -1 && lines < 100_000; at = text.indexOf("\n", at + 1)) lines++
  return text === "" ? 0 : lines
}

const Outcome = ({ result }: { readonly result: ToolResult | undefined }) => {
  if (result === undefined) return <span class="outcome outcome-open">running</span>
  if (result.isError) return <span class="outcome outcome-bad">error</span>
  const lines = lineCount(result.content)
  return <span class="outcome">{lines === 1 ? "1 line" : `${lines} lines`}</span>
}

/** As much of an edit as is shown as a diff. */
const partOf = (text: string): string => plain(clip(text, { chars: 20_000, lines: 400 }).text)

interface Folding {
  readonly isOpen: boolean
  readonly onToggle: (isOpen: boolean) => void
}

const Tool = ({
  isOpen,
  item,
  now,
  onToggle
}: Folding & { readonly item: Extract<Item, { kind: "tool" }>; readonly now: number }) => {
  const edit = Tools.editOf(item.input)
  const input = item.input === undefined ? item.content : Tools.detail(item.input)
  const summary = Tools.summary(item.input) || plain(item.content).slice(0, 160)
  return (
    <details
      class={`entry entry-tool ${item.result?.isError === true ? "entry-error" : ""}`}
      open={isOpen}
      onToggle={({ currentTarget }) => onToggle(currentTarget.open)}
    >
      <summary>
        <Icon.Chevron />
        <span class="tool-name">{plain(item.name).slice(0, 60)}</span>
        <span class="tool-summary">
          <bdi>{summary}</bdi>
        </span>
        <Outcome result={item.result} />
        <Time at={item.at} now={now} />
      </summary>
      {isOpen ? (
        <div class="entry-body">
          {edit === undefined ? (
            <Plain text={input} />
          ) : (
            <pre class="plain">
              <DiffLines lines={Diff.ofEdit(partOf(edit.before), partOf(edit.after))} />
            </pre>
          )}
          {item.result === undefined ? null : (
            <>
              <p class="entry-label">
                {item.result.isError ? "Error" : "Result"} after {long(item.result.at - item.at)}
              </p>
              <Plain text={item.result.content} />
            </>
          )}
        </div>
      ) : null}
    </details>
  )
}

const LoneResult = ({
  isOpen,
  item,
  now,
  onToggle
}: Folding & { readonly item: Extract<Item, { kind: "toolResult" }>; readonly now: number }) => (
  <details
    class={`entry entry-tool ${item.result.isError ? "entry-error" : ""}`}
    open={isOpen}
    onToggle={({ currentTarget }) => onToggle(currentTarget.open)}
  >
    <summary>
      <Icon.Chevron />
      <span class="tool-name">{plain(item.name).slice(0, 60) || "tool"}</span>
      <span class="tool-summary">result</span>
      <Outcome result={item.result} />
      <Time at={item.at} now={now} />
    </summary>
    {isOpen ? (
      <div class="entry-body">
        <Plain text={item.result.content} />
      </div>
    ) : null}
  </details>
)

const RunEnd = ({ item, now }: { readonly item: Extract<Item, { kind: "runEnd" }>; readonly now: number }) => (
  <div class={`entry entry-end ${item.isError ? "entry-error" : ""}`}>
    <div class="entry-head">
      <span class="entry-who">{item.isError ? "Run failed" : "Run ended"}</span>
      {item.costUsd === undefined ? null : <span class="fact">{usd(item.costUsd)}</span>}
      {item.durationMs === undefined ? null : <span class="fact">{long(item.durationMs)}</span>}
      <Time at={item.at} now={now} />
    </div>
    {item.content === "" ? null : (
      <div class="entry-body">
        <LongText text={item.content}>{(shown) => <Markdown text={shown} />}</LongText>
      </div>
    )}
  </div>
)

const Change = ({ item, now }: { readonly item: Extract<Item, { kind: "status" }>; readonly now: number }) => (
  <div class="entry-note">
    <Status status={item.status} />
    {item.by === "" ? null : <span class="faint">by {plain(item.by).slice(0, 60)}</span>}
    {item.isRestated ? <span class="faint">from a snapshot</span> : null}
    <Time at={item.at} now={now} />
  </div>
)

/** A gap at its place in a transcript. */
export const GapNote = ({ gap, now }: { readonly gap: Gap | undefined; readonly now: number }) => {
  const what = gap?.output === "unaffected" ? "Updates" : "Output"
  const when =
    gap === undefined
      ? ""
      : gap.to === undefined
        ? `: since ${clock(gap.from, now)}`
        : `: ${span(gap.from, gap.to, now)}`
  return (
    <div class="entry-gap" role="note">
      <Icon.Gap />
      <span>
        <strong>
          {what} may be missing here{when}
        </strong>
        {gap === undefined ? null : <span class="gap-why">{gap.title}</span>}
      </span>
    </div>
  )
}

export interface Props extends Folding {
  readonly item: Item
  readonly gap: Gap | undefined
  /** The current time; only its day matters. */
  readonly now: number
}

const AnyItem = ({ gap, isOpen, item, now, onToggle }: Props) => {
  switch (item.kind) {
    case "message":
      return <Message item={item} now={now} />
    case "tool":
      return <Tool item={item} now={now} isOpen={isOpen} onToggle={onToggle} />
    case "toolResult":
      return <LoneResult item={item} now={now} isOpen={isOpen} onToggle={onToggle} />
    case "runEnd":
      return <RunEnd item={item} now={now} />
    case "status":
      return <Change item={item} now={now} />
    case "gap":
      return <GapNote gap={gap} now={now} />
  }
}

const Unreadable = () => <p class="unfinished">This entry could not be drawn.</p>

/** One item. Drawn again only if something of it has changed. */
export const TranscriptItem = memo(
  (props: Props) => (
    <Boundary fallback={<Unreadable />}>
      <AnyItem {...props} />
    </Boundary>
  ),
  (a, b) => a.item === b.item && a.gap === b.gap && a.isOpen === b.isOpen && a.now === b.now
)
