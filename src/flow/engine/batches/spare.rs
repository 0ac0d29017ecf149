//! Memory of batches that have arrived, for those that come next: the system would have to clear new memory first, which costs as much as copying a batch.

use bytes::BytesMut;

/// Memory for smaller batches comes cheap.
const SIZE_MIN: usize = 64 * 1024;

/// The memory of larger batches is not kept.
const SIZE_MAX: usize = 2 << 20;

/// Batches are seldom of the same size to the byte: what was enough for one is to be enough for the next.
const STEP: usize = 64 * 1024;

/// So many pieces are kept at most: all are looked at for each batch.
const PIECES_MAX: usize = 64;

/// Pieces of memory that nobody uses.
#[derive(Debug, Default)]
pub(super) struct Spare(Vec<BytesMut>);

impl Spare {
    /// Empty memory for a batch.
    pub(super) fn take(&mut self, size: usize) -> BytesMut {
        if !(SIZE_MIN..=SIZE_MAX).contains(&size) {
            return BytesMut::with_capacity(size);
        }
        let pieces = self.0.iter().enumerate();
        let enough = pieces.filter(|(_, piece)| piece.capacity() >= size);
        match enough.min_by_key(|(_, piece)| piece.capacity()) {
            Some((place, _)) => self.0.swap_remove(place),
            None => BytesMut::with_capacity(size.next_multiple_of(STEP)),
        }
    }

    /// Memory that is not used any more.
    pub(super) fn keep(&mut self, mut piece: BytesMut) {
        piece.clear();
        if (SIZE_MIN..=SIZE_MAX).contains(&piece.capacity()) {
            self.0.push(piece);
        }
    }

    /// Lets go of what is more than so many bytes: the smallest first, which are of use to the fewest.
    pub(super) fn bound(&mut self, bytes: usize) {
        let mut kept: usize = self.0.iter().map(BytesMut::capacity).sum();
        if kept <= bytes && self.0.len() <= PIECES_MAX {
            return;
        }
        self.0
            .sort_unstable_by_key(|piece| std::cmp::Reverse(piece.capacity()));
        while kept > bytes || self.0.len() > PIECES_MAX {
            let Some(smallest) = self.0.pop() else { return };
            kept -= smallest.capacity();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_used_is_used_again_by_whom_it_fits() {
        let mut spare = Spare::default();
        let [large, small] = [1 << 20, 100 << 10].map(|size| spare.take(size));
        assert!(large.capacity() >= 1 << 20 && small.capacity() < 200 << 10);
        let places = [large.as_ptr(), small.as_ptr()];
        spare.keep(large);
        spare.keep(small);
        let again = spare.take(90 << 10);
        assert_eq!((again.as_ptr(), again.len()), (places[1], 0));
        assert!(
            spare.take(10).capacity() < SIZE_MIN,
            "it is not for small batches"
        );
        assert_eq!(spare.take(900 << 10).as_ptr(), places[0]);
        assert_eq!(spare.0.len(), 0);
    }

    #[test]
    fn no_more_is_kept_than_may_be() {
        let mut spare = Spare::default();
        for size in [3 << 20, 1 << 20, 256 << 10, 512 << 10, 100] {
            spare.keep(BytesMut::with_capacity(size));
        }
        assert_eq!(spare.0.len(), 3);
        spare.bound(3 << 19);
        let mut kept: Vec<usize> = spare.0.iter().map(BytesMut::capacity).collect();
        kept.sort_unstable();
        assert_eq!(kept, [512 << 10, 1 << 20]);
        spare.bound(0);
        assert_eq!(spare.0.len(), 0);
    }
}
