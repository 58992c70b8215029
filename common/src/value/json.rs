//! A value as JSON, for people and tools that look into a store.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Number, Value as Json, json};

use super::Value;
use crate::charset;
use crate::jsonb;
use crate::schema::Column;

impl Value<'_> {
    /// The value as JSON: numbers as numbers, DECIMAL and temporal values as text, ENUM and SET by name where known, text as a string if
    /// it is UTF-8 and `{"base64": …}` otherwise, JSON as itself.
    #[must_use]
    pub fn to_json(&self, column: &Column) -> Json {
        let text = |write: &dyn Fn(&mut Vec<u8>)| {
            let mut out = Vec::new();
            write(&mut out);
            Json::String(String::from_utf8_lossy(&out).into_owned())
        };
        let float = |value: f64| Number::from_f64(value).map_or(Json::Null, Json::Number);
        let member = |index: usize| column.members.get(index).map(|m| String::from_utf8_lossy(m).into_owned());
        match *self {
            Value::Int(n) => json!(n),
            Value::Unsigned(n) | Value::Bit(n) => json!(n),
            Value::Float(n) => n.to_string().parse().map_or(Json::Null, float),
            Value::Double(n) => float(n),
            Value::Decimal(n) => Json::String(n.to_string()),
            Value::Enum(0) => json!(""),
            Value::Enum(n) => member(usize::from(n) - 1).map_or(json!(n), Json::String),
            Value::Set(n) => {
                let names: Option<Vec<_>> = (0..64).filter(|i| n >> i & 1 == 1).map(member).collect();
                names.map_or(json!(n), |names| json!(names))
            }
            Value::Bytes(bytes) => bytes_to_json(bytes, column),
            Value::Compressed(bytes) => match super::decompress(bytes) {
                Ok(bytes) => bytes_to_json(&bytes, column),
                Err(_) => json!({ "base64": STANDARD.encode(bytes) }),
            },
            Value::Date(date) => text(&|out| date.write(out)),
            Value::DateTime(value) => text(&|out| value.write(out)),
            Value::Time(value) => text(&|out| value.write(out)),
            Value::Timestamp(value) => text(&|out| value.utc().write(out)),
            Value::Year(year) => json!(year),
            Value::Json(bytes) => {
                let mut out = Vec::new();
                let parsed = jsonb::write_text(bytes, &mut out).ok().and_then(|()| serde_json::from_slice(&out).ok());
                parsed.unwrap_or_else(|| json!({ "base64": STANDARD.encode(bytes) }))
            }
            Value::Geometry(bytes) | Value::Vector(bytes) => json!({ "base64": STANDARD.encode(bytes) }),
        }
    }
}

fn bytes_to_json(bytes: &[u8], column: &Column) -> Json {
    match std::str::from_utf8(bytes) {
        Ok(text) if column.collation != charset::BINARY => Json::String(text.to_owned()),
        _ => json!({ "base64": STANDARD.encode(bytes) }),
    }
}
