//! Types that a database keeps as the text by which serde knows them.

use serde::{Serialize, de::DeserializeOwned};
use sqlx::error::BoxDynError;

/// Has SQLite and PostgreSQL keep a type as the text that serde writes for it: an enum without fields, or a
/// newtype of a string.
///
/// What the database holds and what the JSON says then cannot differ.
///
/// ```
/// #[derive(serde::Serialize, serde::Deserialize)]
/// #[serde(rename_all = "lowercase")]
/// enum Size {
///     Small,
///     Large,
/// }
/// madang::stored_as_text!(Size);
/// ```
#[macro_export]
macro_rules! stored_as_text {
    ($type:ty) => {
        impl<DB: $crate::sqlx::Database> $crate::sqlx::Type<DB> for $type
        where
            String: $crate::sqlx::Type<DB>,
        {
            fn type_info() -> DB::TypeInfo {
                <String as $crate::sqlx::Type<DB>>::type_info()
            }

            fn compatible(found: &DB::TypeInfo) -> bool {
                <String as $crate::sqlx::Type<DB>>::compatible(found)
            }
        }

        impl<'q, DB: $crate::sqlx::Database> $crate::sqlx::Encode<'q, DB> for $type
        where
            String: $crate::sqlx::Encode<'q, DB>,
        {
            fn encode_by_ref(
                &self,
                buffer: &mut <DB as $crate::sqlx::Database>::ArgumentBuffer,
            ) -> Result<$crate::sqlx::encode::IsNull, $crate::sqlx::error::BoxDynError> {
                let text = $crate::text::write(self)?;
                <String as $crate::sqlx::Encode<'q, DB>>::encode(text, buffer)
            }
        }

        impl<'r, DB: $crate::sqlx::Database> $crate::sqlx::Decode<'r, DB> for $type
        where
            String: $crate::sqlx::Decode<'r, DB>,
        {
            fn decode(
                value: <DB as $crate::sqlx::Database>::ValueRef<'r>,
            ) -> Result<Self, $crate::sqlx::error::BoxDynError> {
                $crate::text::read(<String as $crate::sqlx::Decode<'r, DB>>::decode(value)?)
            }
        }
    };
}

/// The text of a value.
///
/// # Errors
/// If serde writes anything but a string.
pub fn write(value: &impl Serialize) -> Result<String, BoxDynError> {
    match serde_json::to_value(value)? {
        serde_json::Value::String(text) => Ok(text),
        other => Err(format!("only what serde writes as a string is stored as text, not {other}").into()),
    }
}

/// The value of a text.
///
/// # Errors
/// If serde does not know the text.
pub fn read<T: DeserializeOwned>(text: String) -> Result<T, BoxDynError> {
    Ok(serde_json::from_value(serde_json::Value::String(text))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_text_is_stored_and_unknown_text_is_refused() {
        assert_eq!(write(&"won").unwrap(), "won");
        assert!(write(&7).is_err());
        assert!(read::<bool>("true".to_owned()).is_err());
    }
}
