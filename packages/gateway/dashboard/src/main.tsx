import { render } from "preact"
import * as Store from "./store.ts"
import { App } from "./view/App.tsx"
import { StoreProvider } from "./view/context.ts"

const root = document.getElementById("app")
if (root !== null) {
  render(
    <StoreProvider value={Store.start()}>
      <App />
    </StoreProvider>,
    root
  )
}
