//! Buffers to read into, which each thread keeps for the next who reads.
//!
//! Sessions come and go by the thousand and are idle most of the time, so none keeps a buffer while it
//! waits. Nor is one asked of the allocator for each read: what one session gives back is the next one's.

use std::cell::RefCell;

use bytes::BytesMut;

/// How much is read at once, at least.
pub(crate) const READ_BYTES: usize = 8 << 10;

/// Each thread keeps so many, of 16 KiB at most: 1 MiB.
const KEPT_MAX: usize = 64;

thread_local! {
    static KEPT: RefCell<Vec<BytesMut>> = const { RefCell::new(Vec::new()) };
}

/// Makes room in a buffer for one read.
pub(crate) fn make_room(buffer: &mut BytesMut) {
    let must_grow = buffer.capacity() - buffer.len() < READ_BYTES;
    if must_grow && buffer.is_empty() && !buffer.try_reclaim(READ_BYTES) {
        let kept = KEPT.with_borrow_mut(Vec::pop);
        *buffer = kept.unwrap_or_default();
    }
    buffer.reserve(READ_BYTES);
}

/// Takes an empty buffer from who waits for more to read.
pub(crate) fn give_back(buffer: &mut BytesMut) {
    let mut spare = std::mem::take(buffer);
    // One that somebody else still holds a part of is not to be had, and one that has grown not to be kept.
    if !spare.try_reclaim(READ_BYTES) || spare.capacity() > 2 * READ_BYTES {
        return;
    }
    KEPT.with_borrow_mut(|kept| {
        if kept.len() < KEPT_MAX {
            kept.push(spare);
        }
    });
}

#[cfg(test)]
mod tests {
    use bytes::Buf;

    use super::*;

    fn kept() -> usize {
        KEPT.with_borrow(Vec::len)
    }

    /// A buffer after a read that was worked off.
    fn used() -> BytesMut {
        let mut buffer = BytesMut::new();
        make_room(&mut buffer);
        buffer.extend_from_slice(&[7; 100]);
        buffer.advance(100);
        buffer
    }

    #[test]
    fn what_is_given_back_is_the_next_ones() {
        let mut buffer = used();
        let place = buffer.as_ptr() as usize - 100;
        give_back(&mut buffer);
        assert_eq!((kept(), buffer.capacity()), (1, 0));
        let mut next = BytesMut::new();
        make_room(&mut next);
        assert_eq!((kept(), next.as_ptr() as usize), (0, place));
        assert!(next.is_empty() && next.capacity() >= READ_BYTES);
    }

    #[test]
    fn what_has_grown_or_is_shared_is_not_kept() {
        let mut grown = used();
        grown.extend_from_slice(&vec![7; 100 * READ_BYTES]);
        grown.clear();
        give_back(&mut grown);
        let mut shared = used();
        shared.extend_from_slice(b"a frame");
        let frame = shared.split();
        give_back(&mut shared);
        assert_eq!((kept(), &*frame), (0, &b"a frame"[..]));
        give_back(&mut BytesMut::new());
        assert_eq!(kept(), 0);
    }

    #[test]
    fn no_more_are_kept_than_some() {
        let mut buffers: Vec<_> = (0..2 * KEPT_MAX).map(|_| used()).collect();
        buffers.iter_mut().for_each(give_back);
        assert_eq!(kept(), KEPT_MAX);
    }
}
