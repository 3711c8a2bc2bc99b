/** What was missed: each gap with its time span, its reason, and whether it was repaired. */
import { useEffect } from "preact/hooks"
import { clock, counted, long, shortId, span } from "../model/format.ts"
import type { Gap } from "../model/gaps.ts"
import * as Route from "../model/route.ts"
import { plain } from "../model/text.ts"
import { useStore } from "./context.ts"
import * as Icon from "./icons.tsx"
import { useKeys } from "./keys.ts"

const updatesText: Readonly<Record<Gap["updates"], string>> = {
  missing: "Updates: may be missing",
  repaired: "Updates: repaired by a snapshot",
  failed: "Updates: the repair failed",
  unaffected: "Updates: complete"
}

const GapRow = ({ gap, now }: { readonly gap: Gap; readonly now: number }) => (
  <li class={`gap ${gap.to === undefined ? "gap-open" : ""}`}>
    <div class="gap-when">
      <span class="gap-span">
        {gap.to === undefined ? `since ${clock(gap.from, now)}` : span(gap.from, gap.to, now)}
      </span>
      <span class="faint">{gap.to === undefined ? `open for ${long(now - gap.from)}` : long(gap.to - gap.from)}</span>
    </div>
    <div class="gap-what">
      <strong>{gap.title}</strong>
      {gap.taskId === undefined ? (
        <span class="faint">All tasks</span>
      ) : (
        <a href={Route.format({ view: "task", taskId: gap.taskId })}>{shortId(plain(gap.taskId))}</a>
      )}
      {gap.detail === "" || gap.detail === gap.title ? null : <p class="gap-detail">{gap.detail}</p>}
    </div>
    <div class="gap-state">
      <span class={`chip chip-${gap.updates}`}>
        {gap.updates === "repaired" || gap.updates === "unaffected" ? <Icon.Check /> : <Icon.Gap />}
        {updatesText[gap.updates]}
      </span>
      <span class={`chip chip-${gap.output}`}>
        {gap.output === "missing" ? <Icon.Gap /> : <Icon.Check />}
        {gap.output === "missing" ? "Output: cannot be repaired" : "Output: complete"}
      </span>
    </div>
  </li>
)

export const GapsView = () => {
  const store = useStore()
  const gaps = store.gaps.value
  const now = store.now.value
  const started = store.startedAt()
  useEffect(store.markGapsSeen, [gaps.length])
  useKeys(({ key }) => {
    if (key !== "Escape") return false
    store.go({ view: "board", query: store.query.value })
    return true
  })
  return (
    <main class="view gaps" id="main" tabIndex={-1}>
      <div class="gaps-head">
        <h1>What you missed</h1>
        <p class="faint">
          {started === undefined
            ? "The page is not connected yet."
            : `This page knows everything since ${clock(started, now)}${gaps.length === 0 ? ". Nothing was missed" : `, except for ${counted(gaps.length, "gap")}`}.`}
        </p>
      </div>
      {gaps.length === 0 ? null : (
        <ul class="gap-list">
          {gaps.toReversed().map((gap) => (
            <GapRow key={gap.id} gap={gap} now={now} />
          ))}
        </ul>
      )}
    </main>
  )
}
