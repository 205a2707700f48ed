//! The data types of RFC 4251, section 5. Nothing is copied while it is read.

/// What is left to read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader<'a>(&'a [u8]);

/// There is less than there should be, or something else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

type Read<T> = Result<T, Malformed>;

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Reader(bytes)
    }

    pub(crate) fn byte(&mut self) -> Read<u8> {
        self.take(1).map(|bytes| bytes[0])
    }

    /// 0 or 1: other bytes that mean "true" would be another encoding of the same.
    pub(crate) fn boolean(&mut self) -> Read<bool> {
        match self.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Malformed),
        }
    }

    pub(crate) fn u32(&mut self) -> Read<u32> {
        let bytes = self.take(4)?;
        bytes.try_into().map(u32::from_be_bytes).map_err(|_| Malformed)
    }

    pub(crate) fn u64(&mut self) -> Read<u64> {
        let bytes = self.take(8)?;
        bytes.try_into().map(u64::from_be_bytes).map_err(|_| Malformed)
    }

    /// How many bytes are left.
    pub(crate) fn left(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn string(&mut self) -> Read<&'a [u8]> {
        let length = usize::try_from(self.u32()?).map_err(|_| Malformed)?;
        self.take(length)
    }

    pub(crate) fn text(&mut self) -> Read<&'a str> {
        std::str::from_utf8(self.string()?).map_err(|_| Malformed)
    }

    /// A number that is not negative, without leading zeros.
    pub(crate) fn positive(&mut self) -> Read<&'a [u8]> {
        match self.string()? {
            [0, rest @ ..] if rest.first().is_some_and(|first| *first >= 0x80) => Ok(rest),
            number @ [1..0x80, ..] => Ok(number),
            _ => Err(Malformed),
        }
    }

    /// Nothing may be left.
    pub(crate) fn end(self) -> Read<()> {
        if self.0.is_empty() { Ok(()) } else { Err(Malformed) }
    }

    fn take(&mut self, length: usize) -> Read<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(Malformed)?;
        self.0 = rest;
        Ok(taken)
    }
}

/// Appends a string. What is longer than 4 GiB, which nothing here is, would be cut.
pub(crate) fn put_string(out: &mut Vec<u8>, bytes: &[u8]) {
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(&bytes[..length as usize]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_cut_or_ambiguous_is_malformed() {
        let mut reader = Reader::new(&[0, 0, 0, 2, b'a', b'b', 1, 2]);
        assert_eq!(reader.text(), Ok("ab"));
        assert_eq!(reader.boolean(), Ok(true));
        assert_eq!(reader.end(), Err(Malformed));
        assert_eq!(reader.boolean(), Err(Malformed));
        assert_eq!(Reader::new(&[0xff, 0xff, 0xff, 0xff, 1]).string(), Err(Malformed));
        assert_eq!(Reader::new(&[0, 0]).u32(), Err(Malformed));
        assert_eq!(Reader::new(&[0, 0, 0, 1, 0xff]).text(), Err(Malformed));
    }

    #[test]
    fn numbers_have_one_encoding() {
        let positive = |bytes: &[u8]| {
            let mut out = Vec::new();
            put_string(&mut out, bytes);
            Reader::new(&out).positive().map(<[u8]>::to_vec)
        };
        assert_eq!(positive(&[1, 2]), Ok(vec![1, 2]));
        assert_eq!(positive(&[0, 0x80]), Ok(vec![0x80]));
        for bytes in [&[][..], &[0], &[0, 1], &[0x80], &[0, 0, 0x80]] {
            assert_eq!(positive(bytes), Err(Malformed), "{bytes:?}");
        }
    }
}
