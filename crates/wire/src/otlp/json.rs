//! What is particular to OTLP as JSON: ids in hexadecimal digits, 64-bit integers as text or numbers, numbers that JSON
//! has no form for as text, `null` for what is absent, and one of several fields in the place of a `oneof`.
//! See <https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding>.

use std::{fmt, marker::PhantomData, str::FromStr};

use serde::{
    Deserialize, Deserializer,
    de::{Error, Unexpected, Visitor},
};

use super::generated::{
    common::v1::{self as common, ArrayValue, KeyValue, KeyValueList, any_value},
    metrics::v1::{
        self as metrics, ExponentialHistogram, Gauge, Histogram, Sum, Summary, exemplar, metric,
        number_data_point,
    },
};

/// A value, or what stands for its absence.
pub(crate) fn nullable<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    from: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

/// Bytes of hexadecimal digits.
pub(crate) fn hex<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
    let text = Option::<String>::deserialize(from)?.unwrap_or_default();
    let digit = |byte: u8| (byte as char).to_digit(16).map(|digit| digit as u8);
    let pair = |pair: &[u8]| match pair {
        [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
        _ => None,
    };
    let bytes: Option<Vec<u8>> = text.as_bytes().chunks(2).map(pair).collect();
    bytes.ok_or_else(|| {
        D::Error::invalid_value(Unexpected::Str(&text), &"an even number of hexadecimal digits")
    })
}

pub(crate) fn integer<'de, D: Deserializer<'de>, T: Number>(from: D) -> Result<T, D::Error> {
    Ok(Option::<Read<T>>::deserialize(from)?.map(|Read(value)| value).unwrap_or_default())
}

pub(crate) fn integers<'de, D: Deserializer<'de>, T: Number>(from: D) -> Result<Vec<T>, D::Error> {
    let values = Option::<Vec<Read<T>>>::deserialize(from)?.unwrap_or_default();
    Ok(values.into_iter().map(|Read(value)| value).collect())
}

pub(crate) fn double<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
    integer(from)
}

pub(crate) fn optional_double<'de, D: Deserializer<'de>>(from: D) -> Result<Option<f64>, D::Error> {
    Ok(Option::<Read<f64>>::deserialize(from)?.map(|Read(value)| value))
}

pub(crate) fn doubles<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<f64>, D::Error> {
    integers(from)
}

/// A number that may come as a number or as text.
pub(crate) trait Number: Copy + Default + FromStr {
    const EXPECTED: &'static str;
    fn of_u64(value: u64) -> Option<Self>;
    fn of_i64(value: i64) -> Option<Self>;
    fn of_f64(value: f64) -> Option<Self>;
}

/// A [`Number`] as it is read.
struct Read<T>(T);

// === impl Read ===

impl<'de, T: Number> Deserialize<'de> for Read<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(ReadNumber(PhantomData)).map(Self)
    }
}

struct ReadNumber<T>(PhantomData<T>);

