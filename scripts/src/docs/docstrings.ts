/**
 * Checks that every public docstring is complete.
 *
 * - A module has a header with `@since`.
 * - An export has a description, `@since` and `@category`.
 * - A function and a service have an example (a ```ts fence), or are used in an example
 *   of their module.
 * - A member of an interface, of a class or of a service, and a field of a schema, has
 *   its own comment, or is mentioned in backticks in the docstring of the declaration or
 *   of a declaration that this docstring refers to (see `X`). `_tag` and `taskId` have
 *   the same meaning everywhere and need no comment.
 *
 * The public exports of a package are those of modules outside `internal/`, including
 * re-exports from inside, but without those that are tagged `@internal`.
 */
import { basename, dirname, join } from "node:path"
import ts from "typescript"

/** A missing part of a docstring. */
export interface Gap {
  readonly file: string
  readonly line: number
  readonly what: string
}

const selfEvident = new Set(["_tag", "taskId"])

interface Member {
  readonly name: string
  readonly node: ts.Node
}

interface Declaration {
  readonly name: string
  readonly node: ts.Node
  readonly docs: string
  readonly members: ReadonlyArray<Member>
  readonly needsExample: boolean
}

const docsOf = (node: ts.Node): string =>
  ts
    .getJSDocCommentsAndTags(node)
    .filter(ts.isJSDoc)
    .map((doc) => doc.getText())
    .at(-1) ?? ""

/** The text of a docstring before its first tag. */
const description = (docs: string): string => {
  const text = docs.replace(/^\/\*\*|\*\/$|^\s*\*(?!\/) ?/gm, "")
  const firstTag = text.search(/^\s*@\w/m)
  return (firstTag < 0 ? text : text.slice(0, firstTag)).trim()
}

const isExported = (node: ts.Node): boolean =>
  ts.canHaveModifiers(node) &&
  (ts.getModifiers(node) ?? []).some((modifier) => modifier.kind === ts.SyntaxKind.ExportKeyword)

