/**
 * Schemas for what all messages of the wire share: the discriminator is `type` on the wire and `_tag` in the decoded value,
 * and an optional member that is `null` means the same as a missing one.
 */
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as SchemaTransformation from "effect/SchemaTransformation"

/** A message with this `_tag`, which has this `type` on the wire. */
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

const isNotNull = <T>(value: T | null): value is T => value !== null

/** An optional member. `null` and missing decode to an absent property, which encodes as missing. */
export const optional = <T, E>(schema: Schema.Codec<T, E>) =>
  Schema.optionalKey(Schema.NullOr(schema)).pipe(
    Schema.decodeTo(
      Schema.optionalKey(Schema.toType(schema)),
      SchemaTransformation.transformOptional<T, T | null>({
        decode: Option.filter(isNotNull),
        encode: (value) => value
      })
    )
  )

/** A member with a default. `null` and missing decode to the default. It is always encoded. */
export const withDefault = (value: string) =>
  Schema.optionalKey(Schema.NullOr(Schema.String)).pipe(
    Schema.decodeTo(
      Schema.String,
      SchemaTransformation.transformOptional<string, string | null>({
        decode: (option) => Option.orElseSome(Option.filter(option, isNotNull), () => value),
        encode: (option) => option
      })
    )
  )
