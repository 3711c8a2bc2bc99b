/**
 * Marks what a module computes when it loads, so that a bundler drops what a program does not use.
 *
 * `sideEffects: false` speaks for whole files. Of a file that a program uses, a bundler keeps each top-level statement that
 * might have an effect: a call, a template, or a read of a property. A call with the comment `@__PURE__` is dropped if its
 * result and its arguments are not needed, by Rolldown, esbuild, Rollup, webpack and Terser alike.
 */
import { MagicString } from "magic-string"
import type { Plugin } from "rolldown"
import type { ESTree } from "rolldown/utils"

const mark = "/* @__PURE__ */ "

/** Whether all bundlers see that the evaluation of an expression has no effect. */
const isFree = (node: ESTree.Argument | ESTree.Expression): boolean => {
  switch (node.type) {
    case "Literal":
    case "Identifier":
    case "FunctionExpression":
    case "ArrowFunctionExpression":
      return true
    case "TemplateLiteral":
      return node.expressions.length === 0
    case "UnaryExpression":
      return isFree(node.argument)
    // The operands may be of any type: `1n << x` throws if `x` is a number.
    case "BinaryExpression":
      return node.left.type === "Literal" && node.right.type === "Literal"
    case "ArrayExpression":
      return node.elements.every((element) => element !== null && isFree(element))
    case "ObjectExpression":
      return node.properties.every(
        (property) => property.type === "Property" && !property.computed && isFree(property.value)
      )
    default:
      return false
  }
}

/** Marks the top-level expressions of JavaScript. Throws if a statement is there for its effect. */
const annotate = (body: ESTree.Program["body"], text: MagicString): void => {
  const markExpression = (node: ESTree.Expression): void => {
    if (isFree(node)) return
    if ((node.type === "CallExpression" || node.type === "NewExpression") && node.arguments.every(isFree)) {
      text.prependRight(node.start, mark)
      return
    }
    // In a function of its own, because a bundler keeps what has an effect in the arguments of a marked call.
    const [open, close] = node.type === "ObjectExpression" ? ["(", ")"] : ["", ""]
    text.prependRight(node.start, `${mark}(() => ${open}`)
    text.appendLeft(node.end, `${close})()`)
  }
  const markClass = (node: ESTree.Class): void => {
    if (node.superClass !== null) markExpression(node.superClass)
    for (const member of node.body.body) {
      if (member.type === "PropertyDefinition" && member.static && member.value !== null) markExpression(member.value)
    }
  }
  for (const statement of body) {
    switch (statement.type) {
      case "ImportDeclaration":
      case "ExportAllDeclaration":
      case "ExportNamedDeclaration":
      case "FunctionDeclaration":
        break
      case "ClassDeclaration":
        markClass(statement)
        break
      case "VariableDeclaration":
        for (const { init } of statement.declarations) {
          if (init?.type === "ClassExpression") markClass(init)
          else if (init !== null) markExpression(init)
        }
        break
      default:
        throw new Error(
          `The package promises no side effects, but has: ${text.original.slice(statement.start, statement.end)}`
        )
    }
  }
}

/** Marks each file that the build writes. Declarations of a module must not be merged into `export` statements. */
export const pure: Plugin = {
  name: "pure",
  renderChunk(code) {
    const text = new MagicString(code)
    annotate(this.parse(code).body, text)
    return { code: text.toString(), map: text.generateMap({ hires: "boundary" }) }
  }
}
