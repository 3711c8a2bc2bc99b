import { LogLaws } from "@makima-stream/test-kit/vitest"

LogLaws.suite("MemoryLog", LogLaws.layerMemory, {
  clock: "test",
  cannot: { crash: "It ends with its process.", damage: "It has no file." }
})
