//! Record headers as bytes.
//!
//! Kafka's header keys are any bytes. The `rdkafka` crate takes them as `str` where it writes, and panics on others
//! where it reads, so that a test of such keys has to go one layer down.

#![allow(
    unsafe_code,
    reason = "librdkafka's header functions can be reached only through its C interface"
)]

use std::ffi::CStr;
use std::ptr;

use rdkafka::bindings::{rd_kafka_header_add, rd_kafka_header_get_all, rd_kafka_headers_t};
use rdkafka::message::{BorrowedHeaders, OwnedHeaders};
use rdkafka::types::RDKafkaRespErr;

/// A header's key and value; the value may be null, which is not the same as empty.
pub type RawHeader = (Vec<u8>, Option<Vec<u8>>);

/// Headers for a record to be produced.
pub fn owned(headers: &[RawHeader]) -> OwnedHeaders {
    let owned = OwnedHeaders::new_with_capacity(headers.len());
    for (key, value) in headers {
        let (value, size) = match value {
            Some(value) => (value.as_ptr(), value.len()),
            None => (ptr::null(), 0),
        };
        // SAFETY: `native` is alive as long as `owned`, which nobody else can see yet. Key and value are read during
        // the call only, and their lengths come from the slices themselves.
        let code = unsafe {
            rd_kafka_header_add(
                native(owned.as_borrowed()).cast_mut(),
                key.as_ptr().cast(),
                key.len() as isize,
                value.cast(),
                size as isize,
            )
        };
        assert_eq!(code, RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR, "add a header");
    }
    owned
}

/// The headers of a record that was read. A key ends at its first zero byte: librdkafka hides what follows.
pub fn read(headers: &BorrowedHeaders) -> Vec<RawHeader> {
    let mut all = Vec::new();
    loop {
        let (mut key, mut value, mut size) = (ptr::null(), ptr::null(), 0);
        // SAFETY: the three pointers are out-parameters on this stack; `headers` is borrowed for the whole loop.
        let code =
            unsafe { rd_kafka_header_get_all(native(headers), all.len(), &mut key, &mut value, &mut size) };
        if code != RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR {
            return all;
        }
        // SAFETY: after success `key` is a string with a final zero, and `value` is null or has `size` bytes; both
        // belong to `headers` and are copied here.
        let header = unsafe {
            let key = CStr::from_ptr(key).to_bytes().to_vec();
            let value =
                (!value.is_null()).then(|| std::slice::from_raw_parts(value.cast::<u8>(), size).to_vec());
            (key, value)
        };
        all.push(header);
    }
}

/// `BorrowedHeaders` is a name for what is behind librdkafka's pointer: a reference to it *is* that pointer.
fn native(headers: &BorrowedHeaders) -> *const rd_kafka_headers_t {
    ptr::from_ref(headers).cast()
}
