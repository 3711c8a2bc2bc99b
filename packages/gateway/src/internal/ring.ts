/** The newest messages, by number, for clients that come back. */
import type { Message } from "./messages.ts"

export interface Ring {
  /** Adds a message, which gets the next number. */
  readonly push: (message: Message) => void
  /** The number of the newest message. */
  readonly last: () => number
  /** The messages after a number, oldest first; `undefined` if some of them are not kept any more, or the number is unknown. */
  readonly after: (number: number) => ReadonlyArray<Message> | undefined
}

export const make = (capacity: number): Ring => {
  const messages: Array<Message> = []
  let last = 0
  return {
    push(message) {
      last++
      message.number = last
      if (capacity > 0) messages[last % capacity] = message
    },
    last: () => last,
    after(number) {
      if (number > last || last - number > capacity) return undefined
      const found: Array<Message> = []
      for (let n = number + 1; n <= last; n++) {
        const message = messages[n % capacity]
        if (message === undefined) return undefined
        found.push(message)
      }
      return found
    }
  }
}
