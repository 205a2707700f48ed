//! A line of /etc/subuid or /etc/subgid, read as shadow reads it: subuid(5), and for what that leaves open
//! `subordinate_parse` and `commonio_open` of shadow 4.13 and 4.17.

/// shadow passes over lines of as many bytes or more.
pub const SUBID_LINE_LIMIT: usize = 1024;

/// Ids that a line gives to somebody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SubidLine<'a> {
    /// A login name, or a uid in decimal.
    pub owner: &'a [u8],
    /// The first id.
    pub start: u64,
    /// How many ids there are.
    pub count: u64,
}

impl<'a> SubidLine<'a> {
    /// `line` without its newline; `None` for one that gives nothing to anybody.
    #[must_use]
    pub fn parse(line: &'a [u8]) -> Option<Self> {
        // Lines of NIS; a NUL ends the line for shadow.
        if line.len() >= SUBID_LINE_LIMIT || matches!(line.first(), Some(b'+' | b'-')) || line.contains(&0) {
            return None;
        }
        let mut fields = line.split(|byte| *byte == b':');
        // What follows the third field is passed over.
        let (owner, start, count) = (fields.next()?, number(fields.next()?)?, number(fields.next()?)?);
        (!owner.is_empty()).then_some(Self { owner, start, count })
    }

    /// The last id; `None` where there is none, or none that is an id.
    #[must_use]
    pub fn last(self) -> Option<u64> {
        let last = self.start.checked_add(self.count.checked_sub(1)?)?;
        (last < u64::from(u32::MAX)).then_some(last)
    }
}

/// strtoul(3) with base 0, over the whole text: decimal, `0x` hexadecimal, `0` octal. Negative numbers, which that turns
/// into huge ones, are no ids.
fn number(text: &[u8]) -> Option<u64> {
    let text = text.trim_ascii_start();
    let text = text.strip_prefix(b"+").unwrap_or(text);
    let hexadecimal = text.strip_prefix(b"0x").or_else(|| text.strip_prefix(b"0X"));
    let (radix, digits) = match (hexadecimal, text) {
        (Some(digits), _) => (16, digits),
        (None, [b'0', digits @ ..]) if !digits.is_empty() => (8, digits),
        _ => (10, text),
    };
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u64, |value, byte| {
        let digit = char::from(*byte).to_digit(radix)?;
        value.checked_mul(u64::from(radix))?.checked_add(u64::from(digit))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_as_shadow_reads_them() {
        let line = |text: &'static str| {
            SubidLine::parse(text.as_bytes()).map(|line| (line.owner, line.start, line.count))
        };
        assert_eq!(line("olga:100000:65536"), Some((&b"olga"[..], 100_000, 65_536)));
        assert_eq!(line("1000:0x186a0:0200000"), Some((&b"1000"[..], 100_000, 65_536)));
        assert_eq!(line("olga: 100000:+65536:rest:of it"), Some((&b"olga"[..], 100_000, 65_536)));
        assert_eq!(line("#olga:1:0"), Some((&b"#olga"[..], 1, 0)));
        for nothing in [
            "",
            "olga",
            "olga:1",
            ":1:1",
            "olga::1",
            "olga:1:",
            "olga:x:1",
            "olga:08:1",
            "olga:0x:1",
            "olga:1 :1",
            "olga:-1:1",
            "+olga:1:1",
            "-olga:1:1",
            "olga:18446744073709551616:1",
            "olga:1:1\0",
            "olga:1:1\r",
        ] {
            assert_eq!(line(nothing), None, "{nothing:?}");
        }
        let mut long = std::vec![b'x'; SUBID_LINE_LIMIT - 5];
        long.extend(b":1:1");
        assert!(SubidLine::parse(&long).is_some());
        long.insert(0, b'x');
        assert_eq!(SubidLine::parse(&long), None);
    }

    #[test]
    fn the_last_id_is_an_id() {
        let last = |start, count| SubidLine { owner: b"o", start, count }.last();
        assert_eq!(last(1, 1), Some(1));
        assert_eq!(last(100_000, 65_536), Some(165_535));
        assert_eq!(last(4_294_967_294, 1), Some(4_294_967_294));
        assert_eq!([last(1, 0), last(4_294_967_294, 2), last(u64::MAX, 2)], [None; 3]);
    }
}
