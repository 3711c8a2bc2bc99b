/** Builds the command once before its tests, if a source has changed since the last time. */
import { ensure } from "../../scripts/bundle.ts"

export default ensure
