/** One task: its facts, and its transcript, which follows the newest item until the reader scrolls up. */
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks"
import type { Task as BoardTask } from "../model/board.ts"
import { ago, clock, count, counted, long, shortId, usd } from "../model/format.ts"
import { plain } from "../model/text.ts"
import type { Item } from "../model/transcript.ts"
import type { Shown } from "../openTask.ts"
import { attentionText } from "./attentionText.ts"
import { useStore } from "./context.ts"
import * as Icon from "./icons.tsx"
import { TranscriptItem } from "./Items.tsx"
import { useKeys } from "./keys.ts"
import { Status } from "./Status.tsx"
import { useVirtual } from "./virtual.ts"

/** What is closer to the end than this counts as its end, in pixels. */
const endDistance = 48

const distanceToEnd = (element: HTMLElement): number => element.scrollHeight - element.scrollTop - element.clientHeight

/** The height of an item before it was drawn, in pixels. */
const estimate = (item: Item | undefined): number => {
  switch (item?.kind) {
    case undefined:
      return 60
    case "tool":
    case "toolResult":
      return 44
    case "status":
      return 36
    case "gap":
      return 62
    case "runEnd":
      return proseHeight(item.content)
    case "message":
      return item.messageType === "assistant" ? proseHeight(item.content) : 12 + linesOf(item.content, 110) * 20
  }
}

const linesOf = (text: string, width: number): number => Math.ceil(Math.min(text.length, 4000) / width)

const proseHeight = (text: string): number => 66 + linesOf(text, 100) * 22

const dayMillis = 24 * 3_600_000

/** Keeps the end in view while it grows, until a person scrolls away from it. */
const useFollow = (scroller: { current: HTMLElement | null }) => {
  const [isFollowing, setFollowing] = useState(true)
  const following = useRef(true)
  /** The place that the page itself has scrolled to, and not a person. */
  const written = useRef(-1)
  const last = useRef(0)
  const set = (value: boolean): void => {
    following.current = value
    setFollowing(value)
  }
  const toEnd = (): void => {
    const element = scroller.current
    if (element === null) return
    element.scrollTop = element.scrollHeight
    written.current = element.scrollTop
  }
  const onScroll = (): void => {
    const element = scroller.current
    if (element === null) return
    const top = element.scrollTop
    const isOwn = Math.abs(top - written.current) <= 1
    if (distanceToEnd(element) <= endDistance) set(true)
    else if (!isOwn && top < last.current - 1) set(false)
    last.current = top
  }
  /** The list is about to move the element. */
  const onWrite = (): void => {
    queueMicrotask(() => (written.current = scroller.current?.scrollTop ?? -1))
  }
  useLayoutEffect(() => {
    if (following.current) toEnd()
  })
  const jump = (): void => {
    set(true)
    toEnd()
  }
  return { isFollowing, following, jump, leave: () => set(false), onScroll, onWrite, toEnd }
}

/** Where a transcript begins, and what is missing before. */
const beginning = ({ isLogged, transcript: { dropped, items, pending } }: Shown, now: number): string => {
  if (dropped > 0) return `${count(dropped)} older entries were dropped to save memory.`
  if (items.length + pending.length === 0) return "No output yet. It appears here as soon as the task says something."
  const before = isLogged ? "is not in the log of the gateway" : "is not known to this page"
  return `The transcript begins at ${clock(items[0]?.at ?? now, now)}. What the task did before ${before}.`
}

