/** How numbers and times are written. */

const whole = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 })
const cents = new Intl.NumberFormat("en-US", { minimumFractionDigits: 2, maximumFractionDigits: 2 })

/** A number with separators: `12,345`. */
export const count = (value: number): string => whole.format(value)

/** `1 gap`, `2 gaps`. */
export const counted = (value: number, noun: string): string => `${count(value)} ${noun}${value === 1 ? "" : "s"}`

/** US dollars: `$12.34`, and four digits below a cent: `$0.0042`. */
export const usd = (value: number): string => {
  const size = Math.abs(value)
  const sign = value < 0 ? "−" : ""
  if (size === 0 || size >= 0.01)
    return size < 1e15 ? `${sign}$${cents.format(size)}` : `${sign}$${size.toExponential(2)}`
  return size < 0.0001 ? `${sign}<$0.0001` : `${sign}$${size.toFixed(4)}`
}

/** A rate: `0`, `0.4`, `12`. */
export const rate = (value: number): string => (value >= 10 || value === 0 ? count(value) : value.toFixed(1))

const second = 1000
const minute = 60 * second
const hour = 60 * minute
const day = 24 * hour

/** A duration in its largest unit: `12 s`, `4 min`, `3 h`, `2 d`. Never negative. */
export const short = (millis: number): string => {
  if (millis < minute) return `${Math.max(0, Math.floor(millis / second))} s`
  if (millis < hour) return `${Math.floor(millis / minute)} min`
  if (millis < day) return `${Math.floor(millis / hour)} h`
  return `${Math.floor(millis / day)} d`
}

/** A duration in its two largest units: `0.8 s`, `12 s`, `4 min 05 s`, `3 h 12 min`, `2 d 4 h`. */
export const long = (millis: number): string => {
  const pair = (big: number, small: number): string => String(Math.floor((millis % big) / small)).padStart(2, "0")
  if (millis < 10 * second) return `${(Math.max(0, millis) / second).toFixed(1)} s`
  if (millis < minute) return `${Math.floor(millis / second)} s`
  if (millis < hour) return `${Math.floor(millis / minute)} min ${pair(minute, second)} s`
  if (millis < day) return `${Math.floor(millis / hour)} h ${pair(hour, minute)} min`
  return `${Math.floor(millis / day)} d ${Math.floor((millis % day) / hour)} h`
}

/** How long ago something was: `now`, `12 s ago`. */
export const ago = (at: number, now: number): string => (now - at < 2 * second ? "now" : `${short(now - at)} ago`)

const two = (value: number): string => String(value).padStart(2, "0")

const isSameDay = (a: Date, b: Date): boolean =>
  a.getFullYear() === b.getFullYear() && a.getMonth() === b.getMonth() && a.getDate() === b.getDate()

/** A time of the day: `12:03:04`. With its date if that is not the date of `now`: `Nov 26, 12:03:04`. */
export const clock = (at: number, now: number): string => {
  const date = new Date(at)
  const time = `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`
  if (isSameDay(date, new Date(now))) return time
  return `${date.toLocaleDateString("en-US", { month: "short", day: "numeric" })}, ${time}`
}

/** Two times: `12:03:04 to 12:03:10`, or one if both are the same second. */
export const span = (from: number, to: number, now: number): string => {
  const [start, end] = [clock(from, now), clock(to, now)]
  return start === end ? start : `${start} to ${end}`
}

/** The part of an id that people read: the first eight characters of a UUID, other ids up to 24 characters. */
export const shortId = (taskId: string): string =>
  /^[0-9a-f]{8}-[0-9a-f]{4}-/i.test(taskId) ? `${taskId.slice(0, 8)}…${taskId.slice(-4)}` : taskId.slice(0, 24)
