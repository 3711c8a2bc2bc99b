/** A virtual list: only the rows near the visible part exist. Rows have any height, and are measured when they are drawn. */
import { elementScroll, observeElementOffset, observeElementRect, Virtualizer } from "@tanstack/virtual-core"
import { useLayoutEffect, useReducer, useRef } from "preact/hooks"

export type List = Virtualizer<HTMLElement, HTMLElement>

export interface Options {
  /** The element that scrolls. */
  readonly scroller: { readonly current: HTMLElement | null }
  readonly count: number
  /** A key that stays with its row. */
  readonly keyOf: (index: number) => string | number
  /** The height of a row that was never drawn, in pixels. */
  readonly estimate: (index: number) => number
  /** The height above the first row inside the scrolling element, in pixels. */
  readonly margin?: number
  /** The height below the rows that stays free, in pixels. */
  readonly paddingEnd?: number
  readonly overscan?: number
  /** The space between two rows, in pixels. */
  readonly gap?: number
  /** Keeps what is visible in place when rows before it are dropped. Defaults to `false`. */
  readonly keepsPlace?: boolean
  /** Called before the list itself moves the scrolling element. */
  readonly onWrite?: () => void
}

const smallest = { width: 0, height: 600 }

/** Returns the list. The component is drawn again when other rows become visible. */
export const useVirtual = (options: Options): List => {
  const [, redraw] = useReducer((count: number) => count + 1, 0)
  const isMounted = useRef(true)
  const settings = {
    count: options.count,
    getScrollElement: () => options.scroller.current,
    estimateSize: options.estimate,
    getItemKey: options.keyOf,
    scrollMargin: options.margin ?? 0,
    paddingEnd: options.paddingEnd ?? 0,
    overscan: options.overscan ?? 8,
    gap: options.gap ?? 0,
    initialRect: smallest,
    observeElementRect,
    observeElementOffset,
    anchorTo: options.keepsPlace === true ? ("end" as const) : ("start" as const),
    scrollToFn: (...args: Parameters<typeof elementScroll<HTMLElement>>) => {
      options.onWrite?.()
      elementScroll(...args)
    },
    onChange: () => {
      if (isMounted.current) redraw(undefined)
    }
  }
  const held = useRef<List>(undefined)
  held.current ??= new Virtualizer<HTMLElement, HTMLElement>(settings)
  const list = held.current
  list.setOptions(settings)
  useLayoutEffect(() => {
    isMounted.current = true
    const unmount = list._didMount()
    return () => {
      isMounted.current = false
      unmount()
    }
  }, [])
  useLayoutEffect(() => list._willUpdate())
  return list
}