const named = (nodes: Iterable<ts.TypeElement | ts.ClassElement | ts.ObjectLiteralElementLike>): Array<Member> => {
  const members: Array<Member> = []
  for (const node of nodes) {
    if (node.name === undefined || ts.isPrivateIdentifier(node.name)) continue
    if (ts.canHaveModifiers(node) && ts.getModifiers(node)?.some(isHiding) === true) continue
    members.push({ name: node.name.getText().replace(/^["']|["']$/g, ""), node })
  }
  return members
}

const isHiding = ({ kind }: ts.Modifier): boolean =>
  kind === ts.SyntaxKind.PrivateKeyword || kind === ts.SyntaxKind.ProtectedKeyword

/** The members that a type lists itself. */
const membersOfType = (type: ts.TypeNode): ReadonlyArray<Member> => {
  if (ts.isTypeLiteralNode(type)) return named(type.members)
  if (ts.isUnionTypeNode(type) || ts.isIntersectionTypeNode(type)) return type.types.flatMap(membersOfType)
  return ts.isParenthesizedTypeNode(type) ? membersOfType(type.type) : []
}

/** The fields of the schemas that an expression builds: the object literals among the arguments of `Schema.…`. */
const fieldsOf = (expression: ts.Expression): ReadonlyArray<Member> => {
  const members: Array<Member> = []
  const visit = (node: ts.Node): void => {
    if (ts.isCallExpression(node) && /^Schema\.(Struct|Tagged|Class|Error)/.test(node.expression.getText())) {
      for (const argument of node.arguments) {
        if (!ts.isObjectLiteralExpression(argument)) continue
        members.push(...named(argument.properties))
        // The cases of a tagged union have their own fields.
        for (const property of argument.properties) {
          if (ts.isPropertyAssignment(property) && ts.isObjectLiteralExpression(property.initializer)) {
            members.push(...named(property.initializer.properties))
          }
        }
      }
    }
    ts.forEachChild(node, visit)
  }
  visit(expression)
  return members
}

/** Whether an expression is a function. */
const isFunction = (initializer: ts.Expression | undefined): boolean => {
  if (initializer === undefined) return false
  if (ts.isArrowFunction(initializer) || ts.isFunctionExpression(initializer)) return true
  return ts.isCallExpression(initializer) && /^(Effect\.fn|(Function\.)?dual\b)/.test(initializer.expression.getText())
}

const declarationsOf = (statement: ts.Statement): ReadonlyArray<Declaration> => {
  const docs = docsOf(statement)
  // A re-export has its docstring at its declaration.
  if (ts.isExportDeclaration(statement)) return []
  if (!isExported(statement)) return []
  if (ts.isVariableStatement(statement)) {
    return statement.declarationList.declarations.map((declaration) => ({
      name: declaration.name.getText(),
      node: declaration,
      docs,
      members: declaration.initializer === undefined ? [] : fieldsOf(declaration.initializer),
      needsExample: isFunction(declaration.initializer)
    }))
  }
  if (ts.isFunctionDeclaration(statement)) {
    return [{ name: statement.name?.text ?? "default", node: statement, docs, members: [], needsExample: true }]
  }
  if (ts.isInterfaceDeclaration(statement)) {
    return [
      { name: statement.name.text, node: statement, docs, members: named(statement.members), needsExample: false }
    ]
  }
  if (ts.isTypeAliasDeclaration(statement)) {
    const members = membersOfType(statement.type)
    return [{ name: statement.name.text, node: statement, docs, members, needsExample: false }]
  }
  if (ts.isClassDeclaration(statement)) {
    const bases = statement.heritageClauses?.flatMap(({ types }) => types) ?? []
    const typeArguments = bases.flatMap(({ expression }) => {
      const found: Array<ts.TypeNode> = []
      const visit = (node: ts.Node): void => {
        if (ts.isCallExpression(node)) found.push(...(node.typeArguments ?? []))
        ts.forEachChild(node, visit)
      }
      visit(expression)
      return found
    })
    const shape = [...typeArguments, ...bases.flatMap((base) => base.typeArguments ?? [])].flatMap(membersOfType)
    const fields = bases.flatMap(({ expression }) =>
      ts.isCallExpression(expression) && expression.getText().startsWith("Schema.")
        ? expression.arguments.filter(ts.isObjectLiteralExpression).flatMap(({ properties }) => named(properties))
        : []
    )
    return [
      {
        name: statement.name?.text ?? "default",
        node: statement,
        docs,
        members: [...named(statement.members), ...shape, ...fields],
        needsExample: bases.some(({ expression }) => expression.getText().startsWith("Context.Service"))
      }
    ]
  }
  return [{ name: statement.getText().slice(0, 40), node: statement, docs, members: [], needsExample: false }]
}

/** The modules that a module re-exports, and the re-exported names (`undefined` for all). */
const passedOn = (
  source: ts.SourceFile
): ReadonlyArray<{ readonly file: string; readonly names?: ReadonlySet<string> }> =>
  source.statements.filter(ts.isExportDeclaration).flatMap(({ exportClause, moduleSpecifier }) => {
    if (moduleSpecifier === undefined || !ts.isStringLiteral(moduleSpecifier)) return []
    if (!moduleSpecifier.text.startsWith(".")) return []
    const file = join(dirname(source.fileName), moduleSpecifier.text)
    if (exportClause === undefined) return [{ file }]
    if (ts.isNamespaceExport(exportClause)) return []
    const names = exportClause.elements.map(({ name, propertyName }) => (propertyName ?? name).text)
    return [{ file, names: new Set(names) }]
  })

/** Checks the modules of one package. `modules` are those outside `internal/`. */
export const checkAll = (
  modules: ReadonlyArray<string>,
  parse: (file: string) => ts.SourceFile
): ReadonlyArray<Gap> => {
  const gaps: Array<Gap> = []
  const seen = new Set<string>()
  const look = (file: string, names?: ReadonlySet<string>): void => {
    const key = `${file} ${names === undefined ? "" : [...names].join()}`
    if (seen.has(key)) return
    seen.add(key)
    const source = parse(file)
    gaps.push(...check(source, names))
    for (const other of passedOn(source)) if (other.file.includes("/internal/")) look(other.file, other.names)
  }
  for (const file of modules) look(file)
  return gaps
}

/** Checks one module, or some of its exports. */
const check = (source: ts.SourceFile, names: ReadonlySet<string> | undefined): ReadonlyArray<Gap> => {
  const gaps: Array<Gap> = []
  const report = (node: ts.Node, what: string): void => {
    const { line } = source.getLineAndCharacterOfPosition(node.getStart(source))
    gaps.push({ file: source.fileName, line: line + 1, what })
  }

  const comments = ts.getLeadingCommentRanges(source.text, 0) ?? []
  const header = comments[0] === undefined ? "" : source.text.slice(comments[0].pos, comments[0].end)
  const first = source.statements[0]
  const headerIsFirstExport = first !== undefined && isExported(first) && comments.length === 1
  const isInternal = source.fileName.includes("/internal/")
  if (!isInternal && (!header.startsWith("/**") || !header.includes("@since") || headerIsFirstExport)) {
    gaps.push({ file: source.fileName, line: 1, what: "the module has no header with @since" })
  }
  // An index only lists the modules, which have their own headers.
  if (source.fileName.endsWith("/index.ts")) return gaps

  const declarations = source.statements.flatMap(declarationsOf).filter(({ docs }) => !docs.includes("@internal"))
  // A schema and its type have the same name and share the descriptions of members. So do overloads.
  const docsOfName = new Map<string, string>()
  for (const { docs, name } of declarations) docsOfName.set(name, `${docsOfName.get(name) ?? ""}${docs}`)
  const membersSeen = new Set<string>()
  const moduleName = basename(source.fileName, ".ts")
  const allDocs = declarations.map(({ docs }) => docs).join("\n")
  /** The docstrings that describe the members of a name: its own, and those that it refers to. */
  const aboutMembers = (name: string): string => {
    const own = docsOfName.get(name) ?? ""
    const others = [...own.matchAll(/\bsee `(\w+)`/gi)].map(([, other = ""]) => docsOfName.get(other) ?? "")
    return [own, ...others].join("\n")
  }

  for (const { docs, members, name, needsExample, node } of declarations) {
    if (names?.has(name) === false) continue
    const all = aboutMembers(name)
    if (docs === "") {
      report(node, `${name}: no docstring`)
      continue
    }
    if (description(docs) === "") report(node, `${name}: the docstring does not say what it does`)
    if (!docs.includes("@since")) report(node, `${name}: no @since`)
    if (!docs.includes("@category")) report(node, `${name}: no @category`)
    const isUsed = new RegExp(`\\b${moduleName}\\.${name}\\b`).test(allDocs)
    if (needsExample && !isUsed && !(docsOfName.get(name) ?? "").includes("```ts")) report(node, `${name}: no example`)
    for (const member of members) {
      const key = `${name}.${member.name}`
      if (selfEvident.has(member.name) || membersSeen.has(key)) continue
      membersSeen.add(key)
      const own = docsOf(member.node)
      const mentioned = new RegExp(`\`${member.name.replaceAll("$", "\\$")}\\b`).test(all)
      if (description(own) === "" && !mentioned) report(member.node, `${key}: not documented`)
    }
  }
  return gaps
}