const Transcript = ({ shown }: { readonly shown: Shown }) => {
  const store = useStore()
  // A gap may close without a change of the transcript.
  void store.gaps.value
  const scroller = useRef<HTMLDivElement>(null)
  const inner = useRef<HTMLDivElement>(null)
  const [open, setOpen] = useState<ReadonlySet<number>>(new Set())
  const follow = useFollow(scroller)
  const { items, pending } = shown.transcript
  const total = items.length + pending.length
  const keyOf = (index: number): string | number =>
    items[index]?.id ?? `pending ${pending[index - items.length]?.messageType}`
  const list = useVirtual({
    scroller,
    count: total,
    keyOf,
    estimate: (index) => estimate(items[index]),
    keepsPlace: true,
    onWrite: follow.onWrite,
    paddingEnd: 24,
    overscan: 10
  })
  const seen = useRef(0)
  const newest = items.at(-1)?.id ?? 0
  if (follow.isFollowing) seen.current = newest
  const unseen = newest - seen.current

  // Rows are measured after they were drawn, which may move the end.
  useEffect(() => {
    if (inner.current === null) return
    const sizes = new ResizeObserver(() => {
      if (follow.following.current) follow.toEnd()
    })
    sizes.observe(inner.current)
    return () => sizes.disconnect()
  }, [])
  useEffect(() => scroller.current?.focus({ preventScroll: true }), [])

  const scrollBy = (amount: number): true => {
    scroller.current?.scrollBy({ top: amount })
    return true
  }
  useKeys(({ key }) => {
    switch (key) {
      case "j":
        return scrollBy(120)
      case "k":
        return scrollBy(-120)
      case "G":
      case "End":
        follow.jump()
        return true
      case "g":
      case "Home":
        follow.leave()
        scroller.current?.scrollTo({ top: 0 })
        return true
      default:
        return false
    }
  })

  // Items show a date only if it is not that of today, so they need a new time only once a day.
  const today = useRef(Date.now())
  if (Math.floor(today.current / dayMillis) !== Math.floor(Date.now() / dayMillis)) today.current = Date.now()

  return (
    <div class="transcript-frame">
      <div
        class="transcript"
        id="transcript"
        role="log"
        aria-live="off"
        aria-label="Transcript"
        tabIndex={0}
        ref={scroller}
        onScroll={follow.onScroll}
      >
        <p class="begin">
          {shown.problem === undefined ? "" : `The history could not be read: ${shown.problem}. `}
          {beginning(shown, store.now.peek())}
        </p>
        <div class="rows" ref={inner} style={{ height: `${list.getTotalSize()}px` }}>
          {list.getVirtualItems().map(({ index, key, start }) => {
            const item = items[index]
            const piece = pending[index - items.length]
            return (
              <div
                key={key}
                data-index={index}
                ref={list.measureElement}
                class="transcript-row"
                style={{ transform: `translateY(${start}px)` }}
              >
                {item !== undefined ? (
                  <TranscriptItem
                    item={item}
                    gap={item.kind === "gap" ? shown.gap(item.gapId) : undefined}
                    now={today.current}
                    isOpen={open.has(item.id)}
                    onToggle={(isOpen) => {
                      if (isOpen === open.has(item.id)) return
                      const next = new Set(open)
                      if (isOpen) next.add(item.id)
                      else next.delete(item.id)
                      follow.leave()
                      setOpen(next)
                    }}
                  />
                ) : piece !== undefined ? (
                  <div class="entry entry-assistant entry-pending">
                    <div class="entry-head">
                      <span class="entry-who">{plain(piece.messageType).slice(0, 40)}</span>
                      <span class="writing">writing</span>
                    </div>
                    <div class="entry-body">
                      <pre class="plain prose">{plain(piece.text.slice(-8000))}</pre>
                    </div>
                  </div>
                ) : null}
              </div>
            )
          })}
        </div>
      </div>
      {follow.isFollowing ? null : (
        <button type="button" class="jump" onClick={follow.jump}>
          <Icon.Down />
          Jump to the newest{unseen > 0 ? ` (${count(unseen)} new)` : ""}
        </button>
      )}
    </div>
  )
}

const Fact = ({ label, value }: { readonly label: string; readonly value: string }) => (
  <div class="fact-pair">
    <dt>{label}</dt>
    <dd>{value}</dd>
  </div>
)

const Facts = ({ task }: { readonly task: BoardTask }) => {
  const now = useStore().now.value
  const gaps = task.updateGaps + task.outputGaps
  return (
    <dl class="facts">
      <Fact label="Activity" value={task.activeAt === undefined ? "–" : ago(task.activeAt, now)} />
      <Fact label="Age" value={task.since === undefined ? "–" : long((task.endedAt ?? now) - task.since)} />
      <Fact label="Cost" value={usd(task.costUsd)} />
      <Fact label="Runs" value={count(task.runs)} />
      <Fact
        label="Gaps"
        value={gaps === 0 ? "none" : `${counted(task.updateGaps, "update")}, ${counted(task.outputGaps, "output")}`}
      />
    </dl>
  )
}

export const Task = ({ taskId }: { readonly taskId: string }) => {
  const store = useStore()
  void store.frames.slow.value
  void store.frames.fast.value
  const [hasCopied, setCopied] = useState(false)
  const task = store.task(taskId)
  const shown = store.shown(taskId)
  const now = store.now.value
  const attention = task === undefined ? undefined : store.attentionOf(task, now)
  const reason = task === undefined || attention === undefined ? "" : attentionText(attention, task, now)
  const back = (): void => store.go({ view: "board", query: store.query.value })
  useKeys(({ key }) => {
    if (key !== "Escape") return false
    back()
    return true
  })
  return (
    <main class="view task" id="main" tabIndex={-1}>
      <div class="task-head">
        <div class="task-title">
          <button type="button" class="button ghost back" onClick={back}>
            <Icon.Back />
            Tasks
          </button>
          <h1 title={plain(taskId)}>{shortId(plain(taskId))}</h1>
          <button
            type="button"
            class="button ghost icon-button"
            aria-label={hasCopied ? "Copied" : "Copy the id of the task"}
            title="Copy the id"
            onClick={() => {
              void navigator.clipboard?.writeText(taskId).then(() => setCopied(true))
            }}
          >
            {hasCopied ? <Icon.Check /> : <Icon.Copy />}
          </button>
          {task === undefined ? null : <Status status={task.isGone ? "gone" : task.status} />}
          {reason === "" || attention === undefined ? null : (
            <span class={`need need-${attention}`}>
              <Icon.Alert />
              {reason}
            </span>
          )}
        </div>
        {task === undefined ? <p class="faint">This page knows no task with this id yet.</p> : <Facts task={task} />}
      </div>
      <Transcript key={`${shown.isLogged} ${taskId}`} shown={shown} />
    </main>
  )
}
