import { LogLaws } from "@makima-stream/test-kit/vitest"
import * as Sqlite from "./support/sqlite.ts"

LogLaws.suite("SqliteLog", Sqlite.layer, { clock: "test" })
