import { assert, describe, it } from "@effect/vitest"
import * as Doctor from "../../src/internal/doctor.ts"

describe("proxyFor", () => {
  const url = new URL("wss://api.makima.jp/feed")

  it("finds the proxy for the protocol, in lower case first", () => {
    assert.deepStrictEqual(Doctor.proxyFor(url, { HTTPS_PROXY: "http://b", https_proxy: "http://a" }), {
      variable: "https_proxy",
      value: "http://a"
    })
    assert.isUndefined(Doctor.proxyFor(url, { HTTP_PROXY: "http://b" }))
    assert.strictEqual(Doctor.proxyFor(new URL("ws://host"), { HTTP_PROXY: "http://b" })?.variable, "HTTP_PROXY")
  })

  it("finds none for a host that NO_PROXY excludes", () => {
    for (const noProxy of ["*", "makima.jp", ".makima.jp", "other, api.makima.jp:443"]) {
      assert.isUndefined(Doctor.proxyFor(url, { HTTPS_PROXY: "http://b", NO_PROXY: noProxy }), noProxy)
    }
    for (const noProxy of ["", "kima.jp", "api.makima.jp:80", "x.api.makima.jp"]) {
      assert.isDefined(Doctor.proxyFor(url, { HTTPS_PROXY: "http://b", NO_PROXY: noProxy }), noProxy)
    }
  })
})
