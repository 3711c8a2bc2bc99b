/** Checks the dependencies that are installed with the packages. */

/** The members of a `package.json` that are checked. */
export interface Manifest {
  readonly name: string
  readonly scripts?: Readonly<Record<string, string>>
  readonly dependencies?: Readonly<Record<string, string>>
  readonly optionalDependencies?: Readonly<Record<string, string>>
  readonly bundleDependencies?: unknown
  readonly peerDependencies?: Readonly<Record<string, string>>
  readonly peerDependenciesMeta?: Readonly<Record<string, { readonly optional?: boolean }>>
}

/** An installed package, from `node_modules/.package-lock.json`. */
export interface Installed extends Omit<Manifest, "name"> {
  readonly hasInstallScript?: boolean
}

/** The only runtime dependencies of the packages. */
export const runtime: ReadonlyArray<string> = [
  "effect",
  "ws",
  "@nats-io/transport-node",
  "@nats-io/jetstream",
  "@nats-io/kv",
  // What the NATS client brings.
  "@nats-io/nats-core",
  "@nats-io/nkeys",
  "@nats-io/nuid",
  "tweetnacl"
]

const own = "@makima-stream/"

/** The scripts that package managers run when a package is installed. */
const installScripts = ["preinstall", "install", "postinstall", "prepublish", "preprepare", "prepare", "postprepare"]

/** Returns the problems of a package's manifest. */
export const checkManifest = (manifest: Manifest): ReadonlyArray<string> => {
  const problems: Array<string> = []
  const { name, peerDependencies, peerDependenciesMeta } = manifest
  const required = [
    ...Object.keys(manifest.dependencies ?? {}),
    ...Object.keys(manifest.optionalDependencies ?? {}),
    ...Object.keys(peerDependencies ?? {}).filter((peer) => peerDependenciesMeta?.[peer]?.optional !== true)
  ]
  for (const dependency of required) {
    if (!dependency.startsWith(own) && !runtime.includes(dependency)) problems.push(`${name}: depends on ${dependency}`)
  }
  if (manifest.bundleDependencies !== undefined) problems.push(`${name}: bundles dependencies`)
  for (const script of installScripts) {
    if (manifest.scripts?.[script] !== undefined) problems.push(`${name}: runs ${script} where it is installed`)
  }
  return problems
}

/** Returns the problems of all installed packages, including transitive dependencies. Keys are paths, as in npm's list. */
export const checkInstalled = (
  packages: Readonly<Record<string, Installed>>,
  roots: ReadonlyArray<string>
): ReadonlyArray<string> => {
  const problems: Array<string> = []
  const seen = new Set<string>()
  const visit = (name: string): void => {
    if (seen.has(name)) return
    seen.add(name)
    const found = Object.entries(packages).filter(([path]) => path.endsWith(`node_modules/${name}`))
    if (!name.startsWith(own) && !runtime.includes(name)) problems.push(`${name} is installed for the packages`)
    for (const [path, { dependencies, hasInstallScript, optionalDependencies }] of found) {
      if (hasInstallScript === true) problems.push(`${path} runs a script where it is installed`)
      for (const dependency of Object.keys({ ...dependencies, ...optionalDependencies })) visit(dependency)
    }
  }
  for (const name of [...roots, ...runtime]) visit(name)
  return problems
}
