/** What a person has chosen, remembered by the browser. */
import { effect, signal, type ReadonlySignal } from "@preact/signals"

/** The choice of colours: that of the system, or one of the two. */
export type Theme = "auto" | "light" | "dark"

export interface Choices {
  readonly theme: ReadonlySignal<Theme>
  readonly setTheme: (theme: Theme) => void
  /** Whether a phone shows the charts. */
  readonly showsCharts: ReadonlySignal<boolean>
  readonly setShowsCharts: (shows: boolean) => void
}

/** Storage may be turned off. A choice then lasts as long as the page. */
const read = (key: string): string | null => {
  try {
    return localStorage.getItem(key)
  } catch {
    return null
  }
}

const write = (key: string, value: string): void => {
  try {
    localStorage.setItem(key, value)
  } catch {
    return
  }
}

// `public/theme.js` reads it too.
const themeKey = "makima.theme"
const chartsKey = "makima.charts"

const themeOf = (value: string | null): Theme => (value === "light" || value === "dark" ? value : "auto")

export const make = (): Choices => {
  const theme = signal(themeOf(read(themeKey)))
  const showsCharts = signal(read(chartsKey) === "open")
  effect(() => {
    const { dataset } = document.documentElement
    if (theme.value === "auto") delete dataset["theme"]
    else dataset["theme"] = theme.value
  })
  return {
    theme,
    setTheme(next) {
      theme.value = next
      write(themeKey, next)
    },
    showsCharts,
    setShowsCharts(next) {
      if (showsCharts.value === next) return
      showsCharts.value = next
      write(chartsKey, next ? "open" : "closed")
    }
  }
}
