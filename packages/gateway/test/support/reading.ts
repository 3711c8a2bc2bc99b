/** A client that stops reading until the gateway notices, then reads for a while. */
import type { WebSocket } from "ws"
import type * as Gateway from "../../src/Gateway.ts"

export const make = (isSlow: boolean) => {
  let socket: WebSocket | undefined
  let noticed = 0
  /** The steps until it stops again. */
  let reads = 50
  const stop = (): void => {
    if (socket?.readyState === socket?.OPEN) socket?.pause()
  }
  return {
    /** The client has a new connection. */
    opened: (ws: WebSocket): void => void (socket = ws),
    /** Called again and again with what the gateway has counted. */
    step({ closedAsSlow, dropped }: Gateway.Stats): void {
      if (!isSlow || reads-- > 0) return
      if (dropped + closedAsSlow === noticed) return stop()
      noticed = dropped + closedAsSlow
      reads = 50
      socket?.resume()
    },
    /** Whether it reads. */
    isReading: (): boolean => !isSlow || reads > 0,
    /** It reads from now on. */
    end: (): void => socket?.resume()
  }
}
