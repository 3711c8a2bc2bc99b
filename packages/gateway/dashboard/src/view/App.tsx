/** The frame of the page: the header, the state of the connection, and the view of the route. */
import { useEffect, useRef } from "preact/hooks"
import { long, count } from "../model/format.ts"
import * as Route from "../model/route.ts"
import { plain } from "../model/text.ts"
import type { Theme } from "../choices.ts"
import { Board } from "./Board.tsx"
import { Boundary } from "./Boundary.tsx"
import { useStore } from "./context.ts"
import { GapsView } from "./GapsView.tsx"
import * as Icon from "./icons.tsx"
import { useKeys } from "./keys.ts"
import { Task } from "./Task.tsx"

const Logo = () => (
  <svg class="logo" viewBox="0 0 32 32" aria-hidden="true" focusable="false">
    <rect width="32" height="32" rx="8" />
    <path d="M7 19h4l3-9 5 14 3-8h3" />
  </svg>
)

const nextTheme: Readonly<Record<Theme, Theme>> = { auto: "light", light: "dark", dark: "auto" }
const themeNames: Readonly<Record<Theme, string>> = { auto: "as the system", light: "light", dark: "dark" }

const ThemeButton = () => {
  const store = useStore()
  const theme = store.theme.value
  return (
    <button
      type="button"
      class="button ghost icon-button"
      aria-label={`Colours: ${themeNames[theme]}. Change`}
      title={`Colours: ${themeNames[theme]}`}
      onClick={() => store.setTheme(nextTheme[theme])}
    >
      {theme === "dark" ? <Icon.Moon /> : theme === "light" ? <Icon.Sun /> : <Icon.Auto />}
    </button>
  )
}

const ConnectionPill = () => {
  const { label, tone } = useStore().connection.value
  return (
    <p class={`pill pill-${tone}`} role="status" aria-live="polite" aria-label="Connection">
      <span class="dot" aria-hidden="true" />
      {label}
    </p>
  )
}

const Countdown = ({ at }: { readonly at: number }) => {
  const left = at - useStore().now.value
  // A screen reader should not read it aloud each second.
  return (
    <span aria-hidden="true">{left > 500 ? `Next attempt in ${Math.ceil(left / 1000)} s.` : "Connecting now."}</span>
  )
}

const Banner = () => {
  const store = useStore()
  const { canRetry, detail, offlineSince, retryAt, title, tone } = store.connection.value
  if (title === "") return null
  return (
    <section class={`banner banner-${tone}`} aria-label="Connection problem">
      <Icon.Alert />
      <div class="banner-text">
        <strong>{title}</strong> <span>{detail}</span>
        <div class="banner-more">
          {offlineSince === undefined ? null : (
            <span>Offline for {long(Math.max(0, store.now.value - offlineSince))}.</span>
          )}{" "}
          {retryAt === undefined ? null : <Countdown at={retryAt} />}
        </div>
      </div>
      {canRetry ? (
        <button type="button" class="button" onClick={store.reconnect}>
          Try now
        </button>
      ) : null}
    </section>
  )
}

const shortcuts: ReadonlyArray<readonly [ReadonlyArray<string>, string]> = [
  [["j", "↓"], "Next task; scroll down in a transcript"],
  [["k", "↑"], "Previous task; scroll up in a transcript"],
  [["Enter"], "Open the selected task"],
  [["Esc"], "Back to the tasks"],
  [["/"], "Search"],
  [["g", "Home"], "First task; start of a transcript"],
  [["G", "End"], "Last task; newest output of a transcript"],
  [["m"], "What you missed"],
  [["t"], "Change the colours"],
  [["?"], "This help"]
]

