//! A block of internet addresses (RFC 4632, 3.1; RFC 4291, 2.3).

use std::net::IpAddr;

/// The addresses that share their first bits with one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AddressBlock {
    address: IpAddr,
    /// At most the address's bits.
    prefix: u32,
}

impl AddressBlock {
    /// `192.0.2.0/24`, `2001:db8::/32`, or one address; bits behind the prefix do not matter.
    /// `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().ok()?;
        let bits = bits(address);
        let is_number = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
        let prefix = match prefix {
            None => bits,
            Some(text) if is_number(text) => text.parse().ok()?,
            Some(_) => return None,
        };
        (prefix <= bits).then_some(Self { address, prefix })
    }

    /// Whether `address` lies in it. An IPv4 address lies in IPv4 blocks only, also where it is
    /// written as an IPv6 one (RFC 4291, 2.5.5.2).
    pub fn contains(&self, address: IpAddr) -> bool {
        let same = |ours: u128, theirs: u128, bits: u32| {
            (ours ^ theirs).checked_shr(bits - self.prefix).is_none_or(|rest| rest == 0)
        };
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(ours), IpAddr::V4(theirs)) => {
                same(ours.to_bits().into(), theirs.to_bits().into(), 32)
            }
            (IpAddr::V6(ours), IpAddr::V6(theirs)) => same(ours.to_bits(), theirs.to_bits(), 128),
            _ => false,
        }
    }
}

fn bits(address: IpAddr) -> u32 {
    if address.is_ipv4() { 32 } else { 128 }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn contains(block: &str, address: &str) -> bool {
        AddressBlock::parse(block).unwrap().contains(address.parse().unwrap())
    }

    #[test]
    fn a_block_ends_where_its_prefix_says() {
        assert!(contains("192.0.2.0/24", "192.0.2.255"));
        assert!(!contains("192.0.2.0/24", "192.0.3.0"));
        assert!(contains("192.0.2.9/24", "192.0.2.1"), "bits behind the prefix");
        assert!(contains("192.0.2.1", "192.0.2.1") && !contains("192.0.2.1", "192.0.2.0"));
        assert!(contains("0.0.0.0/0", "203.0.113.7") && contains("::/0", "2001:db8::1"));
        assert!(contains("2001:db8::/33", "2001:db8:7fff::"));
        assert!(!contains("2001:db8::/33", "2001:db8:8000::"));
    }

    #[test]
    fn the_two_families_do_not_mix() {
        assert!(!contains("0.0.0.0/0", "2001:db8::1") && !contains("::/0", "203.0.113.7"));
        assert!(contains("203.0.113.0/24", "::ffff:203.0.113.7"));
    }

    #[test]
    fn what_is_no_block_is_refused() {
        for bad in
            ["", "x", "1.2.3", "1.2.3.4/", "1.2.3.4/33", "1.2.3.4/+8", "::/129", "1.2.3.4/8/8"]
        {
            assert_eq!(AddressBlock::parse(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn a_block_has_exactly_the_addresses_of_its_first_bits(
            ours in any::<u32>(), theirs in any::<u32>(), prefix in 0u32..=32,
        ) {
            let text = format!("{}/{prefix}", std::net::Ipv4Addr::from_bits(ours));
            let block = AddressBlock::parse(&text).unwrap();
            let mask = u32::MAX.checked_shl(32 - prefix).unwrap_or(0);
            let inside = ours & mask == theirs & mask;
            prop_assert_eq!(block.contains(IpAddr::V4(theirs.into())), inside);
            prop_assert!(block.contains(IpAddr::V4(((ours & mask) | (theirs & !mask)).into())));
        }
    }
}
