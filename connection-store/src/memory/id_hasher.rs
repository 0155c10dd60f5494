//! How connection ids are spread over shards and buckets.

use std::hash::Hasher;

/// Hashes an id by one multiplication of its two halves.
///
/// Not keyed, unlike the standard library's hasher, and need not be: what is *in* the map has
/// random bits that this node drew, so nobody can fill one bucket. Strangers choose only what is
/// looked up, and a look-up costs as much as what is in the bucket. The multiplication spreads the
/// randomness, of which a base64 character carries six bits, over the bits that choose shard
/// and bucket.
#[derive(Default)]
pub(super) struct IdHasher(u64);

impl Hasher for IdHasher {
    fn write(&mut self, text: &[u8]) {
        for pair in text.chunks(16) {
            let mut halves = [0; 16];
            halves[..pair.len()].copy_from_slice(pair);
            let halves = u128::from_le_bytes(halves);
            // Odd constants without a pattern (the fractions of the golden ratio and of √2), so
            // that no half of an id is likely to be zero.
            let low = (halves as u64) ^ 0x9e37_79b9_7f4a_7c15;
            let high = ((halves >> 64) as u64) ^ self.0 ^ 0x6a09_e667_f3bc_c909;
            let product = u128::from(low) * u128::from(high);
            self.0 = (product as u64) ^ ((product >> 64) as u64);
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
