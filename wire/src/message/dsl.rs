//! The language in which messages are written down.
//!
//! ```text
//! messages! {
//!     /// What the struct is.
//!     Name {
//!         field: i32,                               // in every version
//!         other: i64 [5..] = -1,                    // since version 5; -1 where a version lacks it
//!         third: Option<String> [..=7; null 2..],   // up to version 7; nullable since version 2
//!         fourth: bool [9..; tag 0],                // a tagged field
//!     }
//! }
//! ```
//!
//! An `Option` may be null in every version unless a range says otherwise.

use crate::{
    buf::{Reader, Wire, Writer},
    error::DecodeError,
};

macro_rules! messages {
    ($(
        $(#[$meta:meta])*
        $name:ident {
            $($field:ident : $ty:ty $([$versions:expr $(; null $null:expr)? $(; tag $tag:expr)?])? $(= $default:expr)?),*
            $(,)?
        }
    )*) => { $(
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq)]
        pub struct $name {
            $(pub $field: $ty,)*
        }

        impl Default for $name {
            fn default() -> Self {
                $name { $($field: messages!(@default $($default)?),)* }
            }
        }

        impl $crate::buf::Wire for $name {
            fn encode(&self, w: &mut $crate::buf::Writer) {
                $(messages!(@encode w, &self.$field, [$($versions $(; null $null)? $(; tag $tag)?)?]);)*
                if w.flexible() {
                    #[allow(unused_mut)]
                    let mut tagged = Vec::new();
                    $(messages!(
                        @encode_tagged w, tagged, &self.$field, messages!(@default $($default)?),
                        [$($versions $(; null $null)? $(; tag $tag)?)?]
                    );)*
                    w.put_tagged_fields(tagged);
                }
            }

            fn decode(r: &mut $crate::buf::Reader) -> Result<Self, $crate::error::DecodeError> {
                #[allow(unused_mut)]
                let mut message = Self::default();
                $(messages!(@decode r, message.$field, [$($versions $(; null $null)? $(; tag $tag)?)?]);)*
                if r.flexible() {
                    #[allow(unused_variables)]
                    r.tagged_fields(|tag, r| {
                        $(messages!(
                            @decode_tagged r, tag, message.$field, [$($versions $(; null $null)? $(; tag $tag)?)?]
                        );)*
                        Ok(())
                    })?;
                }
                Ok(message)
            }
        }

        impl $crate::message::ThrottleTime for $name {
            #[allow(unused_mut, unused_assignments)]
            fn throttle_time_ms(&self) -> i32 {
                let mut throttle_time_ms = 0;
                $(messages!(@throttle $field, throttle_time_ms = self.$field);)*
                throttle_time_ms
            }

            #[allow(unused_variables)]
            fn set_throttle_time_ms(&mut self, throttle_time_ms: i32) {
                $(messages!(@throttle $field, self.$field = throttle_time_ms);)*
            }
        }

        #[cfg(test)]
        impl $crate::message::sample::Sample for $name {
            fn sample(g: &mut $crate::message::sample::Gen) -> Self {
                #[allow(unused_mut)]
                let mut message = Self::default();
                $(messages!(@sample g, message.$field, [$($versions $(; null $null)? $(; tag $tag)?)?]);)*
                message
            }
        }
    )* };

    (@throttle throttle_time_ms, $($assignment:tt)*) => { $($assignment)* };
    (@throttle $other:ident, $($assignment:tt)*) => {};

    (@default) => { Default::default() };
    (@default $default:expr) => { $default };

    (@has $at:expr, $versions:expr) => { std::ops::RangeBounds::contains(&$versions, &$at.version()) };

    (@encode $w:expr, $value:expr, []) => { $crate::buf::Wire::encode($value, $w) };
    (@encode $w:expr, $value:expr, [$versions:expr]) => {
        if messages!(@has $w, $versions) {
            $crate::buf::Wire::encode($value, $w);
        }
    };
    (@encode $w:expr, $value:expr, [$versions:expr; null $null:expr]) => {
        if messages!(@has $w, $versions) {
            $crate::message::dsl::encode_null_since($value, messages!(@has $w, $null), $w);
        }
    };
    (@encode $w:expr, $value:expr, [$versions:expr; tag $tag:expr]) => {};

    (@encode_tagged $w:expr, $tagged:expr, $value:expr, $default:expr, [$versions:expr; tag $tag:expr]) => {
        if messages!(@has $w, $versions) && $crate::message::dsl::differs($value, $default) {
            $w.tagged_field(&mut $tagged, $tag, $value);
        }
    };
    (@encode_tagged $w:expr, $tagged:expr, $value:expr, $default:expr, [$($other:tt)*]) => {};

    (@decode $r:expr, $field:expr, []) => { $field = $crate::buf::Wire::decode($r)? };
    (@decode $r:expr, $field:expr, [$versions:expr]) => {
        if messages!(@has $r, $versions) {
            $field = $crate::buf::Wire::decode($r)?;
        }
    };
    (@decode $r:expr, $field:expr, [$versions:expr; null $null:expr]) => {
        if messages!(@has $r, $versions) {
            $field = $crate::message::dsl::decode_null_since(messages!(@has $r, $null), $r)?;
        }
    };
    (@decode $r:expr, $field:expr, [$versions:expr; tag $tag:expr]) => {};

    (@decode_tagged $r:expr, $seen:expr, $field:expr, [$versions:expr; tag $tag:expr]) => {
        if $seen == $tag && messages!(@has $r, $versions) {
            $field = $crate::buf::Wire::decode($r)?;
        }
    };
    (@decode_tagged $r:expr, $seen:expr, $field:expr, [$($other:tt)*]) => {};

    (@sample $g:expr, $field:expr, []) => { $field = $crate::message::sample::Sample::sample($g) };
    (@sample $g:expr, $field:expr, [$versions:expr; null $null:expr]) => {
        if messages!(@has $g, $versions) {
            $field = $crate::message::sample::sample_null_since(messages!(@has $g, $null), $g);
        }
    };
    (@sample $g:expr, $field:expr, [$versions:expr $(; tag $tag:expr)?]) => {
        if messages!(@has $g, $versions) {
            $field = $crate::message::sample::Sample::sample($g);
        }
    };
}

/// Writes a value that only later versions let be null: before them, null is written as the type's default.
pub(super) fn encode_null_since<T: Wire + Default>(value: &Option<T>, nullable: bool, w: &mut Writer) {
    match value {
        None if !nullable => T::default().encode(w),
        Some(value) if !nullable => value.encode(w),
        value => T::encode_nullable(value.as_ref(), w),
    }
}

/// Reads a value that only later versions let be null.
pub(super) fn decode_null_since<T: Wire>(nullable: bool, r: &mut Reader) -> Result<Option<T>, DecodeError> {
    if nullable {
        T::decode_nullable(r)
    } else {
        T::decode(r).map(Some)
    }
}

/// Whether a tagged field has to be written: those with their default value are left out.
pub(super) fn differs<T: PartialEq>(value: &T, default: T) -> bool {
    *value != default
}
