//! Apple Data Compression, as old macOS disk images have it.

/// Fills all of `out` from a stream; whether the stream was sound and exactly as long.
pub(super) fn decode(mut input: &[u8], out: &mut [u8]) -> bool {
    let mut done = 0;
    while done < out.len() {
        let Some((code, rest)) = Code::next(input) else { return false };
        input = rest;
        let end = done + code.len;
        if end > out.len() {
            return false;
        }
        match code.what {
            What::Plain => {
                let Some((plain, rest)) = input.split_at_checked(code.len) else { return false };
                out[done..end].copy_from_slice(plain);
                input = rest;
            }
            What::Again { back } if back <= done => {
                // Byte for byte: a copy may overlap what it makes.
                (done..end).for_each(|at| out[at] = out[at - back]);
            }
            What::Again { .. } => return false,
        }
        done = end;
    }
    input.is_empty()
}

/// One code of a stream.
struct Code {
    /// Bytes that it stands for.
    len: usize,
    what: What,
}

enum What {
    /// Those that follow.
    Plain,
    /// Those that stand so many bytes before.
    Again { back: usize },
}

impl Code {
    fn next(input: &[u8]) -> Option<(Self, &[u8])> {
        let (&first, rest) = input.split_first()?;
        let low = usize::from(first);
        match first >> 6 {
            0b00 => {
                let (&second, rest) = rest.split_first()?;
                let back = (low & 3) << 8 | usize::from(second);
                Some((Self { len: (low >> 2) + 3, what: What::Again { back: back + 1 } }, rest))
            }
            0b01 => {
                let (back, rest) = rest.split_at_checked(2)?;
                let back = usize::from(back[0]) << 8 | usize::from(back[1]);
                Some((Self { len: (low & 0x3f) + 4, what: What::Again { back: back + 1 } }, rest))
            }
            _ => Some((Self { len: (low & 0x7f) + 1, what: What::Plain }, rest)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::decode;

    #[test]
    fn plain_bytes_and_both_kinds_of_copies() {
        // "abc", 5 bytes from 3 back, 6 bytes from 1 back.
        let stream = [0x82, b'a', b'b', b'c', 0x08, 2, 0x42, 0, 0];
        let mut out = [0; 14];
        assert!(decode(&stream, &mut out));
        assert_eq!(&out, b"abcabcabbbbbbb");
    }

    #[test]
    fn what_is_wrong_is_refused() {
        let mut out = [0; 14];
        for stream in [&[][..], &[0x82, b'a'], &[0x08, 0], &[0x42], &[0x8f; 17], &[0x42, 0]] {
            assert!(!decode(stream, &mut out), "{stream:?}");
        }
    }
}
