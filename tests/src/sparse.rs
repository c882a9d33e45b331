//! Images with large holes as short inputs of fuzz targets.
//!
//! An input is a byte, which says whether checksums are made right, and pages: the number of each, in two bytes, and its
//! 4096 bytes.

use crate::mutate::remake;

/// Bytes of a page.
const PAGE: usize = 4096;
/// Pages of the largest image.
const MAX_PAGES: usize = 4096;

/// The input that an image is made of; `None` if the image is too large.
pub fn pack(image: &[u8]) -> Option<Vec<u8>> {
    let pages = image.chunks(PAGE).enumerate();
    let last = image.len().div_ceil(PAGE).checked_sub(1).filter(|&last| last < MAX_PAGES)?;
    let mut input = vec![1];
    for (number, page) in pages {
        if number == last || page.iter().any(|&byte| byte != 0) {
            input.extend((number as u16).to_le_bytes());
            input.extend(page);
            input.resize(input.len() + PAGE - page.len(), 0);
        }
    }
    Some(input)
}

/// The image of a format that an input stands for.
pub fn unpack(format: &str, input: &[u8]) -> Vec<u8> {
    let Some((how, pages)) = input.split_first() else { return Vec::new() };
    let mut image = Vec::new();
    for record in pages.chunks(2 + PAGE) {
        let Some((number, page)) = record.split_first_chunk::<2>() else { break };
        let start = usize::from(u16::from_le_bytes(*number)) % MAX_PAGES * PAGE;
        let end = start + page.len();
        image.resize(end.max(image.len()), 0);
        image[start..end].copy_from_slice(page);
    }
    if how & 1 == 1 {
        remake(format, &mut image);
    }
    image
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_comes_back() {
        let mut image = vec![0; 10 * PAGE];
        image[5 * PAGE + 7] = 9;
        let input = pack(&image).unwrap_or_default();
        assert_eq!(input.len(), 1 + 2 * (2 + PAGE));
        assert_eq!(unpack("vdi", &input), image);
    }
}