const Help = ({ dialog }: { readonly dialog: { current: HTMLDialogElement | null } }) => (
  <dialog
    class="help"
    ref={dialog}
    aria-labelledby="help-title"
    onClick={({ currentTarget, target }) => {
      if (target === currentTarget) currentTarget.close()
    }}
  >
    <div class="help-body">
      <h2 id="help-title">Keyboard</h2>
      <dl>
        {shortcuts.map(([keys, what]) => (
          <div key={what} class="shortcut">
            <dt>
              {keys.map((key) => (
                <kbd key={key}>{key}</kbd>
              ))}
            </dt>
            <dd>{what}</dd>
          </div>
        ))}
      </dl>
      <h2>Order by attention</h2>
      <p>
        Failed tasks come first, then tasks that wait for input, tasks at work that were silent for 5 minutes, live
        tasks with gaps, tasks at work, tasks that have not started, and tasks that are done.
      </p>
      <form method="dialog">
        <button class="button" autofocus>
          Close
        </button>
      </form>
    </div>
  </dialog>
)

const Top = ({ onHelp }: { readonly onHelp: () => void }) => {
  const store = useStore()
  const { view } = store.route.value
  const unseen = store.unseenGaps.value
  return (
    <header class="top">
      <button type="button" class="skip" onClick={() => document.getElementById("main")?.focus()}>
        Skip to the content
      </button>
      <a class="brand" aria-label="Makima: all tasks" href={Route.format({ view: "board", query: Route.defaultQuery })}>
        <Logo />
        <span>Makima</span>
      </a>
      <nav aria-label="Views">
        <a
          href={Route.format({ view: "board", query: store.query.value })}
          {...(view === "gaps" ? {} : { "aria-current": "page" as const })}
        >
          Tasks
        </a>
        <a href="#/gaps" {...(view === "gaps" ? { "aria-current": "page" as const } : {})}>
          Missed
          {unseen === 0 ? null : (
            <span class="badge">
              {count(unseen)}
              <span class="visually-hidden"> new gaps</span>
            </span>
          )}
        </a>
      </nav>
      <div class="top-end">
        <ConnectionPill />
        <ThemeButton />
        <button
          type="button"
          class="button ghost icon-button help-button"
          aria-label="Keyboard shortcuts"
          aria-keyshortcuts="?"
          title="Keyboard shortcuts (?)"
          onClick={onHelp}
        >
          <Icon.Keyboard />
        </button>
      </div>
    </header>
  )
}

const Broken = () => (
  <main class="view broken" id="main" tabIndex={-1}>
    <h1>This view could not be drawn</h1>
    <p class="faint">The connection stays open. Open another view, or load the page again.</p>
  </main>
)

const titleOf = (route: Route.Route, attention: number): string => {
  const need = attention > 0 ? `(${attention}) ` : ""
  if (route.view === "task") return `${need}${plain(route.taskId).slice(0, 8)} – Makima`
  return route.view === "gaps" ? `${need}Missed – Makima` : `${need}Makima`
}

export const App = () => {
  const store = useStore()
  const dialog = useRef<HTMLDialogElement>(null)
  const place = useRef({ top: 0 })
  const route = store.route.value
  const attention = store.counts.value.attention
  useEffect(() => {
    document.title = titleOf(route, attention)
  }, [route, attention])
  useKeys(({ key }) => {
    switch (key) {
      case "?":
        dialog.current?.showModal()
        return true
      case "t":
        store.setTheme(nextTheme[store.theme.value])
        return true
      case "m":
        store.go({ view: "gaps" })
        return true
      default:
        return false
    }
  })
  return (
    <>
      <Top onHelp={() => dialog.current?.showModal()} />
      <Banner />
      <Boundary key={route.view === "task" ? route.taskId : route.view} fallback={<Broken />}>
        {route.view === "task" ? (
          <Task key={route.taskId} taskId={route.taskId} />
        ) : route.view === "gaps" ? (
          <GapsView />
        ) : (
          <Board place={place.current} />
        )}
      </Boundary>
      <Help dialog={dialog} />
    </>
  )
}
