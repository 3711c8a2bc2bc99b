/** Keys that work anywhere on the page. */
import { useEffect, useRef } from "preact/hooks"

/** Returns `true` if it has handled the key. */
export type Handler = (event: KeyboardEvent) => boolean

const isTyping = ({ target }: KeyboardEvent): boolean =>
  target instanceof HTMLInputElement || target instanceof HTMLTextAreaElement || target instanceof HTMLSelectElement

const isDialogOpen = (): boolean => document.querySelector("dialog[open]") !== null

/** Calls the handler for each key that is not typed into a field, and that no dialog takes. */
export const useKeys = (handler: Handler): void => {
  const latest = useRef(handler)
  latest.current = handler
  useEffect(() => {
    const onKey = (event: KeyboardEvent): void => {
      if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return
      if (isTyping(event) || isDialogOpen()) return
      if (latest.current(event)) event.preventDefault()
    }
    addEventListener("keydown", onKey)
    return () => removeEventListener("keydown", onKey)
  }, [])
}