impl<T: Number> Visitor<'_> for ReadNumber<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(T::EXPECTED)
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<T, E> {
        T::of_u64(value).ok_or_else(|| E::invalid_value(Unexpected::Unsigned(value), &self))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<T, E> {
        T::of_i64(value).ok_or_else(|| E::invalid_value(Unexpected::Signed(value), &self))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<T, E> {
        T::of_f64(value).ok_or_else(|| E::invalid_value(Unexpected::Float(value), &self))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<T, E> {
        // Rust reads the words for infinity and no number that protobuf's JSON has.
        value.parse().map_err(|_| E::invalid_value(Unexpected::Str(value), &self))
    }
}

impl Number for u64 {
    const EXPECTED: &'static str = "an integer from 0 to 2^64-1, as a number or as text";

    fn of_u64(value: u64) -> Option<Self> {
        Some(value)
    }

    fn of_i64(value: i64) -> Option<Self> {
        value.try_into().ok()
    }

    fn of_f64(value: f64) -> Option<Self> {
        (value.fract() == 0.0 && (0.0..18_446_744_073_709_551_616.0).contains(&value))
            .then_some(value as Self)
    }
}

impl Number for i64 {
    const EXPECTED: &'static str = "an integer from -2^63 to 2^63-1, as a number or as text";

    fn of_u64(value: u64) -> Option<Self> {
        value.try_into().ok()
    }

    fn of_i64(value: i64) -> Option<Self> {
        Some(value)
    }

    fn of_f64(value: f64) -> Option<Self> {
        let most = 9_223_372_036_854_775_808.0;
        (value.fract() == 0.0 && (-most..most).contains(&value)).then_some(value as Self)
    }
}

impl Number for f64 {
    const EXPECTED: &'static str = "a number, as a number or as text";

    fn of_u64(value: u64) -> Option<Self> {
        Some(value as Self)
    }

    fn of_i64(value: i64) -> Option<Self> {
        Some(value as Self)
    }

    fn of_f64(value: f64) -> Option<Self> {
        Some(value)
    }
}

/// Bytes of base 64, in either of its alphabets, with or without padding (RFC 4648, sections 4 and 5).
#[derive(Default)]
struct Base64(Vec<u8>);

impl<'de> Deserialize<'de> for Base64 {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        base64(text.trim_end_matches('=').as_bytes())
            .map(Self)
            .ok_or_else(|| D::Error::invalid_value(Unexpected::Str(&text), &"bytes in base 64"))
    }
}

pub(super) fn base64(digits: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(digits.len() * 3 / 4);
    for group in digits.chunks(4) {
        let mut bits = 0u32;
        for digit in group {
            let value = match digit {
                b'A'..=b'Z' => digit - b'A',
                b'a'..=b'z' => digit - b'a' + 26,
                b'0'..=b'9' => digit - b'0' + 52,
                b'+' | b'-' => 62,
                b'/' | b'_' => 63,
                _ => return None,
            };
            bits = bits << 6 | u32::from(value);
        }
        let whole = match group.len() {
            1 => return None,
            length => length * 6 / 8,
        };
        let aligned = bits << (32 - 6 * group.len());
        bytes.extend_from_slice(&aligned.to_be_bytes()[..whole]);
    }
    Some(bytes)
}

/// What has a `oneof`, as JSON has it: a field of each kind, of which one is there.
macro_rules! one_of {
    ($name:ident: $target:ty { $($field:ident: $type:ty,)* } $of:ident: $kind:path { $($choice:ident: $choice_type:ty => $variant:ident $(. $inner:tt)?,)* }) => {
        #[derive(Deserialize, Default)]
        #[serde(default, rename_all = "camelCase")]
        pub(crate) struct $name {
            $(#[serde(deserialize_with = "nullable")] $field: $type,)*
            $($choice: Option<$choice_type>,)*
        }

        impl From<$name> for $target {
            fn from(read: $name) -> Self {
                use $kind as Kind;
                let mut chosen = None;
                $(if let Some(value) = read.$choice { chosen = Some(Kind::$variant(value$(.$inner)?)); })*
                Self { $($field: read.$field.into(),)* $of: chosen }
            }
        }
    };
}

one_of!(AnyValue: common::AnyValue {} value: any_value::Value {
    string_value: String => StringValue,
    bool_value: bool => BoolValue,
    int_value: Read<i64> => IntValue.0,
    double_value: Read<f64> => DoubleValue.0,
    array_value: ArrayValue => ArrayValue,
    kvlist_value: KeyValueList => KvlistValue,
    bytes_value: Base64 => BytesValue.0,
});

one_of!(Metric: metrics::Metric {
    name: String,
    description: String,
    unit: String,
    metadata: Vec<KeyValue>,
} data: metric::Data {
    gauge: Gauge => Gauge,
    sum: Sum => Sum,
    histogram: Histogram => Histogram,
    exponential_histogram: ExponentialHistogram => ExponentialHistogram,
    summary: Summary => Summary,
});

one_of!(NumberDataPoint: metrics::NumberDataPoint {
    attributes: Vec<KeyValue>,
    start_time_unix_nano: Integer<u64>,
    time_unix_nano: Integer<u64>,
    exemplars: Vec<metrics::Exemplar>,
    flags: u32,
} value: number_data_point::Value {
    as_double: Read<f64> => AsDouble.0,
    as_int: Read<i64> => AsInt.0,
});

one_of!(Exemplar: metrics::Exemplar {
    filtered_attributes: Vec<KeyValue>,
    time_unix_nano: Integer<u64>,
    span_id: Hex,
    trace_id: Hex,
} value: exemplar::Value {
    as_double: Read<f64> => AsDouble.0,
    as_int: Read<i64> => AsInt.0,
});

/// [`integer`] as a type.
#[derive(Default)]
struct Integer<T>(T);

impl<'de, T: Number> Deserialize<'de> for Integer<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        integer(from).map(Self)
    }
}

impl From<Integer<u64>> for u64 {
    fn from(Integer(value): Integer<u64>) -> Self {
        value
    }
}

/// [`hex`] as a type.
#[derive(Default)]
struct Hex(Vec<u8>);

impl<'de> Deserialize<'de> for Hex {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        hex(from).map(Self)
    }
}

impl From<Hex> for Vec<u8> {
    fn from(Hex(bytes): Hex) -> Self {
        bytes
    }
}

#[cfg(test)]
mod tests;
