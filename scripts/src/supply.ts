/** Checks of the dependencies that an installation of the packages brings. */

/** The members of a `package.json` that this looks at. */
export interface Manifest {
  readonly name: string
  readonly scripts?: Readonly<Record<string, string>>
  readonly dependencies?: Readonly<Record<string, string>>
  readonly optionalDependencies?: Readonly<Record<string, string>>
  readonly bundleDependencies?: unknown
  readonly peerDependencies?: Readonly<Record<string, string>>
  readonly peerDependenciesMeta?: Readonly<Record<string, { readonly optional?: boolean }>>
}

/** An installed package, as npm notes it in `node_modules/.package-lock.json`. */
export interface Installed extends Omit<Manifest, "name"> {
  readonly hasInstallScript?: boolean
}

/** The only code of others that runs in a program which uses the packages: the README says why each is there. */
export const runtime: ReadonlyArray<string> = [
  "effect",
  "ws",
  "@nats-io/transport-node",
  "@nats-io/jetstream",
  "@nats-io/kv"
]

const own = "@makima-stream/"

/** The scripts that package managers run when a package is installed. */
const installScripts = ["preinstall", "install", "postinstall", "prepublish", "preprepare", "prepare", "postprepare"]

/** What of a package's manifest must not be. */
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

/** What of everything that the packages bring, and of what that brings, must not be. Keys are paths, as npm has them. */
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
