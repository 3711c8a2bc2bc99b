/** What a flood measured, and whether a resource grew. */
import * as Schema from "effect/Schema"

/** The resources of a process. */
export const Holdings = Schema.Struct({
  seen: Schema.Int,
  rssMiB: Schema.Finite,
  heapMiB: Schema.Finite,
  handles: Schema.Int,
  listeners: Schema.Int
})

/** The objects on its heap. */
export const Objects = Schema.Struct({ fibers: Schema.Int, sockets: Schema.Int, webSockets: Schema.Int })

/** The measurements of one flood, oldest first. */
export interface Samples {
  readonly samples: ReadonlyArray<typeof Holdings.Type>
  readonly objects: ReadonlyArray<typeof Objects.Type>
}

/** The difference between late and early values of a run. The first tenth is the warm-up. */
const rise = (values: ReadonlyArray<number>): number => {
  const half = Math.floor(values.length / 2)
  return Math.round((Math.max(...values.slice(half)) - Math.max(...values.slice(0, half))) * 100) / 100
}

/** By how much each resource grew. */
export const growths = ({ objects, samples }: Samples) => {
  const late = samples.slice(1)
  return {
    rssMiB: rise(late.map(({ rssMiB }) => rssMiB)),
    heapMiB: rise(late.map(({ heapMiB }) => heapMiB)),
    handles: rise(late.map(({ handles }) => handles)),
    listeners: rise(late.map(({ listeners }) => listeners)),
    fibers: rise(objects.map(({ fibers }) => fibers)),
    sockets: rise(objects.map(({ sockets }) => sockets)),
    webSockets: rise(objects.map(({ webSockets }) => webSockets))
  }
}

/**
 * Whether nothing grew. Objects on the heap are counted exactly, after a garbage collection. The RSS also depends on the
 * operating system and varies.
 */
export const isFlat = ({ rssMiB, heapMiB, ...counts }: ReturnType<typeof growths>): boolean =>
  rssMiB <= 32 && heapMiB <= 2 && Object.values(counts).every((count) => count <= 2)
