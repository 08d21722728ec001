//! Jute, the encoding of ZooKeeper's records: big-endian numbers, and a length before what varies.
//!
//! Reading takes nothing on trust: a length is compared with what is left before anything is
//! allocated for it, and bytes that do not fit give [`Malformed`], never a panic.

use std::fmt;

/// Bytes that are not the record they should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed(pub(crate) &'static str);

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// Reads records from a frame.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(Malformed("a record is cut off"))?;
        self.0 = rest;
        Ok(*taken)
    }

    pub(crate) fn i32(&mut self) -> Result<i32, Malformed> {
        self.take().map(i32::from_be_bytes)
    }

    pub(crate) fn i64(&mut self) -> Result<i64, Malformed> {
        self.take().map(i64::from_be_bytes)
    }

    pub(crate) fn bool(&mut self) -> Result<bool, Malformed> {
        match self.take()? {
            [0] => Ok(false),
            [1] => Ok(true),
            _ => Err(Malformed("a flag is neither set nor clear")),
        }
    }

    /// Bytes. A null is taken for no bytes.
    pub(crate) fn bytes(&mut self) -> Result<&'a [u8], Malformed> {
        let len = match self.i32()? {
            -1 => 0,
            len => usize::try_from(len).map_err(|_| Malformed("a length is negative"))?,
        };
        let (taken, rest) = self.0.split_at_checked(len).ok_or(Malformed("bytes are cut off"))?;
        self.0 = rest;
        Ok(taken)
    }

    pub(crate) fn str(&mut self) -> Result<&'a str, Malformed> {
        std::str::from_utf8(self.bytes()?).map_err(|_| Malformed("a string is not UTF-8"))
    }

    /// A list, each item at least `item_len_min` bytes long. A null is taken for an empty list.
    pub(crate) fn list<T>(
        &mut self,
        item_len_min: usize,
        mut item: impl FnMut(&mut Self) -> Result<T, Malformed>,
    ) -> Result<Vec<T>, Malformed> {
        let count = match self.i32()? {
            -1 => 0,
            count => usize::try_from(count).map_err(|_| Malformed("a count is negative"))?,
        };
        if count > self.0.len() / item_len_min.max(1) {
            return Err(Malformed("a list is longer than its frame"));
        }
        let mut items = Vec::with_capacity(count);
        for _ in 0..count {
            items.push(item(self)?);
        }
        Ok(items)
    }
}

/// Appends records to a buffer.
#[derive(Debug)]
pub(crate) struct Writer<'a>(pub(crate) &'a mut Vec<u8>);

impl Writer<'_> {
    pub(crate) fn i32(&mut self, value: i32) -> &mut Self {
        self.0.extend_from_slice(&value.to_be_bytes());
        self
    }

    pub(crate) fn i64(&mut self, value: i64) -> &mut Self {
        self.0.extend_from_slice(&value.to_be_bytes());
        self
    }

    pub(crate) fn bool(&mut self, value: bool) -> &mut Self {
        self.0.push(u8::from(value));
        self
    }

    pub(crate) fn bytes(&mut self, value: &[u8]) -> &mut Self {
        // What is too long for a length is too long for a request: the frame's limit refuses it.
        self.i32(i32::try_from(value.len()).unwrap_or(i32::MAX));
        self.0.extend_from_slice(value);
        self
    }

    pub(crate) fn str(&mut self, value: &str) -> &mut Self {
        self.bytes(value.as_bytes())
    }

    pub(crate) fn list<T>(
        &mut self,
        items: &[T],
        mut item: impl FnMut(&mut Self, &T),
    ) -> &mut Self {
        self.i32(i32::try_from(items.len()).unwrap_or(i32::MAX));
        for one in items {
            item(self, one);
        }
        self
    }
}

/// Appends a frame: its length, and what `write` puts into it. Gives the length of the whole.
pub(crate) fn frame(buffer: &mut Vec<u8>, write: impl FnOnce(&mut Writer<'_>)) -> usize {
    let start = buffer.len();
    buffer.extend_from_slice(&[0; 4]);
    write(&mut Writer(buffer));
    let len = buffer.len() - start - 4;
    let number = u32::try_from(len).unwrap_or(u32::MAX);
    buffer[start..start + 4].copy_from_slice(&number.to_be_bytes());
    len + 4
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_written_is_read(
            (int, long, flag) in any::<(i32, i64, bool)>(),
            bytes: Vec<u8>,
            text: String,
            list: Vec<String>,
        ) {
            let mut buffer = Vec::new();
            let len = frame(&mut buffer, |out| {
                out.i32(int).i64(long).bool(flag).bytes(&bytes).str(&text);
                out.list(&list, |out, item| { out.str(item); });
            });
            prop_assert_eq!(len, buffer.len());
            let mut whole = Reader::new(&buffer);
            let mut reader = Reader::new(whole.bytes().expect("a frame reads like bytes"));
            prop_assert!(whole.is_empty());
            prop_assert_eq!(reader.i32(), Ok(int));
            prop_assert_eq!(reader.i64(), Ok(long));
            prop_assert_eq!(reader.bool(), Ok(flag));
            prop_assert_eq!(reader.bytes(), Ok(&bytes[..]));
            prop_assert_eq!(reader.str(), Ok(&text[..]));
            let read = reader.list(4, |reader| reader.str().map(str::to_owned));
            prop_assert_eq!(read, Ok(list));
            prop_assert!(reader.is_empty());
        }

        #[test]
        fn any_bytes_are_read_without_panic(bytes: Vec<u8>) {
            let read = |bytes: &[u8]| {
                let mut reader = Reader::new(bytes);
                let _ = reader.clone().str();
                let _ = reader.clone().bool();
                let _ = reader.list(4, |reader| reader.str().map(str::to_owned));
            };
            read(&bytes);
        }
    }

    #[test]
    fn lengths_are_not_believed() {
        let long = [&1_000_000_000i32.to_be_bytes()[..], b"short"].concat();
        assert!(Reader::new(&long).bytes().is_err());
        assert!(Reader::new(&long).list(4, |reader| reader.i32()).is_err());
        let negative = (-2i32).to_be_bytes();
        assert!(Reader::new(&negative).bytes().is_err());
        assert!(Reader::new(&negative).list(4, |reader| reader.i32()).is_err());
        let null = (-1i32).to_be_bytes();
        assert_eq!(Reader::new(&null).bytes(), Ok(&[][..]));
        assert_eq!(Reader::new(&null).list(4, |reader| reader.i32()), Ok(vec![]));
        assert!(Reader::new(&[2]).bool().is_err());
    }
}
