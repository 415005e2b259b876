//! The marked tree as a serde `Deserializer`.

use serde::de::value::StrDeserializer;
use serde::de::{
    self, DeserializeSeed, Deserializer, EnumAccess, MapAccess, SeqAccess, Unexpected, VariantAccess, Visitor,
};
use serde::forward_to_deserialize_any;

use super::fault::Fault;
use super::tree::{Key, Kind, Node};

/// A value being read, as serde's `Deserializer`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader<'a>(pub(super) &'a Node);

impl<'a> Reader<'a> {
    fn any<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match &self.0.kind {
            Kind::Null => visitor.visit_unit(),
            Kind::Bool(b) => visitor.visit_bool(*b),
            Kind::Number(text) => visit_number(text, visitor),
            Kind::Str { text, .. } => visitor.visit_str(text),
            Kind::Seq(items) => {
                let mut access = Items { items, next: 0 };
                let value = visitor.visit_seq(&mut access)?;
                match items.iter().skip(access.next).find(|item| !item.left_out) {
                    Some(extra) => Err(Fault::new("the list has more items than are expected").at(extra.at)),
                    None => Ok(value),
                }
            }
            Kind::Map(entries) => visitor.visit_map(Fields { entries, next: 0 }),
        }
    }

    /// What a text that was written without quotes may have been meant as.
    fn wanted_text<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match &self.0.kind {
            Kind::Str { text, .. } => visitor.visit_str(text),
            Kind::Number(_) => Err(Fault::new("expected a text, found a number: put it in quotes")),
            Kind::Bool(b) => Err(Fault::new(format!(
                "expected a text, found {b}: put it in quotes"
            ))),
            _ => self.any(visitor),
        }
    }

    /// A derived struct would take a list for its fields in order; a person who writes one means something
    /// else.
    fn wanted_mapping<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.0.kind {
            Kind::Seq(_) => Err(de::Error::invalid_type(Unexpected::Seq, &visitor)),
            _ => self.any(visitor),
        }
    }

    fn wanted_bool<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        if let Kind::Str { text, plain } = &self.0.kind {
            let meant = match text.to_ascii_lowercase().as_str() {
                "yes" | "on" | "y" | "true" => Some(true),
                "no" | "off" | "n" | "false" => Some(false),
                _ => None,
            };
            if let Some(meant) = meant {
                let quoted = if *plain { "" } else { ", without quotes" };
                return Err(Fault::new(format!(
                    "expected true or false, found \"{text}\": write {meant}{quoted}"
                )));
            }
        }
        self.any(visitor)
    }
}

fn visit_number<'de, V: Visitor<'de>>(text: &str, visitor: V) -> Result<V::Value, Fault> {
    if let Some(n) = whole_u64(text) {
        return visitor.visit_u64(n);
    }
    if let Ok(n) = text.parse::<i64>() {
        return visitor.visit_i64(n);
    }
    let looks_whole = !text.contains(['.', 'e', 'E']) || text.starts_with("0x");
    match text.parse::<f64>() {
        Ok(n) if n.is_finite() && !looks_whole => visitor.visit_f64(n),
        _ => Err(Fault::new("the number is too large")),
    }
}

fn whole_u64(text: &str) -> Option<u64> {
    if let Some(digits) = text.strip_prefix("0x") {
        return u64::from_str_radix(digits, 16).ok();
    }
    if let Some(digits) = text.strip_prefix("0o") {
        return u64::from_str_radix(digits, 8).ok();
    }
    text.strip_prefix('+').unwrap_or(text).parse().ok()
}

impl<'de> Deserializer<'de> for Reader<'_> {
    type Error = Fault;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.any(visitor)
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.wanted_bool(visitor)
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.wanted_text(visitor)
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.wanted_text(visitor)
    }

    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.wanted_text(visitor)
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.wanted_text(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.0.kind {
            Kind::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        match &self.0.kind {
            Kind::Str { text, .. } => visitor.visit_enum(Variant {
                name: text,
                at: self.0,
                content: None,
            }),
            Kind::Map(entries) => match entries.as_slice() {
                [(key, value)] => visitor
                    .visit_enum(Variant {
                        name: &key.text,
                        at: self.0,
                        content: Some(value),
                    })
                    .map_err(|fault| fault.at(key.at)),
                _ => Err(Fault::new(format!("expected one of {}", variants.join(", ")))),
            },
            Kind::Null | Kind::Bool(_) | Kind::Number(_) | Kind::Seq(_) => Err(self.not_a_name(variants)),
        }
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_unit()
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.wanted_mapping(visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        self.wanted_mapping(visitor)
    }

    forward_to_deserialize_any! {
        i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 bytes byte_buf unit unit_struct seq tuple
        tuple_struct
    }
}

impl Reader<'_> {
    fn not_a_name(self, variants: &[&str]) -> Fault {
        let found = match &self.0.kind {
            Kind::Null => "nothing",
            Kind::Bool(true) => "true",
            Kind::Bool(false) => "false",
            Kind::Number(_) => "a number",
            Kind::Str { .. } => "a text",
            Kind::Seq(_) => "a list",
            Kind::Map(_) => "a mapping",
        };
        Fault::new(format!("expected one of {}, found {found}", variants.join(", ")))
    }
}

