import { createContext } from "preact"
import { useContext } from "preact/hooks"
import type { Store } from "../store.ts"

const Context = createContext<Store | undefined>(undefined)

/** Provides the store to the views. */
export const StoreProvider = Context.Provider

/** Returns the store of the page. */
export const useStore = (): Store => {
  const store = useContext(Context)
  if (store === undefined) throw new Error("There is no store")
  return store
}
