/**
 * A TypeDoc plugin: the name of a module is its import path, and its description is the
 * header of its file. (By default, TypeDoc uses a header only if it has a tag.)
 */
import { readFileSync } from "node:fs"
import { join, resolve } from "node:path"
import { type Application, Comment, Converter, ReflectionKind } from "typedoc"

const packages = resolve(import.meta.dirname, "../../packages")

const header = (file: string): string => {
  const comment = /^\/\*\*[\s\S]*?\*\//.exec(readFileSync(file, "utf8"))?.[0] ?? ""
  return comment
    .replace(/^\/\*\*\n| *\*\/$|^ \* ?/gm, "")
    .replace(/^@since .*$/m, "")
    .trim()
}

export const load = (app: Application): void => {
  app.converter.on(Converter.EVENT_RESOLVE_BEGIN, ({ project }) => {
    for (const module of project.getReflectionsByKind(ReflectionKind.Module)) {
      module.comment ??= new Comment([{ kind: "text", text: header(join(packages, `${module.name}.ts`)) }])
      module.name = `@makima-stream/${module.name.replace("/src/", "/")}`
    }
  })
}
