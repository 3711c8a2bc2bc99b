/**
 * When the page draws: at most once in a frame, its slow parts less often, and never while it is hidden.
 */
import { batch, signal, type Signal } from "@preact/signals"

export interface Frames {
  /** Grows in each frame in which something has changed. */
  readonly fast: Signal<number>
  /** Grows at most once in `slowMillis` in which something slow has changed. */
  readonly slow: Signal<number>
  /** Something has changed that is drawn in the next frame. */
  readonly request: () => void
  /** Something has changed that is drawn soon. */
  readonly requestSlow: () => void
}

export const make = (slowMillis: number): Frames => {
  const fast = signal(0)
  const slow = signal(0)
  let isRequested = false
  let isSlowDue = false
  let drawnAt = 0
  let timer: ReturnType<typeof setTimeout> | undefined

  const request = (): void => {
    if (isRequested || document.hidden) return
    isRequested = true
    requestAnimationFrame(draw)
  }
  const draw = (): void => {
    isRequested = false
    batch(() => {
      fast.value++
      if (isSlowDue) drawSlow(performance.now())
    })
  }
  const drawSlow = (at: number): void => {
    const wait = slowMillis - (at - drawnAt)
    if (wait <= 0) {
      isSlowDue = false
      drawnAt = at
      slow.value++
    } else {
      timer ??= setTimeout(() => {
        timer = undefined
        request()
      }, wait)
    }
  }
  const requestSlow = (): void => {
    isSlowDue = true
    request()
  }
  document.addEventListener("visibilitychange", requestSlow)
  return { fast, slow, request, requestSlow }
}
