/**
 * Returns one string for equal task ids of several messages.
 *
 * V8 computes the hash of a string once for each string object, and the ids of two messages
 * are two objects. So every lookup of a task computes a hash, which takes most of its time. The
 * last characters of an id find an equal one from before, whose hash is known.
 *
 * The gain: 0.06 of 0.55 µs for an event of `MeshStream.connect` with filters, and 0.08 of
 * 0.77 µs for one of `MeshClient`, with 24 tasks. With 1,000 tasks in random order it loses
 * 0.02 µs.
 */
import type { TaskId } from "../../TaskId.ts"

/**
 * The most ids that are kept, a power of two. An id keeps the frame from which it was cut, so
 * this is usually less than 1 MB, and at most 4.
 */
const size = 4096

/** Makes a function that returns an equal id from before if it finds one, otherwise the id itself. */
export const make = (): ((taskId: TaskId) => TaskId) => {
  const recent: Array<TaskId | undefined> = []
  // Allocates its memory at once, in 2 µs; `Array.from` takes 160 µs, for each connection.
  recent.length = size
  return (taskId) => {
    const end = taskId.length
    // `&` turns the NaN of a short id into 0.
    const slot =
      (taskId.charCodeAt(end - 1) + 23 * (taskId.charCodeAt(end - 2) + 23 * taskId.charCodeAt(end - 3))) & (size - 1)
    const known = recent[slot]
    return known === taskId ? known : (recent[slot] = taskId)
  }
}
