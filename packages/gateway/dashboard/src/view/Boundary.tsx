/** Draws a fallback if its children cannot be drawn, so that one text cannot blank the page. */
import { Component, type ComponentChildren } from "preact"

interface Props {
  readonly fallback: ComponentChildren
  readonly children: ComponentChildren
}

interface State {
  readonly hasFailed: boolean
}

export class Boundary extends Component<Props, State> {
  override state: State = { hasFailed: false }

  static override getDerivedStateFromError = (): State => ({ hasFailed: true })

  override render({ children, fallback }: Props, { hasFailed }: State) {
    return hasFailed ? fallback : children
  }
}
