//! The fields of a marshalled message, one after the other: for whoever wants to know something of
//! its bytes before, or without, making a message of them.

/// The unread rest of a message.
#[derive(Clone, Copy, Debug)]
pub struct Fields<'a>(pub &'a [u8]);

/// A field, if it is of one of the two kinds that this API has.
#[derive(Clone, Copy, Debug)]
pub struct Field<'a> {
    pub number: u64,
    /// The content of a length-delimited field.
    pub bytes: Option<&'a [u8]>,
    /// The value of a varint field.
    pub varint: Option<u64>,
}

impl<'a> Fields<'a> {
    /// Whether there is no field left.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    #[inline]
    fn varint(&mut self) -> Option<u64> {
        match self.0 {
            &[byte, ref rest @ ..] if byte < 0x80 => {
                self.0 = rest;
                Some(u64::from(byte))
            }
            _ => self.long_varint(),
        }
    }

    fn long_varint(&mut self) -> Option<u64> {
        let mut value = 0u64;
        for (i, &byte) in self.0.iter().take(10).enumerate() {
            if i == 9 && byte > 1 {
                return None; // More than 64 bits.
            }
            value |= u64::from(byte & 0x7F) << (7 * i);
            if byte < 0x80 {
                self.0 = &self.0[i + 1..];
                return Some(value);
            }
        }
        None
    }

    #[inline]
    fn cut(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }
}

/// Ends with the message, or where it is not sound: then something is left of it.
impl<'a> Iterator for Fields<'a> {
    type Item = Field<'a>;

    #[inline]
    fn next(&mut self) -> Option<Field<'a>> {
        let mut rest = *self;
        let key = rest.varint()?;
        let (mut bytes, mut varint) = (None, None);
        match key & 7 {
            0 => varint = Some(rest.varint()?),
            1 => drop(rest.cut(8)?),
            2 => {
                let length = rest.varint()?;
                bytes = Some(rest.cut(usize::try_from(length).ok()?)?);
            }
            5 => drop(rest.cut(4)?),
            // Groups: proto3 has none, and no version of this API had.
            _ => return None,
        }
        *self = rest;
        Some(Field { number: key >> 3, bytes, varint })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_sound_is_left() {
        for bytes in [&[0xff; 20][..], &[0x0a, 5, 1], &[0x0f], &[0x09, 1], &[0x0d, 1]] {
            let mut fields = Fields(bytes);
            assert!(fields.next().is_none() && fields.next().is_none() && !fields.is_empty());
            assert_eq!(fields.0, bytes);
        }
    }

    #[test]
    fn every_kind_is_passed_over_or_told() {
        let message = [
            &[0x08, 0x96, 1, 0x11, 1, 2, 3, 4, 5, 6, 7, 8][..],
            &[0x1d, 1, 2, 3, 4, 0x22, 2, b'h', b'i'],
        ];
        let message = message.concat();
        let mut fields = Fields(&message);
        let read: Vec<_> =
            fields.by_ref().map(|field| (field.number, field.varint, field.bytes)).collect();
        assert_eq!(
            read,
            [(1, Some(150), None), (2, None, None), (3, None, None), (4, None, Some(&b"hi"[..]))]
        );
        assert!(fields.is_empty());
    }
}