struct Items<'a> {
    items: &'a [Node],
    next: usize,
}

impl<'de> SeqAccess<'de> for Items<'_> {
    type Error = Fault;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Fault> {
        let rest = self.items.iter().enumerate().skip(self.next);
        let Some((index, item)) = rest.into_iter().find(|(_, item)| !item.left_out) else {
            return Ok(None);
        };
        self.next = index + 1;
        seed.deserialize(Reader(item))
            .map(Some)
            .map_err(|fault| fault.at(item.at).under_index(index))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.items.len() - self.next)
    }
}

struct Fields<'a> {
    entries: &'a [(Key, Node)],
    /// The entry whose key is read next; its value is the one before.
    next: usize,
}

impl<'de> MapAccess<'de> for Fields<'_> {
    type Error = Fault;

    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Fault> {
        let rest = self.entries.iter().enumerate().skip(self.next);
        let Some((index, (key, _))) = rest.into_iter().find(|(_, (_, value))| !value.left_out) else {
            return Ok(None);
        };
        self.next = index + 1;
        seed.deserialize(KeyReader(&key.text))
            .map(Some)
            .map_err(|fault| fault.at(key.at).about_key(&key.text))
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Fault> {
        let Some((key, value)) = self.next.checked_sub(1).and_then(|i| self.entries.get(i)) else {
            return Err(Fault::new("a value was asked for before its key"));
        };
        seed.deserialize(Reader(value))
            .map_err(|fault| fault.at(value.at).under_key(&key.text))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.entries.len() - self.next)
    }
}

/// A key: a text, or a number where the mapping has numbers for keys.
struct KeyReader<'a>(&'a str);

macro_rules! number_keys {
    ($($method:ident => $visit:ident: $number:ty,)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
            match self.0.parse::<$number>() {
                Ok(number) => visitor.$visit(number),
                Err(_) => visitor.visit_str(self.0),
            }
        }
    )*};
}

impl<'de> Deserializer<'de> for KeyReader<'_> {
    type Error = Fault;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_str(self.0)
    }

    number_keys! {
        deserialize_u8 => visit_u64: u64,
        deserialize_u16 => visit_u64: u64,
        deserialize_u32 => visit_u64: u64,
        deserialize_u64 => visit_u64: u64,
        deserialize_i8 => visit_i64: i64,
        deserialize_i16 => visit_i64: i64,
        deserialize_i32 => visit_i64: i64,
        deserialize_i64 => visit_i64: i64,
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        visitor.visit_enum(StrDeserializer::new(self.0))
    }

    forward_to_deserialize_any! {
        bool i128 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple tuple_struct map
        struct identifier ignored_any
    }
}

/// An externally tagged variant: a bare name, or a mapping of one entry.
struct Variant<'a> {
    name: &'a str,
    at: &'a Node,
    content: Option<&'a Node>,
}

impl<'a, 'de> EnumAccess<'de> for Variant<'a> {
    type Error = Fault;
    type Variant = Content<'a>;

    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Content<'a>), Fault> {
        let which = seed.deserialize(KeyReader(self.name))?;
        Ok((
            which,
            Content {
                name: self.name,
                at: self.at,
                content: self.content,
            },
        ))
    }
}

struct Content<'a> {
    name: &'a str,
    at: &'a Node,
    content: Option<&'a Node>,
}

impl<'a> Content<'a> {
    fn required(&self) -> Result<&'a Node, Fault> {
        self.content.ok_or_else(|| {
            Fault::new(format!("\"{}\" needs a value: write it as a mapping", self.name)).at(self.at.at)
        })
    }
}

impl<'de> VariantAccess<'de> for Content<'_> {
    type Error = Fault;

    fn unit_variant(self) -> Result<(), Fault> {
        match self.content {
            None => Ok(()),
            Some(node) if matches!(node.kind, Kind::Null) => Ok(()),
            Some(node) => Err(Fault::new(format!("\"{}\" takes no value", self.name)).at(node.at)),
        }
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, Fault> {
        let node = self.required()?;
        seed.deserialize(Reader(node))
            .map_err(|fault| fault.at(node.at).under_key(self.name))
    }

    fn tuple_variant<V: Visitor<'de>>(self, _len: usize, visitor: V) -> Result<V::Value, Fault> {
        let node = self.required()?;
        de::Deserializer::deserialize_seq(Reader(node), visitor)
            .map_err(|fault| fault.at(node.at).under_key(self.name))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        let node = self.required()?;
        de::Deserializer::deserialize_map(Reader(node), visitor)
            .map_err(|fault| fault.at(node.at).under_key(self.name))
    }
}
