/** Follows the feed at the URL of the first argument with the socket of this package, until its first update. */
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as Stream from "effect/Stream"
import * as Interest from "@makima-stream/core/Interest"
import * as MeshStream from "@makima-stream/core/MeshStream"
import * as NodeMeshSocket from "@makima-stream/node/NodeMeshSocket"

const url = process.argv[2] ?? ""

const program = MeshStream.connect({ interest: Interest.all }).pipe(
  MeshStream.updatesOnly,
  Stream.take(1),
  Stream.runForEach(({ taskId }) => Console.log(`update of ${taskId}`)),
  Effect.provide(NodeMeshSocket.layer({ url, apiKey: Redacted.make("the-key") })),
  Effect.catch((error) => Console.log(error.message))
)

await Effect.runPromise(program)
process.exit(0)
