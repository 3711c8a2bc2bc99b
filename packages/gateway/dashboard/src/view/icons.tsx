/** The icons, as vectors that take the colour of the text around them. */
import type { ComponentChildren } from "preact"

const icon = (path: ComponentChildren) => () => (
  <svg class="icon" viewBox="0 0 16 16" aria-hidden="true" focusable="false">
    {path}
  </svg>
)

export const Back = icon(<path d="M10 3 5 8l5 5" />)
export const Search = icon(
  <>
    <circle cx="7" cy="7" r="4.25" />
    <path d="m10.2 10.2 3.3 3.3" />
  </>
)
export const Sun = icon(
  <>
    <circle cx="8" cy="8" r="2.75" />
    <path d="M8 1.5v1.4M8 13.1v1.4M1.5 8h1.4M13.1 8h1.4M3.4 3.4l1 1M11.6 11.6l1 1M3.4 12.6l1-1M11.6 4.4l1-1" />
  </>
)
export const Moon = icon(<path d="M13.2 9.6A5.6 5.6 0 0 1 6.4 2.8a5.6 5.6 0 1 0 6.8 6.8Z" />)
export const Auto = icon(
  <>
    <circle cx="8" cy="8" r="5.5" />
    <path class="solid" d="M8 2.5a5.5 5.5 0 0 1 0 11Z" />
  </>
)
export const Keyboard = icon(
  <>
    <rect x="1.75" y="4" width="12.5" height="8.5" rx="1.75" />
    <path d="M4.5 7h.01M7 7h.01M9.5 7h.01M12 7h.01M5.5 10h5" />
  </>
)
export const Down = icon(<path d="M8 3v9.5M4 8.7l4 4 4-4" />)
export const Chevron = icon(<path d="m6 3.5 4.5 4.5L6 12.5" />)
export const Alert = icon(
  <>
    <path d="M8 2.2 14.4 13H1.6Z" />
    <path d="M8 6.6v2.9M8 11.4h.01" />
  </>
)
export const Check = icon(<path d="m3 8.5 3.3 3.3L13 5" />)
export const Gap = icon(<path d="M1.5 8H5M11 8h3.5M6 4.2v7.6M10 4.2v7.6" />)
export const Copy = icon(
  <>
    <rect x="5.5" y="5.5" width="8" height="8" rx="1.5" />
    <path d="M10.5 5.5V4A1.5 1.5 0 0 0 9 2.5H4A1.5 1.5 0 0 0 2.5 4v5A1.5 1.5 0 0 0 4 10.5h1.5" />
  </>
)
export const Tool = icon(<path d="m3 4.5 3.5 3.5L3 11.5M8 12h5.5" />)
