/** What the page says about tools, links and the connection. */
import { assert, describe, it } from "@effect/vitest"
import * as MeshError from "@makima-stream/core/MeshError"
import * as Connection from "../../dashboard/src/model/connection.ts"
import { decodeEntities, parser, safeHref } from "../../dashboard/src/model/markdown.ts"
import * as Tools from "../../dashboard/src/model/tools.ts"

describe("tools", () => {
  it("summarises a call by the member that says most, on one line", () => {
    assert.strictEqual(Tools.summary({ timeout: 5, command: "npm\n  test" }), "npm test")
    assert.strictEqual(Tools.summary({ other: true, name: "x" }), "true")
    assert.strictEqual(Tools.summary("text"), "text")
    assert.strictEqual(Tools.summary([1, 2]), "[1,2]")
    assert.strictEqual(Tools.summary({}), "")
    assert.strictEqual(Tools.summary(undefined), "")
    assert.isAtMost(Tools.summary({ command: "x".repeat(1_000_000) }).length, 160)
  })

  it("recognises an edit by its old and new text", () => {
    assert.deepStrictEqual(Tools.editOf({ old_string: "a", new_string: "b" }), { before: "a", after: "b" })
    assert.strictEqual(Tools.editOf({ old_string: "a" }), undefined)
    assert.strictEqual(Tools.editOf("old_string"), undefined)
  })
})

describe("markdown", () => {
  it("follows only links of the web and of mail", () => {
    assert.strictEqual(safeHref("https://example.com/a"), "https://example.com/a")
    assert.strictEqual(safeHref("http://localhost:3000"), "http://localhost:3000")
    assert.strictEqual(safeHref("mailto:a@example.com"), "mailto:a@example.com")
    for (const href of [
      "javascript:alert(1)",
      "JaVaScRiPt:alert(1)",
      "data:text/html,x",
      "file:///etc/passwd",
      "/relative",
      ""
    ]) {
      assert.strictEqual(safeHref(href), undefined)
    }
  })

  it("HTML stays one token of text", () => {
    const [token] = parser()("<img src=x onerror=alert(1)>") ?? []
    assert.strictEqual(token?.raw, "<img src=x onerror=alert(1)>")
  })

  it("decodes the entities that people write, once", () => {
    assert.strictEqual(decodeEntities("a &lt;b&gt; &amp;lt; &unknown;"), "a <b> &lt; &unknown;")
  })
})

describe("connection", () => {
  const facts = (changes: Partial<Connection.Facts>): Connection.Facts => ({
    status: { _tag: "Online", epoch: 1, since: 0 },
    isUpstream: false,
    isSignedIn: true,
    offlineSince: undefined,
    ...changes
  })
  const reason = new MeshError.ConnectionClosed({ code: 1006 })
  const offline = { _tag: "Offline", attempt: 2, reason, retryAt: 5000 } as const

  it("says nothing more while it is online", () => {
    assert.deepInclude(Connection.describe(facts({})), { tone: "good", label: "Online", title: "" })
  })

  it("tells a lost gateway from a gateway that lost the server", () => {
    assert.deepInclude(Connection.describe(facts({ status: offline, offlineSince: 1000 })), {
      label: "Offline",
      title: "This page has lost the gateway.",
      retryAt: 5000,
      offlineSince: 1000,
      canRetry: true
    })
    assert.deepInclude(Connection.describe(facts({ status: offline, isUpstream: true })), {
      label: "Server offline",
      canRetry: false
    })
  })

  it("asks to sign in if the gateway refuses the browser, and never says that it is online then", () => {
    assert.deepInclude(Connection.describe(facts({ status: offline, isSignedIn: false })), {
      label: "Sign-in needed",
      tone: "bad"
    })
  })

  it("the first attempt is not a reconnect", () => {
    const connecting = { _tag: "Connecting", attempt: 0 } as const
    assert.strictEqual(Connection.describe(facts({ status: connecting })).label, "Connecting")
    assert.strictEqual(Connection.describe(facts({ status: connecting, offlineSince: 1 })).label, "Reconnecting")
  })

  it("a final failure has its reason, and can be tried again", () => {
    const error = new MeshError.MeshError({ reason })
    assert.deepInclude(Connection.describe(facts({ status: { _tag: "Failed", error } })), {
      label: "Failed",
      canRetry: true
    })
  })
})
