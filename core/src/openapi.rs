//! Schemas that are written by hand: of texts with a form of their own, and of records, whose `spec` depends on their kind.
//! Whatever else the API's document has is derived from the types.

use crate::pattern::{LabelSelector, Pattern, Template};
use crate::predicate::Predicate;
use crate::record::{HostAddr, Metadata, Version};
use crate::time::{Timestamp, Ttl};
use utoipa::openapi::schema::{AdditionalProperties, ArrayBuilder, Schema, SchemaType};
use utoipa::openapi::{KnownFormat, ObjectBuilder, OneOfBuilder, Ref, RefOr, SchemaFormat, Type};
use utoipa::{PartialSchema, ToSchema};

/// A text for which more can be said than that it is one.
pub(crate) fn text(what: &str, pattern: Option<&str>) -> RefOr<Schema> {
    ObjectBuilder::new()
        .schema_type(SchemaType::new(Type::String))
        .description(Some(what))
        .pattern(pattern)
        .into()
}

macro_rules! texts {
    ($($ty:ty: $what:literal, $pattern:expr;)*) => {$(
        impl PartialSchema for $ty {
            fn schema() -> RefOr<Schema> {
                text($what, $pattern)
            }
        }
        impl ToSchema for $ty {}
    )*};
}

texts! {
    Ttl: "a length of time: `30s`, `12h`, `7d`, `1h30m`", Some("^([0-9]+(ms|s|m|h|d))+$");
    HostAddr: "an address with a port: `10.0.0.7:22`, `web1.example.com:22`, `[::1]:22`", Some("^.+:[0-9]+$");
    Pattern: "a text, a glob with `*`, or a regular expression between `^` and `$`", None;
    Template: "an account, or a template such as `{{internal.logins}}`", None;
    Predicate: "a condition on the record and the user", None;
}

impl PartialSchema for Timestamp {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(SchemaType::new(Type::String))
            .format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)))
            .description(Some("a moment (RFC 3339)"))
            .into()
    }
}
impl ToSchema for Timestamp {}

impl PartialSchema for LabelSelector {
    fn schema() -> RefOr<Schema> {
        let one = || ObjectBuilder::new().schema_type(SchemaType::new(Type::String));
        let patterns = OneOfBuilder::new()
            .item(ArrayBuilder::new().items(one()))
            .item(one());
        ObjectBuilder::new()
            .description(Some(
                "for each label one pattern or a list of them; `*: *` is every host",
            ))
            .additional_properties(Some(AdditionalProperties::RefOr(RefOr::T(patterns.into()))))
            .into()
    }
}
impl ToSchema for LabelSelector {}

fn record_name(variant: &str) -> String {
    format!("{variant}Record")
}

/// Adds the schema of a kind's records, and those that it refers to.
pub(crate) fn record<S: ToSchema>(variant: &str, kind: &str, all: &mut Vec<(String, RefOr<Schema>)>) {
    add::<S>(all);
    add::<Metadata>(all);
    add::<Version>(all);
    let this_kind = ObjectBuilder::new()
        .schema_type(SchemaType::new(Type::String))
        .enum_values(Some([kind]));
    let schema = ObjectBuilder::new()
        .property("kind", this_kind)
        .property("version", Ref::from_schema_name(Version::name()))
        .property("metadata", Ref::from_schema_name(Metadata::name()))
        .property("spec", Ref::from_schema_name(S::name()))
        .required("kind")
        .required("metadata")
        .required("spec")
        .additional_properties(Some(AdditionalProperties::<Schema>::FreeForm(false)));
    all.push((record_name(variant), schema.into()));
}

fn add<T: ToSchema>(all: &mut Vec<(String, RefOr<Schema>)>) {
    T::schemas(all);
    all.push((T::name().into_owned(), T::schema()));
}

/// A record of any kind.
pub(crate) fn one_of_records(variants: &[&str]) -> RefOr<Schema> {
    let each = variants
        .iter()
        .map(|variant| Ref::from_schema_name(record_name(variant)));
    each.fold(OneOfBuilder::new(), |all, record| all.item(record))
        .description(Some(
            "A record of any kind: what its `spec` is depends on its `kind`.",
        ))
        .into()
}
