/** A line over time. */
import uPlot from "uplot"
import { useEffect, useRef } from "preact/hooks"
import { useStore } from "./context.ts"

export interface Props {
  readonly title: string
  /** What is shown now, in words. */
  readonly value: string
  /** The unit or the period, in words. */
  readonly note: string
  /** Returns the points up to a time. */
  readonly points: (now: number) => { readonly times: ReadonlyArray<number>; readonly values: ReadonlyArray<number> }
  /** How a value is written at the axis. */
  readonly format: (value: number) => string
  /** The name of the CSS variable of the line's colour. */
  readonly color: string
  /** Whether the line has steps. */
  readonly isStepped?: boolean
}

const height = 96

const two = (value: number): string => String(value).padStart(2, "0")

/** Times at the axis: with seconds if they are less than a minute apart. */
const timesOf = (seconds: ReadonlyArray<number>): Array<string> => {
  const isFine = (seconds[1] ?? 0) - (seconds[0] ?? 0) < 60
  return seconds.map((each) => {
    const date = new Date(each * 1000)
    const time = `${two(date.getHours())}:${two(date.getMinutes())}`
    return isFine ? `${time}:${two(date.getSeconds())}` : time
  })
}

const css = (name: string): string => getComputedStyle(document.documentElement).getPropertyValue(name).trim()

/** A colour of the current theme as a canvas needs it. */
const resolved = (element: HTMLElement, name: string): string => {
  const probe = document.createElement("span")
  probe.style.color = `var(${name})`
  element.append(probe)
  const { color } = getComputedStyle(probe)
  probe.remove()
  return color
}

/** The colour with an opacity. */
const faded = (color: string, opacity: number): string => `color-mix(in srgb, ${color} ${opacity * 100}%, transparent)`

const optionsOf = (element: HTMLElement, { color, format, isStepped }: Props): uPlot.Options => {
  const [line, grid, text] = [
    resolved(element, color),
    resolved(element, "--chart-grid"),
    resolved(element, "--text-faint")
  ]
  const font = `11px ${css("--font")}`
  const axis = { stroke: text, font, grid: { stroke: grid, width: 1 }, ticks: { show: false } }
  return {
    width: Math.max(120, element.clientWidth),
    height,
    padding: [6, 24, 0, 0],
    legend: { show: false },
    cursor: { show: false },
    scales: { y: { range: (_, __, max) => [0, max > 0 ? max * 1.15 : 1] } },
    axes: [
      { ...axis, grid: { show: false }, size: 20, gap: 4, space: 80, values: (_, seconds) => timesOf(seconds) },
      { ...axis, size: 52, gap: 6, space: 28, values: (_, values) => values.map(format) }
    ],
    series: [
      {},
      {
        stroke: line,
        width: 1.75,
        fill: faded(line, 0.12),
        points: { show: false },
        ...(isStepped === true && uPlot.paths.stepped !== undefined ? { paths: uPlot.paths.stepped({ align: 1 }) } : {})
      }
    ]
  }
}

const dataOf = ({ points }: Props, now: number): uPlot.AlignedData => {
  const { times, values } = points(now)
  // One point makes no line.
  if (times.length === 1)
    return [
      [(times[0] ?? 0) / 1000 - 1, (times[0] ?? 0) / 1000],
      [values[0] ?? 0, values[0] ?? 0]
    ]
  return [times.map((time) => time / 1000), [...values]]
}

export const Chart = (props: Props) => {
  const { now, theme } = useStore()
  const place = useRef<HTMLDivElement>(null)
  const chart = useRef<uPlot>(undefined)
  const latest = useRef(props)
  latest.current = props

  useEffect(() => {
    const element = place.current
    if (element === null) return
    const make = () => {
      chart.current?.destroy()
      chart.current = new uPlot(optionsOf(element, latest.current), dataOf(latest.current, Date.now()), element)
    }
    make()
    const sizes = new ResizeObserver(() =>
      chart.current?.setSize({ width: Math.max(120, element.clientWidth), height })
    )
    sizes.observe(element)
    const dark = matchMedia("(prefers-color-scheme: dark)")
    dark.addEventListener("change", make)
    return () => {
      sizes.disconnect()
      dark.removeEventListener("change", make)
      chart.current?.destroy()
      chart.current = undefined
    }
  }, [theme.value])
  useEffect(() => chart.current?.setData(dataOf(latest.current, now.value)), [now.value])

  return (
    <figure class="chart">
      <figcaption>
        <span class="chart-title">{props.title}</span>
        <span class="chart-value">{props.value}</span>
        <span class="chart-note">{props.note}</span>
      </figcaption>
      <div class="chart-plot" ref={place} role="img" aria-label={`${props.title}: ${props.value}. ${props.note}`} />
    </figure>
  )
}
