/**
 * The two habits of the wire that every message shares: the discriminator is
 * spelled `type` there and `_tag` here, and an optional member that is `null`
 * means the same as one that is missing.
 */
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import * as Schema from "effect/Schema"
import * as SchemaGetter from "effect/SchemaGetter"
import * as SchemaTransformation from "effect/SchemaTransformation"

/** A message whose `_tag` is the literal `type` on the wire. */
export const message = <const Tag extends string, const Type extends string, const Fields extends Schema.Struct.Fields>(
  tag: Tag,
  type: Type,
  fields: Fields
) =>
  Schema.Struct({
    _tag: Schema.Literal(type).pipe(
      Schema.decodeTo(Schema.tag(tag), SchemaTransformation.transform({ decode: () => tag, encode: () => type }))
    ),
    ...fields
  }).pipe(Schema.encodeKeys({ _tag: "type" }))

/** An optional member: `null` and missing decode to an absent property, which encodes as missing. */
export const optional = <T, E>(schema: Schema.Codec<T, E>) =>
  Schema.optionalKey(Schema.NullOr(schema)).pipe(
    Schema.decodeTo(Schema.optionalKey(Schema.toType(schema)), {
      decode: SchemaGetter.transformOptional<T, T | null>(Option.filter(Predicate.isNotNull)),
      encode: SchemaGetter.transformOptional<T | null, T>((value) => value)
    })
  )

/** A member with a default: `null` and missing decode to it, and it is always sent. */
export const withDefault = (value: string) =>
  Schema.optionalKey(Schema.NullOr(Schema.String)).pipe(
    Schema.decodeTo(Schema.String, {
      decode: SchemaGetter.transformOptional<string, string | null>((option) =>
        Option.some(Option.getOrElse(Option.filter(option, Predicate.isNotNull), () => value))
      ),
      encode: SchemaGetter.transformOptional<string | null, string>((option) => option)
    })
  )
